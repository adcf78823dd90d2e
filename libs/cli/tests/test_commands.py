"""Commands: clear sentences, exit codes, and books that stay valid."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from rich.table import Table
from typer.testing import CliRunner

from dexlane.events.control import Status
from dexlane.events.execution import FillIncluded
from dexlane.events.risk import VerdictApproved, VerdictRejected
from dexlane.runtime.books_file import load_books
from dexlane.testing.builders import (
    a_block,
    a_failure,
    a_fee_quote,
    a_fill,
    a_position,
    a_rejection,
    a_status,
    a_tx,
    a_verdict,
    an_exit,
    an_exposure,
    an_intent,
    an_opened_account,
    an_opportunity,
)
from dexlane_cli import doctor, gateway_client, journals, listening, options, rendering, session, stack
from dexlane_cli.default_books import books_text, roles, write_default_books
from dexlane_cli.errors import CommandError
from dexlane_cli.main import app
from dexlane_cli.stack import Ports, StackOptions
from dexlane_cli.whole_system import Screen, token_line

COMMAND = str(Path(sys.executable).parent / "dexlane")


def run(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


def test_books_show_and_add_keep_the_file_valid(tmp_path: Path) -> None:
    said = ("--level", "3", "--capital", "1000.50", "--max-trade", "100", "--jurisdiction", "EU")
    added = run("books", "add", "cautious", *said, home=tmp_path)
    assert added.returncode == 0, added.stderr
    shown = run("books", "show", home=tmp_path)
    assert "cautious" in shown.stdout
    assert "1000.5 USDC" in shown.stdout
    books = {book.id: book for book in load_books(tmp_path / "books.toml", roles=roles()).books}
    assert (books["cautious"].level, books["cautious"].jurisdiction) == (3, "EU")
    assert books["cautious"].accounts != books["paper-main"].accounts


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("books", "add", "paper-main"), "there is a book 'paper-main' already"),
        (("books", "add", "x", "--like", "nobody"), "there is no book 'nobody'; the books are"),
        (("books", "add", "x", "--capital", "12,5"), "--capital: '12,5' is not a plain decimal number"),
        (("books", "add", "x", "--capital", "1"), "max_trade may not exceed the capital"),
        (("books", "add", "x", "--like", "live-devnet"), "a live book needs accounts of its own"),
        (("halt", "why"), "there is no token at"),
        (("streams", "--url", "nats://user:secret@127.0.0.1:9"), "no NATS server lets us in at 127.0.0.1:9"),
        (("migrate", "--service", "gas-oracle"), "'gas-oracle' keeps no journal"),
        (("reconcile",), "does not answer"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_an_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    shift = ("--port-shift", "3333") if arguments[0] in {"halt", "reconcile"} else ()
    if arguments[0] == "streams":
        result = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert "secret" not in result.stderr
    else:
        result = run(*arguments, *shift, home=tmp_path)
    assert result.returncode in {1, 2}
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_wrong_node_urls_are_refused_in_one_sentence(tmp_path: Path) -> None:
    http = run("status", home=tmp_path, DEXLANE_RPC_WS_URLS='{"1": "http://127.0.0.1:1"}')
    assert http.returncode == 2
    assert "must begin with ws:// or wss://" in http.stderr
    second = run("status", home=tmp_path, DEXLANE_RPC_WS_URLS='{"1": ["ws://127.0.0.1:1", "http://127.0.0.1:1"]}')
    assert "must begin with ws:// or wss://" in second.stderr
    nonsense = run("status", home=tmp_path, DEXLANE_RPC_WS_URLS="ws://127.0.0.1:1")
    assert nonsense.returncode == 2
    assert "DEXLANE_RPC_WS_URLS is JSON such as" in nonsense.stderr


def test_status_of_nothing_says_so_and_fails(tmp_path: Path) -> None:
    result = run("status", "--port-shift", "3333", home=tmp_path)
    assert result.returncode == 1
    assert "supervisor: none runs here" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "body", [{"ready": True, "reasons": {}}, {"service": "other", "ready": True}, [], "up"], ids=str
)
def test_another_program_at_a_services_port_is_not_ready(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: Any
) -> None:
    monkeypatch.setattr(httpx.Client, "get", lambda *_: httpx.Response(200, json=body))
    monkeypatch.setattr(gateway_client, "call", lambda *_: {"notices": []})
    done = CliRunner().invoke(app, ["status", "--home", str(tmp_path)], env={"COLUMNS": "200"})
    assert done.exit_code == 1
    assert "another program answers here" in done.stdout


def test_stopping_nothing_is_no_error(tmp_path: Path) -> None:
    assert "nothing runs here" in run("down", home=tmp_path).stdout


def test_migrate_brings_every_journal_to_the_newest_revision_twice(tmp_path: Path) -> None:
    for _ in range(2):
        result = run("migrate", home=tmp_path)
        assert result.returncode == 0, result.stderr
    made = {path.stem for path in (tmp_path / "session" / "data").glob("*.db")}
    assert made == set(journals.PACKAGES)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        shift = taken.getsockname()[1] - 14_222
        with pytest.raises(CommandError, match=rf"port {14_222 + shift} \(nats\) is taken"):
            session.require_free_ports(Ports(shift), devnets=(1,))


def test_a_second_stack_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with session.lock(tmp_path), pytest.raises(CommandError, match="already runs here"), session.lock(tmp_path):
        pass
    with session.lock(tmp_path):
        assert session.supervisor_pid(tmp_path) == os.getpid()
    assert session.supervisor_pid(tmp_path) is None


def test_a_process_that_a_stale_file_names_is_not_ended(tmp_path: Path) -> None:
    with session.lock(tmp_path):
        pass
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (tmp_path / "pid").write_text(str(stranger.pid))
    try:
        assert session.stop_supervisor(tmp_path, timeout_s=1) is False
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


HOSTILE = "[/x] [red]SAFE \x1b[2J\u202e"


def test_what_strangers_wrote_is_shown_as_text_and_commands_no_terminal() -> None:
    shown = options.PlainConsole(record=True, width=300, file=io.StringIO())
    table = Table("why")
    table.add_row(HOSTILE)
    shown.print(HOSTILE, table, rendering.line(a_status(Status.HALTED, reason=HOSTILE)))
    Screen(shown, verbose=True).process_line("nats", HOSTILE)
    text = shown.export_text(styles=False)
    assert text.count("[/x] [red]SAFE \ufffd[2J\ufffd") == 4
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_output_that_is_collected_holds_no_token(tmp_path: Path) -> None:
    stack_options = StackOptions(home=tmp_path)
    path = gateway_client.token_file(stack_options)
    path.parent.mkdir(parents=True)
    path.write_text("secret-token")
    assert "secret-token" in token_line(stack_options, to_a_person=True)
    assert "secret-token" not in token_line(stack_options, to_a_person=False)


def test_an_answer_that_is_no_json_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = httpx.Response(500, text="Internal Server Error")
    monkeypatch.setattr(gateway_client.httpx, "request", lambda *_, **__: answer)
    with pytest.raises(CommandError, match="may be done or not"):
        gateway_client.call(StackOptions(home=tmp_path), "GET", "/status")


def test_a_new_devnet_run_sets_the_journals_of_the_last_one_aside_and_keeps_a_few(tmp_path: Path) -> None:
    options = StackOptions(home=tmp_path)
    for number in range(session.KEPT_SESSIONS + 3):
        session.prepare(options)
        (options.session / "data" / "mark").write_text(str(number))
        os.utime(options.session, (number * 1000, number * 1000))
    assert not (options.session / "data" / "mark.old").exists()
    kept = sorted((tmp_path / "sessions").iterdir())
    assert len(kept) == session.KEPT_SESSIONS
    keys = options.session / "keys" / "fast-executor.json"
    assert keys.stat().st_mode & 0o777 == 0o600


def test_with_given_nodes_no_key_is_written_and_no_live_book_exists(tmp_path: Path) -> None:
    options = StackOptions(home=tmp_path, rpc_ws_urls={1: "ws://127.0.0.1:9"})
    session.prepare(options)
    assert list((options.session / "keys").iterdir()) == []
    assert "devnet" not in [spec.name for spec in stack.infrastructure(options)]
    settings = stack.service("fast-executor", options).environment
    assert settings["DEXLANE_NETWORK"] == "remote"
    assert not any("PRIVATE_KEYS" in name or "KEYSTORE" in name for name in settings)
    (tmp_path / "b.toml").write_text(books_text(options))
    assert {book.mode for book in load_books(tmp_path / "b.toml", roles={}).books} == {"paper"}


def test_events_are_chosen_by_the_beginning_of_their_names() -> None:
    assert listening.choose(["verdict"]) == [VerdictApproved, VerdictRejected]
    assert FillIncluded in listening.choose([""])
    assert "block.applied" not in {event.NAME for event in listening.choose([])}
    with pytest.raises(CommandError, match="no event begins with 'nonsense'"):
        listening.choose(["nonsense"])


def test_every_event_is_one_line_for_a_person() -> None:
    events = [
        *(a_block(), a_fee_quote(), an_opportunity(), a_verdict(), a_rejection(), an_intent(), a_tx(), a_fill()),
        *(a_failure(), an_exit(), a_position(), an_exposure(), an_opened_account(), a_status()),
    ]
    for event in events:
        text = rendering.line(event).plain
        assert event.NAME in text
        assert "\n" not in text


def test_the_doctor_finds_this_machine_able(tmp_path: Path) -> None:
    well = {finding.name: finding for finding in doctor.examine(StackOptions(home=tmp_path, ports=Ports(3_333)))}
    assert well["python"].well
    assert well["node"].well
    assert well["servers"].well
    assert set(well) >= {"disk", "ports"}


def test_with_two_chains_both_devnets_start_and_every_service_learns_of_both(tmp_path: Path) -> None:
    options = StackOptions(home=tmp_path, ports=Ports(5_000), chains=stack.devnet_chains("1,8453"), block_time_s=1)
    commands = {spec.name: " ".join(spec.command) for spec in stack.infrastructure(options)}
    assert "--chain-id 1 --port 23545" in commands["devnet"]
    assert "--block-time 1" in commands["devnet"]
    assert "--chain-id 8453 --port 23546" in commands["devnet-base"]
    assert "--block-time 2" in commands["devnet-base"]
    for spec in stack.services(options):
        assert spec.environment["DEXLANE_CHAINS"] == "1,8453"
        nodes = orjson.loads(spec.environment["DEXLANE_RPC_WS_URLS"])
        assert nodes == {"1": ["ws://127.0.0.1:23545"], "8453": ["ws://127.0.0.1:23546"]}
        assert spec.environment["DEXLANE_NETWORK"] == "devnet"
    assert {"devnet", "devnet-base"} <= set(options.ports.all(options.devnets))


def test_one_chain_is_the_default_and_an_unknown_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAINS", raising=False)
    assert stack.devnet_chains() == (1,)
    monkeypatch.setenv("CHAINS", "8453,1")
    assert stack.devnet_chains() == (1, 8453)
    with pytest.raises(CommandError, match="plays the chains 1 and 8453, not 10"):
        stack.devnet_chains("1,10")
    with pytest.raises(CommandError, match="a list such as 1,8453"):
        stack.devnet_chains("one")


def test_each_chain_of_the_devnet_gets_a_paper_and_a_live_book_in_a_file_of_its_own(tmp_path: Path) -> None:
    both = StackOptions(home=tmp_path, chains=(1, 8453))
    assert both.books_file != StackOptions(home=tmp_path).books_file
    write_default_books(both)
    books = {book.id: book for book in load_books(both.books_file, roles=roles()).books}
    assert {name: (book.chain_id, book.mode) for name, book in books.items()} == {
        "paper-main": (1, "paper"),
        "live-devnet": (1, "live"),
        "paper-base": (8453, "paper"),
        "live-base": (8453, "live"),
    }
    assert books["paper-base"].quote.address == "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
    assert books["paper-base"].limits == books["paper-main"].limits


def test_a_book_is_added_on_a_chain_that_is_played_and_on_no_other(tmp_path: Path) -> None:
    arguments = ("books", "add", "second-base", "--chain", "8453")
    refused = run(*arguments, home=tmp_path, CHAINS="1")
    assert refused.returncode == 2
    assert "chain 8453 is not played here" in refused.stderr
    added = run(*arguments, home=tmp_path, CHAINS="1,8453")
    assert added.returncode == 0, added.stderr
    books = {book.id: book for book in load_books(tmp_path / "books-1-8453.toml", roles=roles()).books}
    assert books["second-base"].chain_id == 8453
    assert books["second-base"].quote == books["paper-base"].quote


def test_approval_keys_are_made_once_and_for_their_owner_only(tmp_path: Path) -> None:
    session.write_approval_keys(tmp_path / "approvals")
    keys = {path.stem: path.read_text() for path in (tmp_path / "approvals").glob("*.key")}
    assert set(keys) == {"risk-scorer", "portfolio", "gateway"}
    assert len(set(keys.values())) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "approvals").glob("*.key"))
    session.write_approval_keys(tmp_path / "approvals")
    assert {path.stem: path.read_text() for path in (tmp_path / "approvals").glob("*.key")} == keys
    options = StackOptions(home=tmp_path)
    environment = {name: stack.service(name, options).environment for name in stack.SERVICE_PORTS}
    owners = {name for name, own in environment.items() if any(key.endswith("APPROVAL_KEY_FILE") for key in own)}
    assert owners == set(keys), "nobody but its service is told where a key lies"
