"""The caretaker: a process that stops what a supervisor kept when the supervisor itself is gone, however it went.

It holds one end of a socket pair. Nobody but the supervisor holds the other one, so that closes with the supervisor.
Each kept process is made known before it does anything: a line ``[pid, tier, log]``, and beside it the read end of its
output. While the supervisor lives, that is held and not read. Then it is read, into the log, because a process that
nobody listens to fails with what it says; and where it ends, the process has ended and all that it had started. So no
signal is sent to an id that may be somebody else's by now.

It inherits the lock of the stack's folder, so that nothing starts there before the end of what it stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

GRACE_S = 8.0
KILLED_WITHIN_S = 2.0
LOG_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Charge:
    """A process in its care: tiers are stopped one after the other, the highest first."""

    pid: int
    tier: int
    log: Path

    def encoded(self) -> bytes:
        """The line that is sent; the descriptor of the output travels beside it."""
        return json.dumps([self.pid, self.tier, str(self.log)]).encode() + b"\n"


def append(log: Path, said: bytes) -> None:
    """Append to a log file while there is room in it, and on the disk."""
    with contextlib.suppress(OSError), log.open("ab", buffering=0) as file:
        if file.tell() < LOG_LIMIT_BYTES:
            file.write(said)


class Charges:
    """The processes that live, by the descriptor of what they say."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._living: dict[int, Charge] = {}
        self._events = select.poll()
        self._events.register(link, select.POLLIN)

    def __bool__(self) -> bool:
        """Whether any lives."""
        return bool(self._living)

    def wait(self) -> None:
        """Learn of processes and forget those that ended, until the supervisor is gone."""
        alone = False
        while not alone:
            # What ended before the supervisor comes in the same round as its end, at the latest.
            for descriptor, _ in self._events.poll():
                if descriptor == self._link.fileno():
                    alone = not self._learn()
                else:
                    self._forget(descriptor)
        self._events.unregister(self._link)

    def _learn(self) -> bool:
        text, outputs, _, _ = socket.recv_fds(self._link, 65_536, 64)
        for line, output in zip(text.splitlines(), outputs, strict=True):
            pid, tier, log = json.loads(line)
            self._living[output] = Charge(pid, tier, Path(log))
            self._events.register(output, 0)  # its end is told all the same
        return bool(text)

    def _forget(self, output: int) -> None:
        self._events.unregister(output)
        os.close(output)
        del self._living[output]

    def stop(self) -> None:
        """Ask to end, then insist, as the supervisor does; each tier once those above it have ended."""
        for output in self._living:
            self._events.modify(output, select.POLLIN)
        for tier in sorted({charge.tier for charge in self._living.values()}, reverse=True):
            self._signal(tier, os.kill, signal.SIGTERM)
            self._listen(tier, GRACE_S)
            self._signal(tier, os.killpg, signal.SIGKILL)
            self._listen(tier, KILLED_WITHIN_S)

    def _signal(self, tier: int, send: Callable[[int, int], None], number: signal.Signals) -> None:
        for charge in self._living.values():
            if charge.tier == tier:
                with contextlib.suppress(ProcessLookupError):
                    send(charge.pid, number)

    def _listen(self, tier: int, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while any(charge.tier == tier for charge in self._living.values()):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            for output, _ in self._events.poll(left_s * 1_000):
                if said := os.read(output, 65_536):
                    append(self._living[output].log, said)
                else:
                    self._forget(output)


def say(sentence: str) -> None:
    """To the person at the terminal, if it is still there."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"dexlane: {sentence}\n")


def main() -> None:
    """``python -m dexlane_cli.caretaker FD PID_FILE``: take care of what is told over the socket of that number. It
    ends with its work and not before, also where a terminal or a whole system ends; the file names it meanwhile."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    pid_file = Path(sys.argv[2])
    with socket.socket(fileno=int(sys.argv[1])) as link:
        charges = Charges(link)
        charges.wait()
    if charges:
        with contextlib.suppress(OSError):
            pid_file.write_text(str(os.getpid()))
        say("the supervisor is gone and left processes, which are stopped now ...")
        charges.stop()
        say("stopped")
        pid_file.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
