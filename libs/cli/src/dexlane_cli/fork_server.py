"""The fork server: a process that imports once what the services share, and forks each of them on request.

A request is a line of JSON ``{"command": [...], "environment": {...}, "niceness": n}`` with two descriptors beside it:
where the output goes, and the read end of a pipe. The answer is the process id as a line, or ``0`` with a reason. The
new process waits for a byte in the pipe before it does anything, so that none runs whose id the asker did not get.

It is forked twice, and the process between ends at once: so Linux gives the new one to the nearest ancestor that
adopts orphans (``PR_SET_CHILD_SUBREAPER``, prctl(2)), which is the supervisor. The end of this process ends no service.

There is one thread, no event loop and nothing that signs in here (``shared_imports``).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import runpy
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson

READY = b"ready\n"
LINE_LIMIT_BYTES = 1024 * 1024
_ARG_START, _ARG_END = 48, 49  # fields of /proc/self/stat, proc(5)


@dataclass(frozen=True)
class Request:
    """A process that is asked for: its Python script with arguments, its whole environment, its descriptors."""

    command: tuple[str, ...]
    environment: dict[str, str]
    niceness: int
    output: int
    go: int

    def encoded(self) -> bytes:
        """The line that is sent; the descriptors travel beside it."""
        said = {"command": self.command, "environment": self.environment, "niceness": self.niceness}
        return orjson.dumps(said) + b"\n"


def received(link: socket.socket) -> Request | None:
    """The next request; None when nobody will ask any more."""
    text, descriptors, _, _ = socket.recv_fds(link, 65_536, 2)
    while text and not text.endswith(b"\n") and len(text) < LINE_LIMIT_BYTES:
        more = link.recv(65_536)
        if not more:
            return None
        text += more
    if not text:
        return None
    said = orjson.loads(text)
    return Request(tuple(said["command"]), said["environment"], said["niceness"], *descriptors)


def serve(link: socket.socket) -> Request | None:
    """Answer requests until the asker is gone, then None. In every forked process: the request to live up to."""
    try:
        link.sendall(READY)
    except ConnectionError:
        return None
    while (request := received(link)) is not None:
        try:
            pid = _forked_twice()
        except OSError as error:
            answer = f"0 {error}"
        else:
            if pid == 0:
                return request
            answer = str(pid)
        os.close(request.output)
        os.close(request.go)
        link.sendall(answer.encode() + b"\n")
    return None


def _forked_twice() -> int:
    """0 in the new process; in this one its id, once the process between has ended."""
    reading, writing = os.pipe()
    between = os.fork()
    if between:
        os.close(writing)
        with os.fdopen(reading) as told:
            text = told.read()
        os.waitpid(between, 0)
        if not text:
            raise OSError("no process could be forked")
        return int(text)
    try:
        pid = os.fork()
    except OSError:
        os._exit(1)
    if pid:
        os.write(writing, str(pid).encode())
        os._exit(0)
    os.close(reading)
    os.close(writing)
    return 0


def become(request: Request) -> None:
    """Make this forked process what an execution of the command would have made, or end when nobody waits for it."""
    os.setpgid(0, 0)
    if not os.read(request.go, 1):
        os._exit(1)
    os.dup2(request.output, 1)
    os.dup2(request.output, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.nice(request.niceness)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv[:] = request.command
    name_process(request.command)
    gc.enable()


def name_process(command: tuple[str, ...]) -> None:
    """What others see in ``/proc``. The kernel shows the memory that held the first arguments, so they are written
    over; longer ones are cut off. Nothing depends on it but people and measurements: where it cannot be, it is not."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(Path(command[0]).name[:15])
        fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
        start, end = (int(fields[field - 3]) for field in (_ARG_START, _ARG_END))
        if 0 < start < end:
            room = end - start
            shown = b"\0".join(os.fsencode(word) for word in command)[: room - 1]
            ctypes.memmove(start, shown.ljust(room, b"\0"), room)


def main() -> None:
    """``python -m dexlane_cli.fork_server FD MODULE ...``: import the module, then serve the socket of that number; in
    what was forked, be a service. Further arguments are room for longer names."""
    name_process((str(Path(sys.executable).parent / "dexlane-fork-server"),))
    # Without collections the pages of what is imported stay as they are, and so shared (gc.freeze).
    gc.disable()
    importlib.import_module(sys.argv[2])
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as link:
        request = serve(link)
        if request is not None:
            link.detach()
    if request is not None:
        become(request)
        runpy.run_path(request.command[0], run_name="__main__")


if __name__ == "__main__":
    main()
