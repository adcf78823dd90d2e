"""The commands about breakers and the emergency stop: what they ask the gateway, show, and end with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from dexlane.events.breakers import BreakerPhase, BreakerReading
from dexlane.testing.builders import a_breaker
from dexlane_cli import breakers, gateway_client, halting
from dexlane_cli.errors import CommandError
from dexlane_cli.main import app
from dexlane_cli.stack import StackOptions

BUS = {"path": "bus", "confirmed": True, "why": ""}
Call = tuple[str, str, Any]


class Gateway:
    """Answers in order, and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[Call] = []

    def call(self, _options: StackOptions, method: str, path: str, body: Any = None) -> Any:
        self.calls.append((method, path, body))
        return self.answers.pop(0)


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gateway: Gateway, *arguments: str) -> Any:
    monkeypatch.setattr(gateway_client, "call", gateway.call)
    monkeypatch.setattr(breakers, "LOOK_EVERY_S", 0)
    return CliRunner().invoke(app, [*arguments, "--home", str(tmp_path)], env={"COLUMNS": "300"})


def rows(*facts: Any) -> list[dict[str, Any]]:
    return [orjson.loads(fact.to_wire()) for fact in facts]


def test_json_is_what_the_gateway_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = rows(a_breaker())
    done = run(monkeypatch, tmp_path, Gateway(said), "breakers", "--json")
    assert orjson.loads(done.stdout) == said


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"phase": BreakerPhase.OPEN}, "tries again at"),
        ({"phase": BreakerPhase.OPEN, "needs_operator": True}, "waits for an operator"),
        ({"phase": BreakerPhase.HALF_OPEN, "probes": 2, "round": 3}, "2 probes a lane, round 3"),
        ({"phase": BreakerPhase.OPEN, "venue": "uniswap_v3"}, "uniswap_v3: reducing"),
        ({"readings": (BreakerReading(name="failures", value=None, limit=5),)}, "failures no data of 5"),
    ],
)
def test_the_table_says_what_a_breaker_holds_and_what_comes_next(fields: dict[str, Any], shown: str) -> None:
    from rich.console import Console

    console = Console(width=300, record=True)
    console.print(breakers._table(rows(a_breaker(**fields))))
    assert shown in console.export_text()


RESET = ("breakers", "reset", "breaker-losses", "--reason", "looked into")


def open_losses(*more: Any) -> list[dict[str, Any]]:
    return rows(a_breaker(BreakerPhase.OPEN, source="breaker-losses", opened_at_ms=7, reason="five losses"), *more)


def test_a_reset_shows_what_it_resets_and_names_that_opening_and_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    elsewhere = a_breaker(source="breaker-losses", chain_id=8_453)
    gateway = Gateway(open_losses(elsewhere, a_breaker()), {"before": open_losses()})
    done = run(monkeypatch, tmp_path, gateway, *RESET)
    assert done.exit_code == 0
    assert "to be reset: breaker-losses on chain 1 is open: five losses" in done.stdout
    body = {"reason": "looked into", "chain_id": None, "seen": {1: 7, 8_453: 0}}
    assert gateway.calls == [("GET", "/breakers", None), ("POST", "/breakers/breaker-losses/reset", body)]
    gateway = Gateway(open_losses(elsewhere), {"before": open_losses()})
    run(monkeypatch, tmp_path, gateway, *RESET, "--chain", "1")
    assert gateway.calls[-1][-1] == {"reason": "looked into", "chain_id": 1, "seen": {1: 7}}
    refused = run(monkeypatch, tmp_path, Gateway(), "breakers", "reset", "breaker-losses")
    assert refused.exit_code == 2


def a_stop(phase: str, **fields: Any) -> dict[str, Any]:
    return {
        "phase": phase,
        "positions_left": 0,
        "positions_at_start": 2,
        "transactions_open": 0,
        "left": [],
        "unconfirmed": [],
    } | fields


def test_the_emergency_stop_shows_how_far_it_is_until_it_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gateway = Gateway(a_stop("closing", positions_left=2), a_stop("cancelling", transactions_open=1), a_stop("done"))
    done = run(monkeypatch, tmp_path, gateway, "emergency-stop", "--close-positions", "--reason", "drill")
    assert done.exit_code == 0
    assert gateway.calls[0] == (
        "POST",
        "/emergency-stop",
        {"reason": "drill", "close_positions": True, "exits_within_s": 300},
    )
    assert [path for _, path, _ in gateway.calls[1:]] == ["/emergency-stop"] * 2


