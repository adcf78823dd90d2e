"""Copying the record's write-ahead log back a moment after signatures, so that none waits for it."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

COMMITS_TO_COPY = 30
"""Some 400 pages: SQLite begins the log anew after the first or the second copy, and there is room for 2,000."""
COPY_AFTER_S = 0.5
MOST_PAGES = 20_000
"""From so many on a signature does wait: some 40 MB of log, which only a disk that refuses copies lets come about."""


class LogCopying:
    """Counts commits, and now and then copies the log back in a thread of its own. Use it from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._address = f"{path.resolve().as_uri()}?mode=rw"
        self._commits = 0
        self._timer = threading.Timer(0, self._copy)

    def committed(self) -> None:
        """There is one more commit in the log."""
        self._commits += 1
        if self._commits < COMMITS_TO_COPY or self._timer.is_alive():
            return
        timer = threading.Timer(COPY_AFTER_S, self._copy)
        timer.daemon = True
        try:
            timer.start()
        except RuntimeError:
            return  # no thread is to be had: what was signed counts all the same, and the next commit asks again
        self._commits, self._timer = 0, timer

    def stop(self) -> None:
        """Copy nothing any more; returns when nothing is being copied."""
        self._timer.cancel()
        if self._timer.is_alive():
            self._timer.join()

    def _copy(self) -> None:
        try:
            with closing(sqlite3.connect(self._address, uri=True, isolation_level=None)) as db:
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error:
            return  # the log stays as it is, and is copied the next time
