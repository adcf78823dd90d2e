"""A halt reaches the signers of this host without the bus, and without the journal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dexlane.events.control import TradingStatus
from dexlane.runtime import signer_control
from dexlane.runtime.errors import Transient
from gateway.settings import Settings


class Listening:
    """A control socket that notes what it is told."""

    def __init__(self, answer: dict[str, Any] | bytes) -> None:
        self.said: list[dict[str, Any]] = []
        self._answer = answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.said.append(json.loads(await reader.readline()))
        writer.write(self._answer)
        await writer.drain()
        writer.close()


async def test_a_halt_is_told_to_every_signer_before_it_is_published(
    open_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    signer = Listening({"done": "halt", "level": "halted"})
    server = await asyncio.start_unix_server(signer.serve, path=tmp_path / "s")
    gateway = await open_gateway(signer_control_sockets=(tmp_path / "s", tmp_path / "nobody"))
    await gateway.post("/halt", {"scope": "halted", "reason": "drill"})
    assert signer.said == [{"do": "halt", "level": "halted", "source": "api", "reason": "drill"}]
    assert (await gateway.sent(TradingStatus))[-1].reason == "drill", "a signer that is not there stops nothing else"
    server.close()


async def test_an_emergency_stop_reaches_the_signers_though_the_journal_commits_nothing(
    open_gateway: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Listening({"done": "halt", "level": "halted"})
    server = await asyncio.start_unix_server(signer.serve, path=tmp_path / "s")
    gateway = await open_gateway(signer_control_sockets=(tmp_path / "s",))

    def full() -> Any:
        raise Transient("the disk is full")

    monkeypatch.setattr(gateway.desk.journal, "transaction", full)
    await gateway.post("/emergency-stop", {"reason": "drill"}, 503)
    assert [one["level"] for one in signer.said] == ["halted"]
    server.close()


@pytest.mark.parametrize("answer", [{"refused": "no"}, {}, b"\n", b"[]\n", b"?\n"], ids=str)
async def test_an_unconfirmed_halt_is_named(tmp_path: Path, answer: Any) -> None:
    signer = Listening(answer)
    server = await asyncio.start_unix_server(signer.serve, path=tmp_path / "s")
    refused = await signer_control.halt_all([tmp_path / "s"], "reducing", "drill")
    assert list(refused) == [str(tmp_path / "s")]
    server.close()


async def test_a_silent_signer_does_not_hold_a_halt_up(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    server = await asyncio.start_unix_server(silent, path=tmp_path / "s")
    answer = await signer_control.tell(tmp_path / "s", {"do": "beat"}, time_limit_s=0.05)
    assert "no signer answers" in str(answer["refused"])
    server.close()


async def test_signs_of_life_name_who_was_not_reached(tmp_path: Path) -> None:
    signer = Listening({"done": "beat"})
    server = await asyncio.start_unix_server(signer.serve, path=tmp_path / "s")
    assert await signer_control.beat([tmp_path / "s"]) == []
    assert signer.said == [{"do": "beat"}]
    assert len(await signer_control.beat([tmp_path / "s", tmp_path / "nobody"])) == 1
    server.close()


def test_control_sockets_are_none_by_default() -> None:
    assert Settings().signer_control_sockets == ()
