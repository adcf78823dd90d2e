"""The control socket: one JSON object a line. It halts, takes signs of life and tells the state; it never resumes.

A person can use it without any program of ours: ``echo '{"do": "halt", "reason": "..."}' | nc -U control.sock``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from dexlane_signer.brake import Brake
from dexlane_signer.guard_file import GuardUnavailableError
from dexlane_signer.latch import Level
from dexlane_signer.sockets import is_known, listen
from dexlane_signer.wire import MalformedFrameError, to_object

MAX_LINE_BYTES = 4_096
_SHORTEST_LIFE_S = 30.0


class ControlServer:
    """Answers each line with a line, until the other side hangs up or is silent for long."""

    def __init__(self, brake: Brake, *, uids: Collection[int], more: Callable[[], dict[str, Any]] = dict) -> None:
        """``more`` adds to the status what only its owner knows."""
        self._brake = brake
        self._uids = frozenset(uids)
        self._more = more
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Listen. Raises ``SocketTakenError`` or ``OSError``."""
        self._server = await asyncio.start_unix_server(self._serve, sock=listen(path), limit=MAX_LINE_BYTES)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not is_known(writer.transport, self._uids):
                self._brake.counts.strangers += 1
                return
            while line := await asyncio.wait_for(reader.readline(), _SHORTEST_LIFE_S):
                writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                await asyncio.wait_for(writer.drain(), _SHORTEST_LIFE_S)
        except (OSError, TimeoutError, ValueError):
            # Silent for long, gone, or a line without an end: nothing is to be answered any more.
            return
        finally:
            writer.close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """Do what a line says; the answer says what holds now, or why nothing was done."""
        try:
            return self._act(to_object(line))
        except MalformedFrameError as error:
            self._brake.counts.unread += 1
            return {"refused": str(error)}
        except GuardUnavailableError as error:
            return {"refused": str(error)}

    def _act(self, said: dict[str, Any]) -> dict[str, Any]:
        if said == {"do": "beat"}:
            if self._brake.lease is not None:
                self._brake.lease.beat()
            return {"done": "beat"}
        if said == {"do": "status"}:
            return self.status()
        if said.get("do") == "resume":
            raise MalformedFrameError("nobody resumes over a socket; a person does it with `dexlane-signer resume`")
        return self._halt(said)

    def _halt(self, said: dict[str, Any]) -> dict[str, Any]:
        level, source, reason = said.get("level", "halted"), said.get("source", "api"), said.get("reason")
        is_known_form = said.get("do") == "halt" and said.keys() <= {"do", "level", "source", "reason"}
        if not is_known_form or level not in ("halted", "reducing") or source not in ("api", "operator"):
            raise MalformedFrameError('say {"do": "halt", "reason": "..."}, {"do": "beat"} or {"do": "status"}')
        if not isinstance(reason, str) or not reason.strip():
            raise MalformedFrameError("a halt needs a reason")
        self._brake.pull(Level(level), source, reason)
        return {"done": "halt", "level": self._brake.latch().level}

    def status(self) -> dict[str, Any]:
        """What holds and what was counted."""
        latch, lease = self._brake.latch(), self._brake.lease
        age_s = None if lease is None or lease.age_s is None else round(lease.age_s, 3)
        return {
            "level": latch.level,
            "source": latch.source,
            "reason": latch.reason,
            "since_s": latch.at_s,
            "lease": None if lease is None else {"age_s": age_s, "max_age_s": lease.max_age_s},
            "counts": self._brake.counts.as_dict(),
            **self._more(),
        }
