"""Which file of tests comes first, and which has the machine to itself, when several processes run them.

Files that have to run ``alone`` come first, then ``long`` ones, then by the number of their tests: what is short fills
the gaps at the end. A process that runs a file which is ``alone`` waits until no other one is within a file, and the
others wait until it is through. Within one process nothing is to be done.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import pytest


class Turns:
    """One lock for all processes of a run: held together by usual files, and by one alone when it must be."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._within: Path | None = None
        self._alone: frozenset[Path] = frozenset()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Know which files are alone."""
        self._alone = frozenset(item.path for item in session.items if item.get_closest_marker("alone"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, bool, bool]:
        """Wait before a file's first test, let go after its last. Outside of everything that counts a test's time."""
        if self._within != item.path:
            self._within = item.path
            self._enter(fcntl.LOCK_EX if item.path in self._alone else fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            if nextitem is None or nextitem.path != item.path:
                self._within = None
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, 1)

    def _enter(self, how: int) -> None:
        # Who waits holds the first byte: those who come later do not overtake one that waits for all others to leave.
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, 0)
        fcntl.lockf(self._file, how, 1, 1)
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, 0)


def pytest_configure(config: pytest.Config) -> None:
    """Take turns when there are others."""
    run = getattr(config, "workerinput", {}).get("testrunuid")
    if run is not None:
        file = (Path(tempfile.gettempdir()) / f"dexlane-turns-{run}").open("w+b")
        config.add_cleanup(file.close)
        config.pluginmanager.register(Turns(file))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """The one that gives out tests removes the file of the lock; who has it open keeps it."""
    run = getattr(node, "workerinput", {}).get("testrunuid")
    (Path(tempfile.gettempdir()) / f"dexlane-turns-{run}").unlink(missing_ok=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files in order; the tests of a file stay as they are."""
    size = Counter(item.path for item in items)
    marked = {name: {item.path for item in items if item.get_closest_marker(name)} for name in ("alone", "long")}
    items.sort(
        key=lambda item: (
            item.path not in marked["alone"],
            item.path not in marked["long"],
            -size[item.path],
            str(item.path),
        )
    )
