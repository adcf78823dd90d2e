"""What the process does so that its memory stays its own (Linux)."""

from __future__ import annotations

import ctypes
import os
import resource

_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4  # prctl(2)


class ExposedMemoryError(Exception):
    """The system does not let this process keep its memory to itself; no key is read then."""


def close_memory() -> None:
    """No core dumps, no reading by other processes of the same user, and new files private. To be called before any key
    is read. Raises ``ExposedMemoryError``."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        is_dumpable = libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)
    except (OSError, AttributeError):
        is_dumpable = -1
    if is_dumpable != 0:
        raise ExposedMemoryError("this system cannot close the memory of a process; the signer runs on Linux only")
