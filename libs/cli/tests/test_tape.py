"""Tapes from the command line: any order of files, doubled and broken rows, and counts that scripts can rely on."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
import os
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dexlane.chain.logs import V2_SYNC_TOPIC, V3_BURN_TOPIC, V3_MINT_TOPIC, V3_SWAP_TOPIC
from dexlane.chain.tape_logs import V2_SWAP_TOPIC
from dexlane.domain.amm.constant_product import swap_exact_in
from dexlane.domain.tapes.file_format import decode
from dexlane.values.pools import ConstantProductState
from dexlane_cli import main, tape_sources
from dexlane_cli.errors import CommandError
from dexlane_devnet import (
    DEFAULT_TAPE,
    V2_POOL,
    V3_POOL_005,
    DevnetConfig,
    FlowPlayer,
    FlowSettings,
    free_port,
    start_devnet,
)
from dexlane_devnet import load_tape as load_day

Rows = list[dict[str, Any]]
DATA = Path(os.environ.get("DEXLANE_DATA", "")) / "v3_events"
DAY = DEFAULT_TAPE
SWAP_COLUMNS = ("block_number", "timestamp", "log_index", "amount0", "amount1", "sqrt_price_x96", "liquidity", "tick")
POSITION_COLUMNS = (*SWAP_COLUMNS[:5], "tick_lower", "tick_upper", "liquidity")


def dexlane(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main.app, [str(one) for one in arguments])


def answer(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    result = dexlane(*arguments)
    assert result.exit_code == code, result.output + repr(result.exception)
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def faults(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stderr.splitlines()]


@pytest.fixture(scope="module")
def day() -> Rows:
    with gzip.open(DAY, "rt") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def day_tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tape") / "day.tape"
    answer("tape", "import", "--format", "pool-events", DAY, "--out", out, "--json")
    return out


def write(path: Path, rows: Sequence[dict[str, Any]], columns: Sequence[str] | None = None) -> Path:
    with path.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, columns or list(rows[0]), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def word(value: str | int) -> str:
    return (int(value) % (1 << 256)).to_bytes(32, "big").hex()


def as_logs(rows: Sequence[dict[str, Any]], prefix: str = "") -> Iterator[dict[str, Any]]:
    """The day's events as a node would have given them."""
    anyone = "0x" + word(0xABC)
    for row in rows:
        ticks = ["0x" + word(row[name] or 0) for name in ("tick_lower", "tick_upper")]
        amounts = word(row["amount0"] or 0) + word(row["amount1"] or 0)
        if row["kind"] == "swap":
            topics = [V3_SWAP_TOPIC, anyone, anyone]
            data = amounts + word(row["sqrt_price_x96"]) + word(row["liquidity"]) + word(row["tick"])
        elif row["kind"] == "mint":
            topics, data = [V3_MINT_TOPIC, anyone, *ticks], word(1) + word(row["liquidity"]) + amounts
        elif row["kind"] == "burn":
            topics, data = [V3_BURN_TOPIC, anyone, *ticks], word(row["liquidity"]) + amounts
        else:
            topics, data = ["0x" + word(99)], ""
        yield {
            "block_number": row["block_number"],
            "block_timestamp": row["timestamp"],
            prefix + "log_index": row["log_index"],
            prefix + "topics": str(topics) if prefix else json.dumps(topics),
            prefix + "data": "0x" + data,
        }


def test_the_shipped_day_verifies_without_an_inexact_swap(day_tape: Path) -> None:
    found = answer("tape", "verify", day_tape, "--json")
    assert found == {
        "swaps": 6046,
        "exact": 6035,
        "inexact": 0,
        "unverifiable": 11,
        "blocks": 3990,
        "first_inexact": [],
    }


@pytest.mark.parametrize("prefix", ["", "pool_"])
def test_raw_logs_make_the_same_tape_as_decoded_events(day: Rows, day_tape: Path, tmp_path: Path, prefix: str) -> None:
    logs = write(tmp_path / "logs.csv", list(as_logs(day, prefix)))
    made = answer("tape", "import", "--format", "raw-logs", logs, "--out", tmp_path / "raw.tape", "--json")
    assert made["digest"] == answer("tape", "info", day_tape, "--json")["digest"]
    assert (made["swaps"], made["liquidity_changes"], made["ignored"], made["faults"]) == (6046, 123, 65, 0)


