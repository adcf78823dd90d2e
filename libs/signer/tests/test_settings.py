"""The policy file: everything is said, nothing is guessed, and whoever may not write it has not."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dexlane_signer import TokenLimit
from dexlane_signer.key_stores.settings import KeystoreFiles
from dexlane_signer.main import main
from dexlane_signer.settings import read_settings
from dexlane_signer.tables import PolicyFileError

from .conftest import KEY, ROUTER, USDC, WETH

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, policy_text: str) -> Write:
    def write_(*, old: str = "", new: str = "", add: str = "") -> Path:
        assert old in policy_text
        path = tmp_path / "policy.toml"
        path.write_text(policy_text.replace(old, new, 1) + add)
        path.chmod(0o600)
        return path

    return write_


def test_a_whole_file_is_read(write: Write, tmp_path: Path) -> None:
    settings = read_settings(write())
    (policy,) = settings.policies
    assert policy.own_addresses == {KEY.address}
    assert policy.routers == {ROUTER: {"0x3593564c"}}
    assert policy.tokens == {USDC: TokenLimit(max_allowance=10**30, max_trade=1_000)}
    assert policy.unlisted_token_limit == TokenLimit(max_allowance=5, max_trade=6)
    assert policy.wrapped_native == WETH
    assert settings.guard_path == tmp_path / "data" / "guard.db"
    assert settings.max_silence_s == 5, "signs of life are asked for unless that is switched off"


def test_a_chain_without_dynamic_fees_is_named_so(write: Write) -> None:
    assert read_settings(write()).policies[0].legacy_chain_ids == frozenset()
    named = read_settings(write(old="[[chains]]", new="[[chains]]\nlegacy = true")).policies[0]
    assert named.legacy_chain_ids == named.chain_ids


def test_every_required_field_is_missed(write: Write, policy_text: str) -> None:
    optional = {"signs_of_life", "wrapped_native", "max_value_wei", "require_approvals"}
    names = {line.split(" = ")[0] for line in policy_text.splitlines() if " = " in line}
    for name in sorted(names - optional):
        line = next(line for line in policy_text.splitlines() if line.startswith(f"{name} = "))
        with pytest.raises(PolicyFileError, match=rf"{name} is missing"):
            read_settings(write(old=line))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[process]", "surprise = 1\n[process]", "unknown field surprise"),
        ("[process]", "[process]\nsurprise = 1", "process has an unknown field surprise"),
        ("[[chains]]", "[[chains]]\nmax_fee = 1", r"chains\[0\] has an unknown field max_fee"),
        ("[[chains.tokens]]", "[[chains.tokens]]\nlimit = 1", r"tokens\[0\] has an unknown field limit"),
        ("max_trade = 1000", "max_trade = -1", "max_trade must be an integer"),
        ("max_trade = 1000", "max_trade = 1.5", "max_trade must be an integer"),
        ("max_trade = 1000", "max_trade = true", "max_trade must be an integer"),
        ("max_trade = 1000", 'max_trade = "1e3"', "max_trade must be an integer"),
        ("chain_id = 1", "chain_id = 0", "chain_id must be an integer from 1"),
        (f'"{USDC}"', '"0x12"', "must be an address"),
        (f'["{KEY.address}"]', "[]", "chain 1 names no account"),
        (f'["{KEY.address}"]', "[7]", "must be addresses"),
        (f'["{KEY.address}"]', "7", "must be a list"),
        ('["0x3593564c"]', '["0xdeadbeef"]', "cannot decode"),
        ("data_dir = ", 'data_dir = "here" #', "must be an absolute path"),
        ("signs_of_life = true", 'signs_of_life = "no"', "must be true or false"),
        ("[process]", "[process", "is no TOML"),
    ],
)
def test_a_wrong_file_refuses_the_start_with_one_sentence(
    write: Write, capsys: pytest.CaptureFixture[str], old: str, new: str, sentence: str
) -> None:
    assert main(["check-policy", str(write(old=old, new=new))]) == 2
    said = capsys.readouterr().err
    assert re.search(sentence, said)
    assert said.startswith("dexlane-signer: ")
    assert said.count("\n") == 1


def test_a_chain_is_described_once(write: Write, policy_text: str) -> None:
    again = policy_text[policy_text.index("[[chains]]") :]
    with pytest.raises(PolicyFileError, match="chain 1 is there twice"):
        read_settings(write(add=again))


def test_a_file_that_others_may_write_is_refused(write: Write) -> None:
    path = write()
    path.chmod(0o660)
    with pytest.raises(PolicyFileError, match="chmod go-w"):
        read_settings(path)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-policy", str(tmp_path / "none.toml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_check_policy_says_what_is_allowed_and_starts_nothing(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-policy", str(write())]) == 0
    said = capsys.readouterr().out
    assert "chain 1: 1 accounts, 1 routers, 1 listed tokens" in said
    assert "signs no entry after 5 s of silence" in said
    assert "without [bus] one of three ways to halt is missing" in said
    assert not (tmp_path / "data").exists()


def test_signs_of_life_are_switched_off_in_words_only(write: Write) -> None:
    assert read_settings(write(old="signs_of_life = true", new="signs_of_life = false")).max_silence_s is None
    assert read_settings(write(old="signs_of_life = true", new="max_silence_s = 9")).max_silence_s == 9


def test_the_example_is_a_policy(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "deploy" / "signer" / "policy.example.toml").read_text()
    path = tmp_path / "policy.toml"
    path.write_text(text)
    path.chmod(0o600)
    settings = read_settings(path)
    assert isinstance(settings.key_store, KeystoreFiles)
    assert len(settings.accounts) == len(settings.key_store.paths) == 2
    assert settings.bus is not None
    assert settings.max_silence_s == 5


def test_a_policy_that_another_user_may_write_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner may write it whatever its mode says."""
    path = write()
    if os.getuid() == 0:
        os.chown(path, 4_242, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 4_242)
    with pytest.raises(PolicyFileError, match="belongs to user"):
        read_settings(path)
