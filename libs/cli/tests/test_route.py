"""``dexlane route``: the contract that scripts rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dexlane.domain.amm.quoting import quote_exact_in
from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick
from dexlane.values.pools import Pool
from dexlane_cli.main import main
from dexlane_cli.pool_lines import LineError
from dexlane_cli.routed_pools import address_of, parse_pool

COMMAND = str(Path(sys.executable).parent / "dexlane")

V2 = {"pool": "AB-v2", "protocol": "uniswap_v2", "fee_bps": 30, "reserve0": str(10**24), "reserve1": str(2 * 10**24)}
V3 = {
    "pool": "BA-v3",
    "protocol": "uniswap_v3",
    "fee": 500,
    "tick_spacing": 10,
    "sqrt_price_x96": str(sqrt_ratio_at_tick(-6_932)),
    "tick": -6_932,
    "liquidity": str(10**24),
    "ticks": [[-8_000, str(10**24)], [-6_000, str(-(10**24))]],
}
MARKET: list[dict[str, Any]] = [
    V2 | {"token0": "A", "token1": "B"},
    V3 | {"token0": "B", "token1": "A"},
    V2 | {"pool": "AC", "token0": "A", "token1": "C"},
    V2 | {"pool": "CB", "token0": "C", "token1": "B", "reserve1": str(10**24)},
    V2 | {"pool": "empty", "token0": "A", "token1": "B", "reserve0": "0", "reserve1": "0"},
]


@dataclass(frozen=True)
class Done:
    """How a run ended."""

    returncode: int
    stdout: str
    stderr: str


Route = Callable[..., Done]


def _arguments(folder: Path, options: tuple[str, ...], lines: list[Any], amount: int) -> list[str]:
    file = folder / "pools.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
    arguments = ["--pools", str(file), "--token-in", "A", "--token-out", "B", "--amount", str(amount)]
    return ["route", *arguments, *options]


@pytest.fixture
def route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Route:
    """The command, run in this process: a new one takes seconds to import everything."""

    def run(*options: str, lines: list[Any] | None = None, amount: int = 10**22) -> Done:
        arguments = _arguments(tmp_path, options, MARKET if lines is None else lines, amount)
        monkeypatch.setattr(sys, "argv", ["dexlane", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run


def replayed(answer: dict[str, Any]) -> int:
    """All that comes out when every step of the answer is quoted anew on the pools of the file, in order."""
    pools: dict[str, Pool] = {line["pool"]: parse_pool(line) for line in MARKET}
    total = 0
    for path in answer["paths"]:
        token, amount = address_of("A"), int(path["amount_in"])
        for name in path["pools"]:
            quote = quote_exact_in(pools[name], token, amount)
            pools[name] = pools[name].with_state(quote.next_state)
            token, amount = pools[name].key.other(token).address, quote.amount_out
        assert token == address_of("B")
        assert amount == int(path["amount_out"])
        total += amount
    return total


def test_the_answer_has_the_agreed_shape_and_replays_step_by_step(tmp_path: Path) -> None:
    arguments = _arguments(tmp_path, ("--json", "--gas-price", "1000000000", "--native", "A"), MARKET, 10**22)
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert list(answer) == ["amount_in", "amount_out", "gas", "gas_cost_out", "net_amount_out", "paths"]
    assert [list(path) for path in answer["paths"]] == [["amount_in", "amount_out", "pools"]] * len(answer["paths"])
    assert len(answer["paths"]) == 3
    assert answer["amount_in"] == str(10**22)
    assert sum(int(path["amount_in"]) for path in answer["paths"]) == 10**22
    assert sum(int(path["amount_out"]) for path in answer["paths"]) == int(answer["amount_out"]) == replayed(answer)
    assert int(answer["net_amount_out"]) == int(answer["amount_out"]) - int(answer["gas_cost_out"])
    assert isinstance(answer["gas"], int)
    assert int(answer["gas_cost_out"]) == answer["gas"] * 10**9 * 2, "one A is worth two B at the deepest pool"


def test_hops_and_paths_are_bounded_by_the_options(route: Route) -> None:
    answer = json.loads(route("--json", "--max-hops", "1", "--max-splits", "1").stdout)
    assert [len(path["pools"]) for path in answer["paths"]] == [1]
    assert (answer["gas_cost_out"], answer["net_amount_out"]) == ("0", answer["amount_out"])


def test_people_get_a_table(route: Route) -> None:
    done = route()
    assert done.returncode == 0
    assert "price impact" in done.stdout
    assert "AC > CB" in done.stdout


def test_bad_lines_are_named_and_the_others_are_used(route: Route) -> None:
    bad = ["{", "[]", V2 | {"pool": "no tokens"}, V2 | {"protocol": "uniswap_v9", "token0": "A", "token1": "B"}]
    done = route("--json", lines=[*bad, "", *MARKET])
    faults = [json.loads(line) for line in done.stderr.splitlines()[:-1]]
    assert [(fault["line"], fault["error"]) for fault in faults] == [
        (1, "bad_line"),
        (2, "bad_line"),
        (3, "bad_line"),
        (4, "unsupported_protocol"),
    ]
    assert done.returncode == 2
    assert replayed(json.loads(done.stdout)) > 0


@pytest.mark.parametrize(
    ("options", "amount", "code", "sentence"),
    [
        (["--token-out", "Z"], 1, 1, "no pool of the file trades Z"),
        (["--max-hops", "1"], 1, 0, ""),
        ([], 10**40, 1, "no route takes"),
        (["--token-out", "A"], 1, 2, "the same"),
        ([], 0, 2, "--amount is an integer of at least 1"),
        (["--gas-price", "1"], 1, 2, "needs --native"),
        (["--gas-price", "1", "--native", "Z"], 1, 1, "the cost of gas is not known: no chain of pools prices Z in B"),
        (["--gas-price", "1.5", "--native", "A"], 1, 2, "--gas-price is an integer"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence_and_an_exit_code(
    route: Route, options: list[str], amount: int, code: int, sentence: str
) -> None:
    done = route("--json", *options, amount=amount)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("text", "bad_line"),
        ({}, "bad_line"),
        (MARKET[0] | {"protocol": 7}, "bad_line"),
        (MARKET[0] | {"protocol": "curve"}, "unsupported_protocol"),
        (MARKET[0] | {"pool": ""}, "bad_line"),
        (MARKET[0] | {"fee_bps": 10_000}, "bad_line"),
        (MARKET[0] | {"token1": "A"}, "bad_line"),
        (MARKET[0] | {"token0": 5}, "bad_line"),
        (V2, "bad_line"),
        (MARKET[0] | {"reserve0": "-1"}, "bad_line"),
        (MARKET[1] | {"tick": -6_900}, "bad_ticks"),
        (MARKET[1] | {"ticks": [[-8_000, str(10**24)]]}, "bad_ticks"),
    ],
)
def test_a_line_that_defines_no_pool_has_a_named_error(line: object, name: str) -> None:
    with pytest.raises(LineError) as raised:
        parse_pool(line)
    assert raised.value.name == name


def test_names_are_addresses_or_stand_for_one_each() -> None:
    address = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"
    assert address_of(address) == address.lower()
    assert address_of("A") == address_of("A") != address_of("B")
    pool = parse_pool(V3 | {"token0": address, "token1": "B"})
    assert pool.key.token0.address == address.lower()
    assert (pool.key.fee_pips, pool.key.tick_spacing) == (500, 10)
