"""Unix-domain sockets that only known users of this machine can use (Linux)."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Collection
from pathlib import Path

_PEER = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


class SocketTakenError(Exception):
    """Another process listens here already, or something else lies in the place of the socket."""


def listen(path: Path, *, mode: int = 0o600) -> socket.socket:
    """A listening socket with that mode from the first moment on. What an earlier process left behind is replaced.

    Raises ``SocketTakenError``, or ``OSError`` when the place cannot be written.
    """
    _clear(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        server.bind(str(path))
    except OSError:
        server.close()
        raise
    finally:
        os.umask(before)
    server.listen(64)
    server.setblocking(False)
    return server


def _clear(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise SocketTakenError(f"{path} is there and is no socket; remove it or choose another place")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise SocketTakenError(f"another process listens on {path}")


def is_known(transport: asyncio.BaseTransport, uids: Collection[int]) -> bool:
    """Whether the process at the other end runs as one of these users, by the word of the kernel."""
    peer: socket.socket | None = transport.get_extra_info("socket")
    if peer is None:
        return False
    _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return uid in uids
