"""What ``dexlane up`` gives its signers: the policy says what the books say, and nobody else can read the files."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from dexlane.chain.execution.keys import SigningRules
from dexlane.runtime.books_file import load_books
from dexlane.runtime.sealing import read_approvers
from dexlane.values.books import Lane, Mode
from dexlane_cli import stack
from dexlane_cli.default_books import roles, write_default_books
from dexlane_cli.errors import CommandError
from dexlane_cli.session import prepare
from dexlane_cli.signer_files import live_books, policy_of_chain, policy_text, with_signers, write_signer_files
from dexlane_cli.stack import APPROVER_KEYS, StackOptions
from dexlane_signer import Worth, load_keystore, read_password
from dexlane_signer.key_stores.settings import KeystoreFiles
from dexlane_signer.settings import read_settings


def prepared(home: Path, *, signer_process: bool, chains: tuple[int, ...] = (1,)) -> StackOptions:
    options = StackOptions(home=home, chains=chains, signer_process=signer_process)
    write_default_books(options)
    options = with_signers(options)
    prepare(options)
    if signer_process:
        write_signer_files(options, live_books(options))
    return options


def test_the_policy_that_the_signer_reads_is_that_of_the_live_books(tmp_path: Path) -> None:
    options = prepared(tmp_path, signer_process=True, chains=(1, 8453))
    settings = read_settings(options.signer / "policy.toml")
    books = [book for book in load_books(options.books_file, roles=roles()).books if book.mode is Mode.LIVE]
    rules = SigningRules(approvers=read_approvers(options.approvals / APPROVER_KEYS))
    assert [min(policy.chain_ids) for policy in settings.policies] == [1, 8453]
    for policy in settings.policies:
        wanted = policy_of_chain(min(policy.chain_ids), books, rules)
        day = {"max_deadline_s": 86_400, "max_permit_s": 86_400, "max_approval_s": 86_400}
        assert policy == replace(wanted, **day)
        assert len(policy.approvers) == 3
        for book in (book for book in books if book.chain_id in policy.chain_ids):
            assert policy.tokens[book.quote.address].max_trade == max(one.max_trade for one in book.limits.values())
            assert set(book.accounts.values()) == policy.book_accounts[book.id] <= policy.own_addresses


def test_every_cap_of_the_rules_stands_in_the_policy_that_the_signer_reads(tmp_path: Path) -> None:
    options = prepared(tmp_path, signer_process=True)
    books = live_books(options)
    rules = SigningRules(
        approvers=read_approvers(options.approvals / APPROVER_KEYS),
        capitals_per_hour=2,
        capitals_per_day=5,
        gas_wei_per_hour=10**30,
        gas_wei_per_day=3 * 10**30,
    )
    wanted = policy_of_chain(1, books, rules)
    token = next(iter(wanted.tokens))
    valued = replace(wanted.tokens[token], worth=Worth(3, 10**18))
    caps = replace(wanted.caps, value_per_trade=7, trades_per_day=9)
    wanted = replace(wanted, tokens={**wanted.tokens, token: valued}, caps=caps)
    file = options.signer / "policy.toml"
    file.write_text(policy_text(options, wanted.own_addresses, [wanted]))
    (read,) = read_settings(file).policies
    assert (read.tokens, read.caps) == (wanted.tokens, wanted.caps)
    assert (read.caps.gas_wei_per_hour, read.caps.gas_wei_per_day) == (10**30, 3 * 10**30)
    for address, limit in read.tokens.items():
        paid_with = [book for book in books if book.quote.address == address]
        capital = sum(limits.capital for book in paid_with for limits in book.limits.values())
        assert (limit.max_hour, limit.max_day) == (2 * capital, 5 * capital), "both lanes' capitals count together"


def test_the_keys_are_those_of_the_books_accounts_and_every_file_is_private(tmp_path: Path) -> None:
    options = prepared(tmp_path, signer_process=True)
    settings = read_settings(options.signer / "policy.toml")
    assert isinstance(settings.key_store, KeystoreFiles)
    password = read_password(settings.key_store.password_file)
    keys = {load_keystore(path, password).address for path in settings.key_store.paths}
    assert keys == settings.accounts == {roles()["live-fast"], roles()["live-smart"]}
    for path in options.signer.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(options.signer.stat().st_mode) == stat.S_IMODE(options.sockets.stat().st_mode) == 0o700


def test_with_a_process_executors_get_its_socket_and_no_key(tmp_path: Path) -> None:
    options = prepared(tmp_path, signer_process=True)
    (signer,) = stack.signer(options)
    for lane in Lane:
        spec = stack.service(f"{lane}-executor", options)
        prefix = f"DEXLANE_{lane.upper()}_EXECUTOR_"
        assert spec.environment[f"{prefix}SIGNER_SOCKET"] == str(tmp_path / "session" / "run" / "signer.sock")
        assert not {f"{prefix}PRIVATE_KEYS_FILE", f"{prefix}SIGNER_CONTROL_DIR"} & set(spec.environment)
        assert signer.tier < spec.tier
    gateway = stack.service("gateway", options).environment
    assert orjson.loads(gateway["DEXLANE_GATEWAY_SIGNER_CONTROL_SOCKETS"]) == [
        str(tmp_path / "session" / "run" / "control.sock")
    ]
    assert not list((tmp_path / "session" / "keys").iterdir())


def test_without_a_process_the_gateway_knows_the_control_socket_of_each_live_lane(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tmp_path = tmp_path_factory.mktemp("home")  # a socket's path is short
    options = prepared(tmp_path, signer_process=False)
    assert stack.signer(options) == []
    run = tmp_path / "session" / "run"
    assert options.signer_controls == (run / "fast-executor-1.sock", run / "smart-executor-1.sock")
    environment = stack.service("fast-executor", options).environment
    assert environment["DEXLANE_FAST_EXECUTOR_SIGNER_CONTROL_DIR"] == str(run)
    assert "DEXLANE_FAST_EXECUTOR_PRIVATE_KEYS_FILE" in environment


def test_where_the_path_is_too_long_for_a_socket_only_a_process_is_refused(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    assert prepared(home, signer_process=False).signer_controls == ()
    with pytest.raises(CommandError, match="choose a shorter folder"):
        prepared(home, signer_process=True)


def test_a_process_that_would_have_nothing_to_sign_is_refused(tmp_path: Path) -> None:
    remote = StackOptions(home=tmp_path, rpc_ws_urls={1: ("ws://127.0.0.1:9",)}, signer_process=True)
    with pytest.raises(CommandError, match="needs a live book"):
        with_signers(remote)