def test_a_halt_and_a_resume_say_what_holds_and_not_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    by_signer = {"source": "signer", "status": "halted", "version": 2, "reason": "too many", "since_ms": 1}
    rows = [{"chain_id": 1, "effective": "halted", "sources": [by_signer]}]
    done = run(monkeypatch, tmp_path, Gateway({"chains": rows, "paths": [BUS]}), "halt", "drill")
    assert done.exit_code == 0
    assert "trading on chain 1 is halted: drill" in done.stdout
    assert "confirmed by bus" in done.stdout
    done = run(monkeypatch, tmp_path, Gateway(rows, rows), "resume", "looked at it")
    assert "trading on chain 1 is still halted by signer: too many" in done.stdout


def held_by_operator() -> list[dict[str, Any]]:
    word = {"source": "operator", "status": "halted", "version": 7, "reason": "fire", "since_ms": 1}
    return [{"chain_id": 1, "effective": "halted", "sources": [word]}]


def test_a_resume_shows_what_it_releases_and_names_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gateway = Gateway(held_by_operator(), [])
    done = run(monkeypatch, tmp_path, gateway, "resume", "it is out")
    assert "to be released: operator on chain 1 says halted: fire" in done.stdout
    assert gateway.calls == [
        ("GET", "/status", None),
        ("POST", "/resume", {"reason": "it is out", "source": "operator", "seen": {1: 7}}),
    ]


@pytest.mark.parametrize(("answer", "asked", "calls"), [("y\n", (), 2), ("n\n", (), 1), ("", ("--yes",), 2)])
def test_a_person_at_a_terminal_is_asked_before_anything_is_released(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, asked: tuple[str, ...], calls: int
) -> None:
    gateway = Gateway(held_by_operator(), [])
    monkeypatch.setattr(gateway_client, "call", gateway.call)
    monkeypatch.setattr(halting, "is_person", lambda: True)
    CliRunner().invoke(app, ["resume", "it is out", *asked, "--home", str(tmp_path)], input=answer)
    assert len(gateway.calls) == calls
    gateway = Gateway(open_losses(), {"before": open_losses()})
    monkeypatch.setattr(gateway_client, "call", gateway.call)
    monkeypatch.setattr(breakers, "is_person", lambda: True)
    CliRunner().invoke(app, [*RESET, *asked, "--home", str(tmp_path)], input=answer)
    assert len(gateway.calls) == calls


def test_a_halt_that_not_everybody_confirmed_ends_with_3_and_says_what_to_do_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = tmp_path / "session" / "signer" / "data" / "guard.db"
    record.parent.mkdir(parents=True)
    record.touch()
    signer = {"path": "/run/signer.sock", "confirmed": False, "why": "no signer answers"}
    done = run(monkeypatch, tmp_path, Gateway({"chains": [], "paths": [signer, BUS]}), "halt", "fire", "--all")
    assert done.exit_code == 3
    assert "confirmed by bus\nNOT CONFIRMED by /run/signer.sock: no signer answers\n" in done.stdout
    assert f"touch {record.with_name('HALT')}" in done.stdout.splitlines()[-1]


def test_where_no_gateway_answers_a_halt_says_what_to_do_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = tmp_path / "session" / "data" / "fast-executor-guard-1.db"
    record.parent.mkdir(parents=True)
    record.touch()
    (record.parent / "gateway-token").write_text("t" * 43)
    done = CliRunner().invoke(app, ["halt", "fire", "--home", str(tmp_path), "--port-shift", "41000"])
    assert isinstance(done.exception, CommandError)
    assert f"touch {record.with_name('HALT')}" in done.stdout.replace("\n", "")


def test_a_stop_that_a_signer_did_not_confirm_says_so_at_once_and_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    unconfirmed = [{"what": "halt of /run/signer.sock", "why": "no signer answers"}]
    gateway = Gateway(a_stop("cancelling", unconfirmed=unconfirmed), a_stop("done", unconfirmed=unconfirmed))
    done = run(monkeypatch, tmp_path, gateway, "emergency-stop")
    assert done.exit_code == 1
    assert done.stdout.splitlines()[0] == "NOT CONFIRMED halt of /run/signer.sock: no signer answers"


def test_a_symbol_with_brackets_ends_no_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    left = [{"what": "paper-main holds [/red]", "why": "[bold]safe"}]
    done = run(monkeypatch, tmp_path, Gateway(a_stop("done", left=left, positions_left=1)), "emergency-stop")
    assert "left paper-main holds [/red]: [bold]safe" in done.stdout


def test_what_is_left_at_the_end_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    left = [{"what": "paper-main holds WETH", "why": "no known pool takes it"}]
    done = run(monkeypatch, tmp_path, Gateway(a_stop("done", left=left, positions_left=1)), "emergency-stop")
    assert done.exit_code == 1


def test_without_waiting_it_returns_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gateway = Gateway(a_stop("closing", positions_left=2))
    assert run(monkeypatch, tmp_path, gateway, "emergency-stop", "--no-wait").exit_code == 0
    assert len(gateway.calls) == 1