def test_files_in_any_order_with_doubled_rows_and_unclear_names_make_the_same_tape(
    day: Rows, day_tape: Path, tmp_path: Path
) -> None:
    shuffled = random.Random(1).sample(day, len(day))  # noqa: S311  a repeatable order, no secret
    kinds = {kind: [row for row in shuffled if row["kind"] == kind] for kind in ("swap", "mint", "burn")}
    files = [
        write(tmp_path / "one.csv", kinds["burn"], POSITION_COLUMNS),
        write(tmp_path / "two.csv", kinds["swap"][:4000], SWAP_COLUMNS),
        write(tmp_path / "three.csv", kinds["mint"], POSITION_COLUMNS),
        write(tmp_path / "four.csv", kinds["swap"][3900:], SWAP_COLUMNS),
    ]
    made = answer("tape", "import", "--format", "pool-events", *files, "--out", tmp_path / "x.tape", "--json")
    assert made["doubled"] == 100
    assert made["digest"] == answer("tape", "info", day_tape, "--json")["digest"]


def test_broken_rows_are_named_and_the_rest_is_imported(day: Rows, tmp_path: Path) -> None:
    rows = [dict(row) for row in day if row["kind"] in ("swap", "mint")][:500]
    mint = next(index for index, row in enumerate(rows) if row["kind"] == "mint")
    breaks: dict[int, dict[str, str]] = {
        3: {"amount0": "12.5"},
        10: {"sqrt_price_x96": "-4"},
        11: {"liquidity": ""},
        12: {"kind": "swop"},
        13: {"tick": "900000"},
        14: {"timestamp": "yesterday"},
        15: {"block_number": "-1"},
        mint: {"liquidity": "-5"},
    }
    for index, change in breaks.items():
        rows[index] |= change
    doubtful = {**rows[20], "amount1": "1"}
    file, out = write(tmp_path / "rows.csv", [*rows, doubtful]), tmp_path / "x.tape"
    result = dexlane("tape", "import", "--format", "pool-events", file, "--out", out, "--json")
    assert result.exit_code == 2
    named = {fault["row"]: fault["error"] for fault in faults(result)}
    assert named == {
        4: "bad_number",
        11: "bad_event",
        12: "bad_number",
        13: "unknown_kind",
        14: "bad_event",
        15: "bad_time",
        16: "bad_number",
        mint + 1: "bad_event",
        501: "conflicting_row",
    }
    assert json.loads(result.stdout)["swaps"] + json.loads(result.stdout)["liquidity_changes"] == 492


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"topics": "0xabc"}, "bad_topics"),
        ({"topics": '["0x12"]'}, "bad_topics"),
        ({"data": "0xzz"}, "bad_data"),
        ({"data": "0x1234"}, "bad_event"),
    ],
)
def test_broken_logs_are_named(day: Rows, tmp_path: Path, change: dict[str, str], error: str) -> None:
    logs = list(as_logs(day[:200]))
    logs[7] |= change
    result = dexlane("tape", "import", "--format", "raw-logs", write(tmp_path / "l.csv", logs), "--out", tmp_path / "x")
    assert result.exit_code == 2
    assert [(fault["row"], fault["error"]) for fault in faults(result)] == [(8, error)]


def test_known_ticks_that_no_pool_has_are_named_and_the_others_are_used(day: Rows, tmp_path: Path) -> None:
    ticks = tmp_path / "ticks.json"
    nets = {"200320": "5", "200321": "1", "x": "1", "900000": "1", "200330": "1.5", "200340": str(1 << 130)}
    ticks.write_text(json.dumps({"fee": 500, "tick_spacing": 10, "liquidity_net": nets}))
    out = tmp_path / "x.tape"
    rows = write(tmp_path / "rows.csv", day)
    result = dexlane("tape", "import", "--format", "pool-events", rows, ticks, "--out", out)
    assert result.exit_code == 2
    assert sorted((fault["error"], fault["row"]) for fault in faults(result)) == [("bad_ticks", n) for n in range(2, 7)]
    assert answer("tape", "info", out, "--json")["pools"][0]["start_ticks"] == 1


