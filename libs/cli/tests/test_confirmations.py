"""The command about trades that wait for a person: what it asks the gateway and shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from dexlane.testing.builders import a_confirmation_request
from dexlane_cli import gateway_client
from dexlane_cli.main import app
from dexlane_cli.stack import StackOptions

REQUEST = a_confirmation_request()
WAITING = {"state": "waiting", "reason": None, "decided_ms": None, "request": orjson.loads(REQUEST.to_wire())}


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: Any, *arguments: str) -> tuple[str, list[Any]]:
    calls: list[Any] = []

    def call(_options: StackOptions, method: str, path: str, body: Any = None) -> Any:
        calls.append((method, path, body))
        return answer

    monkeypatch.setattr(gateway_client, "call", call)
    done = CliRunner().invoke(
        app, ["confirmations", *arguments, "--home", str(tmp_path)], env={"COLUMNS": "300"}, catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.stdout, calls


def test_what_waits_is_shown_with_size_deadline_and_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown, calls = run(monkeypatch, tmp_path, [WAITING], "--json")
    assert orjson.loads(shown) == [WAITING]
    assert calls == [("GET", "/confirmations", None)]


def test_everything_is_asked_for_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown, calls = run(monkeypatch, tmp_path, [], "--all")
    assert "nothing waits" in shown
    assert calls == [("GET", "/confirmations?all=true", None)]


@pytest.mark.parametrize("word", ["confirm", "decline"])
def test_an_answer_carries_its_reason(word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answered = WAITING | {"state": f"{word}ed"}
    shown, calls = run(monkeypatch, tmp_path, answered, word, REQUEST.id, "--reason", "looked at it")
    assert calls == [("POST", f"/confirmations/{REQUEST.id}/{word}", {"reason": "looked at it"})]
    assert f"{word}ed: paper 1000 USDC for " in shown
