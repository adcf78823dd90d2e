"""The three classes of error, and nothing else, decide what happens to a message.

======================  ==========================================================================
``Transient``           the world is not ready: redeliver later, with back-off
``InvalidEvent``        the message can never be handled: dead-letter it with the reason, go on
``Fatal``               an invariant is broken: halt trading if money is at stake, stop the process
======================  ==========================================================================
"""

from __future__ import annotations


class DexlaneError(Exception):
    """Base of the three classes. The message is one sentence that says what happened and what to do."""


class Transient(DexlaneError):  # noqa: N818  (the name is the class of the error)
    """Something outside is unavailable; the same input may succeed later."""


class Postponed(Transient):
    """Nothing is wrong, only too early: the same input is wanted again after ``after_s`` seconds."""

    def __init__(self, reason: str, after_s: float) -> None:
        super().__init__(reason)
        self.after_s = after_s


class InvalidEvent(DexlaneError):  # noqa: N818
    """The input breaks its contract and never will succeed."""


class Fatal(DexlaneError):  # noqa: N818
    """An invariant is broken or the configuration cannot work: this process must not go on."""


class Misconfigured(Fatal):
    """What was configured cannot work, and starting again would end the same way: exit code 2, no restart."""
