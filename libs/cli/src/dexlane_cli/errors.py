"""Errors of the command line: one sentence for a person, and an exit code."""

from __future__ import annotations

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNCONFIRMED = 3
"""Done, but not everybody confirmed it: somebody has to act by hand."""


class CommandError(Exception):
    """What went wrong and what to do about it, in one sentence; ``code`` becomes the exit code."""

    def __init__(self, sentence: str, code: int = EXIT_FAILED) -> None:
        super().__init__(sentence)
        self.code = code
