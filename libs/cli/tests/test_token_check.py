"""``dexlane token-check``: the contract that scripts rely on."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from dexlane.testing.servers import free_port
from dexlane_cli.main import main
from dexlane_devnet import ADDRESSES, DevnetConfig, start_devnet
from dexlane_devnet.zoo import FAMILIES, release

FIELDS = ["token", "verdict", "buy_tax_bps", "sell_tax_bps", "transfer_tax_bps", "can_sell", "flags", "evidence", "ms"]
TAXES = FIELDS[2:5]


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, within this process: a start of its own would take longer than what is tested."""

    def command(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["dexlane", "token-check", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), capsys.readouterr().out)

    return command


def answer(done: Done) -> dict[str, Any]:
    """Its JSON object."""
    found: dict[str, Any] = json.loads(done.stdout)
    assert list(found) == FIELDS
    return found


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--rpc", "http://127.0.0.1:1", "--token", "0x12"), "--token is 0x and 40 hex digits"),
        (("--rpc", "http://127.0.0.1:1", "--token", "1" * 42), "--token is 0x and 40 hex digits"),
        (("--rpc", "127.0.0.1:1", "--token", ADDRESSES.weth), "--rpc is the address of a node"),
        (("--rpc", "ftp://x", "--token", ADDRESSES.weth), "--rpc is the address of a node"),
        (("--rpc", "http://x", "--token", ADDRESSES.weth, "--router-address", "0x"), "--router-address is 0x"),
        (("--rpc", "http://x", "--token", ADDRESSES.weth, "--protocol", "curve"), "--protocol curve cannot be checked"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_two(
    arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dexlane", "token-check", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("option", [(), ("--rpc", "http://127.0.0.1:1"), ("--rpc", "http://x", "--block", "-1")])
def test_missing_or_impossible_options_are_wrong_usage(
    option: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["dexlane", "token-check", *option])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


@pytest.mark.parametrize("scheme", ["http", "ws"])
def test_a_node_that_does_not_answer_is_unknown(
    scheme: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}/secret"
    monkeypatch.setattr(sys, "argv", ["dexlane", "token-check", "--rpc", url, "--token", ADDRESSES.weth, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    printed = capsys.readouterr().out
    found = json.loads(printed)
    assert found["verdict"] == "unknown"
    assert [found[name] for name in TAXES] == [None, None, None]
    assert found["evidence"][0]["raw"]["reason"].startswith("the node does not answer")
    assert "secret" not in printed


@pytest.fixture(scope="module")
def zoo() -> Iterator[dict[str, str]]:
    """A devnet's address and some tokens on it."""
    port = free_port()
    loop = asyncio.new_event_loop()
    devnet = loop.run_until_complete(start_devnet(DevnetConfig(port=port, block_time_s=None)))
    chosen = {"OzPlain", "HoneypotPlain", "TaxSell"}
    found = {"http": devnet.http_url, "ws": devnet.ws_url}
    for family in FAMILIES:
        if family.name in chosen:
            found[family.name] = loop.run_until_complete(release(devnet, family, 5)).token
    yield found
    loop.run_until_complete(devnet.stop())
    loop.close()


@pytest.mark.integration
def test_a_pool_may_be_named_and_surroundings_may_count(zoo: dict[str, str], run: Run) -> None:
    strict = answer(run("--rpc", zoo["http"], "--token", zoo["OzPlain"], "--strict", "--json"))
    assert strict["verdict"] == "unsafe"
    assert {"liquidity_loose", "whale"} <= set(strict["flags"])
    (pool,) = [each["raw"]["pair"] for each in strict["evidence"] if each["what"] == "pool"]
    named = answer(run("--rpc", zoo["http"], "--token", zoo["OzPlain"], "--pool", pool, "--json"))
    assert named["verdict"] == "safe"
    elsewhere = run("--rpc", zoo["http"], "--token", zoo["OzPlain"], "--protocol", "uniswap_v3", "--json")
    assert (elsewhere.returncode, answer(elsewhere)["verdict"]) == (3, "unknown")
    table = run("--rpc", zoo["http"], "--token", zoo["OzPlain"])
    assert f"traded in pool {pool}" in table.stdout
    assert "liquidity burned or locked 0.00 %" in table.stdout


@pytest.mark.integration
@pytest.mark.parametrize("transport", ["http", "ws"])
def test_a_safe_token_is_zero_with_taxes_sizes_and_evidence(zoo: dict[str, str], run: Run, transport: str) -> None:
    done = run("--rpc", zoo[transport], "--token", zoo["OzPlain"], "--json")
    found = answer(done)
    assert (done.returncode, found["verdict"], found["flags"]) == (0, "safe", [])
    assert [found[name] for name in TAXES] == [0, 0, 0]
    assert len(found["can_sell"]) >= 3
    assert all(int(each["amount"]) > 0 and each["ok"] is True for each in found["can_sell"])
    assert all({"what", "block", "method", "raw"} == set(each) for each in found["evidence"])
    assert found["ms"] > 0


@pytest.mark.integration
def test_an_unsafe_token_is_one_and_says_why(zoo: dict[str, str], run: Run) -> None:
    done = run(
        "--rpc", zoo["http"], "--token", zoo["HoneypotPlain"].upper().replace("0X", "0x"),
        "--router-address", ADDRESSES.v2_router02, "--protocol", "uniswap_v2", "--json",
    )  # fmt: skip
    found = answer(done)
    assert (done.returncode, found["verdict"]) == (1, "unsafe")
    assert "cannot_sell" in found["flags"]
    assert found["sell_tax_bps"] is None
    assert {each["ok"] for each in found["can_sell"]} == {False}


@pytest.mark.integration
def test_people_read_the_same(zoo: dict[str, str], run: Run) -> None:
    done = run("--rpc", zoo["http"], "--token", zoo["TaxSell"])
    assert done.returncode == 1
    assert "is unsafe" in done.stdout
    assert "sell_tax: a sale loses up to" in done.stdout


@pytest.mark.integration
def test_an_address_without_a_contract_is_unsafe(zoo: dict[str, str], run: Run) -> None:
    done = run("--rpc", zoo["http"], "--token", "0x" + "ab" * 20, "--json")
    found = answer(done)
    assert (done.returncode, found["verdict"], found["flags"]) == (1, "unsafe", ["no_token"])
    assert found["can_sell"] == []


@pytest.mark.integration
def test_a_block_that_does_not_exist_is_unknown(zoo: dict[str, str], run: Run) -> None:
    done = run("--rpc", zoo["http"], "--token", zoo["OzPlain"], "--block", "99999999", "--json")
    assert (done.returncode, answer(done)["verdict"]) == (3, "unknown")
