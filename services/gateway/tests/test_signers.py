"""A halt reaches the signers of this host without the bus, and without the journal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dexlane.events.control import TradingStatus
from dexlane.events.execution import TxState
from dexlane.runtime import signer_control
from dexlane.runtime.errors import Transient
from dexlane.testing.builders import a_tx, an_intent
from dexlane.values.books import Mode
from gateway.settings import Settings
from gateway.statuses import telling


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
    answer = await gateway.post("/halt", {"scope": "halted", "reason": "drill"}, 207)
    assert signer.said == [{"do": "halt", "level": "halted", "source": "api", "reason": "drill"}]
    assert (await gateway.sent(TradingStatus))[-1].reason == "drill", "a signer that is not there stops nothing else"
    assert [(one["path"], one["confirmed"]) for one in answer["data"]["paths"]] == [
        (str(tmp_path / "s"), True),
        (str(tmp_path / "nobody"), False),
        ("bus", True),
    ]
    assert "touch HALT" in answer["data"]["paths"][1]["why"]
    server.close()


async def test_a_halt_that_everybody_confirmed_is_plain_success(
    open_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    server = await asyncio.start_unix_server(Listening({"done": "halt"}).serve, path=tmp_path / "s")
    gateway = await open_gateway(signer_control_sockets=(tmp_path / "s",))
    answer = await gateway.post("/halt", {"scope": "reducing", "reason": "drill"}, 200)
    assert [one["confirmed"] for one in answer["data"]["paths"]] == [True, True]
    assert (await gateway.get("/overview"))["alarms"] == []
    server.close()


async def test_who_did_not_confirm_stays_on_the_page_until_a_halt_arrives_there_or_people_resume(
    open_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    gateway = await open_gateway(signer_control_sockets=(tmp_path / "s",))
    halt = {"scope": "halted", "reason": "drill"}

    async def alarms() -> list[str]:
        told: list[str] = (await gateway.get("/overview"))["alarms"]
        return told

    await gateway.post("/halt", halt, 207)
    (alarm,) = await alarms()
    assert str(tmp_path / "s") in alarm
    server = await asyncio.start_unix_server(Listening({"done": "halt"}).serve, path=tmp_path / "s")
    await gateway.post("/halt", halt, 200)
    assert await alarms() == []
    server.close()
    await gateway.post("/halt", halt, 207)
    await gateway.resume("over")
    assert await alarms() == []


def level_told(signer: Listening) -> list[str]:
    return [one["level"] for one in signer.said]


async def test_a_signer_that_did_not_confirm_is_told_again_until_it_does(
    open_gateway: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "TELL_AGAIN_S", 0.01)
    gateway = await open_gateway(signer_control_sockets=(tmp_path / "s",))
    await gateway.post("/halt", {"scope": "reducing", "reason": "drill"}, 207)
    (row,) = await gateway.get("/status")
    assert [(one["path"], one["confirmed"]) for one in row["unconfirmed"]] == [(str(tmp_path / "s"), False)]
    telling_again = asyncio.create_task(gateway.desk.paths.run())
    signer = Listening({"done": "halt"})
    server = await asyncio.start_unix_server(signer.serve, path=tmp_path / "s")
    await asyncio.sleep(0.5)
    assert (await gateway.get("/status"))[0]["unconfirmed"] == []
    assert signer.said == [{"do": "halt", "level": "reducing", "source": "api", "reason": "drill"}], "and not again"
    assert (await gateway.get("/overview"))["alarms"] == []
    telling_again.cancel()
    server.close()


async def test_a_restart_forgets_no_unconfirmed_halt_and_a_resume_ends_it(
    open_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    places = {"signer_control_sockets": (tmp_path / "s",)}
    gateway = await open_gateway(**places)
    await gateway.post("/halt", {"scope": "halted", "reason": "drill"}, 207)
    again = await open_gateway(**places)
    assert (await again.get("/status"))[0]["unconfirmed"]
    await again.resume("exits only", to="reducing")
    third = await open_gateway(**places)
    signer = Listening({"done": "halt"})
    server = await asyncio.start_unix_server(signer.serve, path=tmp_path / "s")
    await third.desk.paths.again()
    assert level_told(signer) == ["reducing"], "what people still hold back, and not more"
    fourth = await open_gateway(**places)
    await fourth.desk.paths.again()
    assert len(signer.said) == 1, "who confirmed before a restart is not told after it: people may have resumed it"
    server.close()
    await fourth.post("/halt", {"scope": "halted", "reason": "drill"}, 207)
    await fourth.resume("over")
    fifth = await open_gateway(**places)
    assert (await fifth.get("/status"))[0]["unconfirmed"] == []


async def test_a_halt_of_less_does_not_tell_less_to_who_did_not_confirm_more(
    open_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    gateway = await open_gateway(signer_control_sockets=(tmp_path / "s",))
    await gateway.post("/halt", {"scope": "halted", "reason": "fire"}, 207)
    signer = Listening({"done": "halt"})
    server = await asyncio.start_unix_server(signer.serve, path=tmp_path / "s")
    await gateway.post("/halt", {"scope": "reducing", "reason": "drill"}, 200)
    assert level_told(signer) == ["halted"]
    server.close()


async def test_no_signer_is_halted_after_a_resume_by_what_was_on_its_way(
    open_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    gateway = await open_gateway(signer_control_sockets=(tmp_path / "s",))
    await gateway.post("/halt", {"scope": "halted", "reason": "fire"}, 207)
    heard, answers = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        heard.set()
        await answers.wait()
        writer.write(b'{"done": "halt"}\n')
        writer.close()

    server = await asyncio.start_unix_server(slow, path=tmp_path / "s")
    again = asyncio.create_task(gateway.desk.paths.again())
    await heard.wait()
    resumed = asyncio.create_task(gateway.resume("over"))
    await asyncio.sleep(0.1)
    assert not resumed.done()
    answers.set()
    await asyncio.gather(again, resumed)
    server.close()


async def test_a_signer_that_confirmed_late_is_not_left_over_at_the_end_of_an_emergency_stop(
    open_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    gateway = await open_gateway(signer_control_sockets=(tmp_path / "s",))
    intent = an_intent(mode=Mode.LIVE)
    await gateway.archive(intent, a_tx(TxState.PENDING, intent, sequence=3, nonce=4))
    begun = (await gateway.post("/emergency-stop", {"reason": "drill", "cancels_within_s": 60}, 202))["data"]
    assert begun["unconfirmed"]
    server = await asyncio.start_unix_server(Listening({"done": "halt"}).serve, path=tmp_path / "s")
    await gateway.desk.paths.again()
    assert (await gateway.desk.emergency.look()).unconfirmed == ()
    gateway.clock.advance(61_000)
    ended = await gateway.desk.emergency.look()
    assert ended.is_over
    assert [one.what for one in ended.left if one.what.startswith("halt of")] == []
    server.close()


async def test_a_halt_that_the_bus_did_not_take_says_so(gateway: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.desk.paths.published = gateway.desk.journal.drained
    monkeypatch.setattr(telling, "PUBLISHED_WITHIN_S", 0.05)
    answer = await gateway.post("/halt", {"scope": "halted", "reason": "drill"}, 207)
    (bus,) = answer["data"]["paths"]
    assert (bus["path"], bus["confirmed"]) == ("bus", False)
    assert "stop the executors" in bus["why"]


@pytest.mark.parametrize(("path", "more"), [("/halt", {"scope": "halted"}), ("/emergency-stop", {})])
async def test_where_the_journal_takes_no_halt_the_refusal_says_which_signers_are_halted(
    open_gateway: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, more: dict[str, str]
) -> None:
    server = await asyncio.start_unix_server(Listening({"done": "halt"}).serve, path=tmp_path / "s")
    gateway = await open_gateway(signer_control_sockets=(tmp_path / "s", tmp_path / "nobody"))

    def full() -> Any:
        raise Transient("the disk is full")

    monkeypatch.setattr(gateway.desk.journal, "transaction", full)
    detail = (await gateway.post(path, {"reason": "drill", **more}, 503))["detail"]
    assert f"{tmp_path / 's'} is halted" in detail
    assert f"{tmp_path / 'nobody'} is NOT halted" in detail
    server.close()


async def test_an_emergency_stop_names_the_signer_that_did_not_confirm_at_once_and_at_its_end(
    open_gateway: Callable[..., Any], tmp_path: Path
) -> None:
    gateway = await open_gateway(signer_control_sockets=(tmp_path / "nobody",))
    begun = (await gateway.post("/emergency-stop", {"reason": "drill"}, 202))["data"]
    assert [one["what"] for one in begun["unconfirmed"]] == [f"halt of {tmp_path / 'nobody'}"]
    ended = await gateway.desk.emergency.look()
    assert [one.what for one in ended.left] == [f"halt of {tmp_path / 'nobody'}"]


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