def test_a_changed_amount_is_found_by_verify_and_named(day: Rows, tmp_path: Path) -> None:
    rows = [dict(row) for row in day]
    at = [index for index, row in enumerate(rows) if row["kind"] == "swap"][3000]
    rows[at]["amount0"] = str(int(rows[at]["amount0"]) * 2)
    tape = tmp_path / "x.tape"
    answer("tape", "import", "--format", "pool-events", write(tmp_path / "r.csv", rows), "--out", tape, "--json")
    found = answer("tape", "verify", tape, "--json", code=1)
    assert (found["exact"], found["inexact"], found["unverifiable"]) == (6034, 1, 11)
    [named] = found["first_inexact"]
    assert [str(named["block_number"]), str(named["log_index"])] == [rows[at]["block_number"], rows[at]["log_index"]]
    assert named["recorded"]["amount0"] == rows[at]["amount0"]


def test_rows_of_two_pools_are_told_apart_by_their_address(day: Rows, tmp_path: Path) -> None:
    pools = ["0x" + "11" * 20, "0x" + "22" * 20]
    rows = [{**row, "address": pools[0]} for row in day]
    rows += [{**row, "log_index": str(int(row["log_index"]) + 1000), "address": pools[1]} for row in day]
    tape = tmp_path / "x.tape"
    answer("tape", "import", "--format", "pool-events", write(tmp_path / "r.csv", rows), "--out", tape, "--json")
    assert [pool["address"] for pool in answer("tape", "info", tape, "--json")["pools"]] == pools
    found = answer("tape", "verify", tape, "--json")
    assert (found["swaps"], found["exact"], found["inexact"]) == (2 * 6046, 2 * 6035, 0)


def test_columns_that_nobody_knows_are_refused_with_those_that_are_known(tmp_path: Path) -> None:
    odd = write(tmp_path / "odd.csv", [{"block": 1, "hash": 2}])
    for of, column in (("raw-logs", "topics"), ("pool-events", "sqrt_price_x96")):
        result = dexlane("tape", "import", "--format", of, odd, "--out", tmp_path / "x")
        assert isinstance(result.exception, CommandError)
        assert "block, hash" in str(result.exception)
        assert column in str(result.exception)


@pytest.mark.parametrize("cut", [0, 5, 13, 500, -1])
def test_a_broken_tape_is_a_sentence_and_exit_code_2(day_tape: Path, tmp_path: Path, cut: int) -> None:
    broken = tmp_path / "broken.tape"
    broken.write_bytes(day_tape.read_bytes()[:cut])
    for command in ("verify", "info"):
        result = dexlane("tape", command, broken)
        assert isinstance(result.exception, CommandError)
        assert result.exception.code == 2
        assert str(broken) in str(result.exception)


def test_without_pyarrow_parquet_files_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CommandError, match=r"dexlane-cli\[tapes\]"):
        tape_sources.open_table(file)


def test_a_broken_gzip_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "a.csv.gz"
    file.write_bytes(DAY.read_bytes()[:50_000])
    result = dexlane("tape", "import", "--format", "pool-events", file, "--out", tmp_path / "x")
    assert isinstance(result.exception, CommandError)
    assert not (tmp_path / "x").exists()


@pytest.mark.recorded
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("of", "files", "exact", "swaps"),
    [
        ("raw-logs", "ethereum_usdc_weth_500_*", 6_035, 6_046),
        ("raw-logs", "polygon_usdc_weth_500_*", 3_967, 3_972),
        ("pool-events", "arbitrum_weth_usdc_500_2025-06-18_*", 114_436, 114_437),
        ("pool-events", "arbitrum_weth_usdc_500_2025-06-27_*", 312_361, 312_363),
    ],
)
def test_recorded_pools_are_reproduced_and_their_tape_is_smaller_than_their_files(
    tmp_path: Path, of: str, files: str, exact: int, swaps: int
) -> None:
    sources = sorted(DATA.glob(files))
    if not sources:
        pytest.skip("DEXLANE_DATA names no folder with the recordings")
    tape = tmp_path / "x.tape"
    made = answer("tape", "import", "--format", of, *sources, "--out", tape, "--json")
    assert made["bytes"] < sum(source.stat().st_size for source in sources) / 2
    found = answer("tape", "verify", tape, "--json")
    assert (found["swaps"], found["exact"], found["inexact"]) == (swaps, exact, 0)
    assert found["unverifiable"] == swaps - exact


@pytest.mark.recorded
def test_recorded_positions_since_creation_add_up_to_the_recorded_tick_map(tmp_path: Path) -> None:
    snapshot = DATA / "ethereum_usdc_weth_3000_0x8ad5_tick_snapshot_1.json"
    if not snapshot.exists():
        pytest.skip("DEXLANE_DATA names no folder with the recordings")
    tape = tmp_path / "x.tape"
    made = answer("tape", "import", "--format", "pool-events", *DATA.glob("*0x8ad5_*"), "--out", tape, "--json")
    assert (made["liquidity_changes"], made["faults"]) == (35_963, 0)
    assert answer("tape", "verify", tape, "--json")["swaps"] == 0
    content = decode(tape.read_bytes())
    assert (content.pools[0].fee_pips, content.pools[0].tick_spacing) == (3_000, 60)
    expected = {
        int(one["key"]): (int(one["value"]["liquidityGross"]), int(one["value"]["liquidityNet"]))
        for one in json.loads(snapshot.read_bytes())["ticks"]
    }
    found: dict[int, tuple[int, int]] = {}
    reached = False
    for record in content.records:
        for tick, sign in ((record[4], 1), (record[5], -1)):
            gross, net = found.pop(tick, (0, 0))
            if gross + record[6]:
                found[tick] = (gross + record[6], net + sign * record[6])
        reached = reached or found == expected
    assert reached


def test_logs_of_a_pair_make_a_tape_too(tmp_path: Path) -> None:
    before, rows = (20_000_000_000_000, 10_000 * 10**18), []
    anyone = "0x" + word(0xABC)
    for number in range(20):
        state = ConstantProductState(reserve0=before[0], reserve1=before[1])
        done = swap_exact_in(state, 3_000, zero_for_one=number % 2 == 0, amount_in=before[number % 2] // 1_000)
        before = (done.state.reserve0, done.state.reserve1)
        moved = (done.amount_in, 0, 0, done.amount_out) if number % 2 == 0 else (0, done.amount_in, done.amount_out, 0)
        for index, (topics, values) in enumerate((([V2_SYNC_TOPIC], before), ([V2_SWAP_TOPIC, anyone, anyone], moved))):
            data = "0x" + "".join(map(word, values))
            rows.append({"block_number": 5 + number, "log_index": index, "topics": json.dumps(topics), "data": data})
    tape = tmp_path / "pair.tape"
    answer("tape", "import", "--format", "raw-logs", write(tmp_path / "l.csv", rows), "--out", tape, "--json")
    assert answer("tape", "info", tape, "--json")["pools"][0]["fee_pips"] == 3_000
    found = answer("tape", "verify", tape, "--json")
    assert (found["swaps"], found["exact"], found["inexact"], found["unverifiable"]) == (20, 19, 0, 1)


@pytest.mark.integration
async def test_a_tape_recorded_from_the_devnet_under_flow_verifies_wholly(tmp_path: Path) -> None:
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        first = int(await devnet.rpc("eth_blockNumber"), 16) + 1
        settings = FlowSettings(synthetic=False, max_swaps=90)
        await FlowPlayer(devnet.ws_url, load_day(), speed=1_000_000.0, settings=settings).run(asyncio.Event())
        for amount in (10**9, 3 * 10**9):
            await devnet.swap_exact_in(V2_POOL, V2_POOL.token0, amount)
        tape, pools = tmp_path / "devnet.tape", f"{V3_POOL_005.address},{V2_POOL.address}"
        arguments = ("tape", "record", "--rpc", devnet.ws_url, "--pools", pools, "--out", tape)
        made = await asyncio.to_thread(answer, *arguments, "--from-block", str(first), "--json")
    found = answer("tape", "verify", tape, "--json")
    assert found["swaps"] == found["exact"] >= 92
    assert all(pool["start_complete"] for pool in made["pools"])
    assert (made["pair_swaps"], made["reserve_syncs"]) == (2, 2)
    assert made["chain_id"] == 1
