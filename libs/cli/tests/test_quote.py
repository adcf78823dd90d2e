"""``dexlane quote``: exact answers in order, a name for every line that cannot be used, and the run goes on."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dexlane.domain.amm.tick_math import MAX_SQRT_RATIO, MIN_SQRT_RATIO, sqrt_ratio_at_tick
from dexlane_cli.quote import run

COMMAND = str(Path(sys.executable).parent / "dexlane")
PAIR = {"pool": "P2", "protocol": "uniswap_v2", "fee_bps": 30, "reserve0": str(20 * 10**12), "reserve1": str(10**22)}
L = 10**18
TICKED = {
    "pool": "P3",
    "protocol": "uniswap_v3",
    "fee": 3000,
    "tick_spacing": 60,
    "sqrt_price_x96": str(1 << 96),
    "tick": 0,
    "liquidity": str(3 * L),
    "ticks": [[-600, str(2 * L)], [-60, str(L)], [60, str(-L)], [600, str(-2 * L)]],
}


def question(pool: str = "P3", **fields: Any) -> dict[str, Any]:
    return {"id": "q", "pool": pool, "zero_for_one": True, "exact": "in", "amount": "1000000"} | fields


def answers(*lines: dict[str, Any] | bytes) -> tuple[list[dict[str, Any]], int, str]:
    raw = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    sink, complaints = io.BytesIO(), io.StringIO()
    faults = run(io.BufferedReader(io.BytesIO(raw)), sink, complaints)  # type: ignore[arg-type]
    return [json.loads(line) for line in sink.getvalue().splitlines()], faults, complaints.getvalue()


def only(*lines: dict[str, Any] | bytes) -> dict[str, Any]:
    (answer,), _, _ = answers(*lines)
    return answer


def test_definitions_print_nothing_and_questions_are_answered_in_order() -> None:
    got, faults, complaints = answers(PAIR, question("P2", id="1"), TICKED, question(id=2), question("P2", id="3"))
    assert [answer["id"] for answer in got] == ["1", 2, "3"]
    assert (faults, complaints) == (0, "")


def test_a_pair_answers_the_routers_amounts_and_the_reserves_after_it() -> None:
    assert only(PAIR, question("P2", amount="1000000000")) == {
        "id": "q",
        "amount_in": "1000000000",
        "amount_out": "498475151013721965",
        "reserve0_after": "20001000000000",
        "reserve1_after": "9999501524848986278035",
        "partial": False,
    }
    bought = only(PAIR, question("P2", exact="out", amount="498475151013721965"))
    assert (bought["amount_in"], bought["amount_out"]) == ("1000000000", "498475151013721965")
    other_way = only(PAIR, question("P2", zero_for_one=False, amount=str(10**18)))
    assert other_way["reserve1_after"] == str(10**22 + 10**18)
    assert int(other_way["reserve0_after"]) + int(other_way["amount_out"]) == 20 * 10**12


def test_a_pool_with_ticks_answers_amounts_and_the_state_after_it() -> None:
    got = only(TICKED, question(amount=str(10**15)))
    assert got["amount_in"] == str(10**15)
    assert got["tick_after"] == -7
    assert got["liquidity_after"] == str(3 * L)
    assert got["partial"] is False
    assert set(got) == {
        "id",
        "amount_in",
        "amount_out",
        "sqrt_price_x96_after",
        "tick_after",
        "liquidity_after",
        "partial",
    }


@pytest.mark.parametrize("exact", ["in", "out"])
@pytest.mark.parametrize("down", [True, False])
def test_an_order_larger_than_the_pool_answers_what_the_pool_does_at_the_extreme_price(exact: str, down: bool) -> None:
    got = only(TICKED, question(zero_for_one=down, exact=exact, amount=str((1 << 255) - 1)))
    limit, tick = (MIN_SQRT_RATIO + 1, -887_272) if down else (MAX_SQRT_RATIO - 1, 887_271)
    assert got["partial"] is True
    assert (got["sqrt_price_x96_after"], got["tick_after"], got["liquidity_after"]) == (str(limit), tick, "0")
    assert 0 < int(got["amount_out"]) < int(got["amount_in"]) < 1 << 128


def test_a_pool_out_of_liquidity_on_one_side_moves_its_price_and_nothing_else() -> None:
    beside = TICKED | {"tick": -601, "sqrt_price_x96": str(sqrt_ratio_at_tick(-601)), "liquidity": "0"}
    got = only(beside, question())
    assert (got["amount_in"], got["amount_out"], got["partial"]) == ("0", "0", True)
    back = only(beside, question(zero_for_one=False))
    assert (back["amount_in"], back["partial"]) == ("1000000", False)
    assert back["liquidity_after"] == str(2 * L)


def test_a_price_exactly_on_a_tick_may_lie_on_either_side_of_it() -> None:
    price = str(sqrt_ratio_at_tick(-60))
    above = TICKED | {"sqrt_price_x96": price, "tick": -60}
    below = TICKED | {"sqrt_price_x96": price, "tick": -61, "liquidity": str(2 * L)}
    one, other = only(above, question()), only(below, question())
    assert {**one, "id": "q"} == other
    assert one["liquidity_after"] == str(2 * L)
    assert only(below, question(zero_for_one=False))["liquidity_after"] == str(3 * L)


def test_the_smallest_order_pays_its_fee_and_gets_nothing_from_a_pool_with_ticks() -> None:
    got = only(TICKED, question(amount="1"))
    assert (got["amount_in"], got["amount_out"]) == ("1", "0")
    # The price lies on the end of a bitmap word: the contract steps below it before it finds that nothing is left.
    assert (got["sqrt_price_x96_after"], got["tick_after"], got["partial"]) == (str(1 << 96), -1, False)


@pytest.mark.parametrize(
    ("pool", "asked"),
    [
        (PAIR, {"amount": "1", "zero_for_one": False}),
        (PAIR, {"amount": str(1 << 112)}),
        (PAIR, {"amount": str((1 << 256) - 1)}),
        (PAIR, {"amount": str(10**22), "exact": "out"}),
        (PAIR, {"amount": str(10**22 - 1), "exact": "out"}),
        (PAIR | {"reserve0": "0"}, {}),
        (PAIR | {"reserve0": "0", "reserve1": "0"}, {"exact": "out"}),
        (TICKED | {"sqrt_price_x96": "0", "tick": 0, "liquidity": "0", "ticks": []}, {}),
        (
            TICKED | {"sqrt_price_x96": str(MIN_SQRT_RATIO + 1), "tick": -887_272, "liquidity": "0", "ticks": []},
            {},
        ),
        (
            TICKED | {"sqrt_price_x96": str(MAX_SQRT_RATIO - 1), "tick": 887_271, "liquidity": "0", "ticks": []},
            {"zero_for_one": False},
        ),
    ],
)
def test_what_the_contract_refuses_is_insufficient_liquidity_and_counts_as_an_answer(
    pool: dict[str, Any], asked: dict[str, Any]
) -> None:
    got, faults, complaints = answers(pool, question(pool["pool"], **asked))
    assert got == [{"id": "q", "error": "insufficient_liquidity"}]
    assert (faults, complaints) == (0, "")


@pytest.mark.parametrize(
    "amount",
    [
        "0",
        "-1",
        "1.5",
        "1e18",
        "",
        " 5",
        "+5",
        "0x10",
        "1_000",
        "007",
        "٣",
        str(1 << 256),
        "9" * 5000,
        5,
        5.0,
        None,
        True,
        [],
    ],
)
@pytest.mark.parametrize("pool", ["P2", "P3"])
def test_an_amount_that_no_order_can_have_is_a_bad_amount(pool: str, amount: object) -> None:
    got, faults, _ = answers(PAIR, TICKED, question(pool, amount=amount), question(pool, id="next"))
    assert got[0] == {"id": "q", "error": "bad_amount"}
    assert got[1]["id"] == "next"
    assert "error" not in got[1]
    assert faults == 1


def test_an_amount_beyond_int256_is_bad_only_where_the_contract_takes_an_int256() -> None:
    assert only(TICKED, question(amount=str(1 << 255)))["error"] == "bad_amount"
    assert only(PAIR, question("P2", amount=str(1 << 255)))["error"] == "insufficient_liquidity"


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"nonsense",
        b'"text"',
        b"[1]",
        b"null",
        b"\xff\xfe",
        b'{"id":"x"}',
        question(zero_for_one="true"),
        question(zero_for_one=1),
        question(exact="both"),
        question(exact=None),
        question(exact=["in"]),
        question(pool=7),
        {key: value for key, value in question().items() if key != "amount"},
        {key: value for key, value in question().items() if key != "id"},
        {key: value for key, value in question().items() if key != "zero_for_one"},
        TICKED | {"pool": None},
        TICKED | {"protocol": 3},
        TICKED | {"fee": 1_000_000},
        TICKED | {"fee": -1},
        TICKED | {"fee": "3000"},
        TICKED | {"fee": 3000.0},
        TICKED | {"tick_spacing": 0},
        TICKED | {"tick_spacing": 16_384},
        TICKED | {"tick": "0"},
        TICKED | {"tick": True},
        TICKED | {"sqrt_price_x96": 1 << 60},
        TICKED | {"sqrt_price_x96": str(MIN_SQRT_RATIO - 1)},
        TICKED | {"sqrt_price_x96": str(MAX_SQRT_RATIO)},
        TICKED | {"sqrt_price_x96": "0"},
        TICKED | {"liquidity": "-1"},
        TICKED | {"liquidity": str(1 << 128)},
        {key: value for key, value in TICKED.items() if key != "ticks"},
        {key: value for key, value in TICKED.items() if key != "protocol"},
        PAIR | {"fee_bps": 10_000},
        PAIR | {"reserve0": str(1 << 112)},
        PAIR | {"reserve1": "-5"},
        PAIR | {"reserve1": 5},
        {key: value for key, value in PAIR.items() if key != "reserve1"},
    ],
)
def test_a_line_that_cannot_be_read_is_a_bad_line_and_the_run_goes_on(line: dict[str, Any] | bytes) -> None:
    good = TICKED | {"pool": "good"}
    got, faults, complaints = answers(TICKED, line, good, question("good", id="after"))
    assert [answer.get("error") for answer in got] == ["bad_line", None]
    assert got[1]["id"] == "after"
    assert faults == 1
    assert complaints.startswith("dexlane: line 2: bad_line: ")


@pytest.mark.parametrize(
    "broken",
    [
        {"ticks": list(reversed(TICKED["ticks"]))},  # type: ignore[call-overload]
        {"ticks": [[-600, "2"], [-60, "1"], [-60, "1"], [60, "-4"]]},
        {"ticks": [[-590, str(3 * L)], [600, str(-3 * L)]]},
        {"ticks": [[-887_280, str(3 * L)], [600, str(-3 * L)]]},
        {"ticks": [[-600, str(3 * L)], [887_280, str(-3 * L)]]},
        {"ticks": [[-600, str(3 * L)]]},
        {"ticks": [[60, str(-L)], [600, str(L)]]},
        {"ticks": []},
        {"ticks": [[-600, str(4 * L)], [600, str(-4 * L)]]},
        {"ticks": [[-600, str((1 << 127) - 1)], [-60, str((1 << 127) - 1)], [0, "2"], [60, "0"]]},
        {"ticks": [[-600, str(1 << 127)], [600, str(-(1 << 127))]]},
        {"ticks": [[-600, 3]]},
        {"ticks": [["-600", "3"]]},
        {"ticks": [[-600.0, "3"]]},
        {"ticks": [[-600, "x"]]},
        {"ticks": [[-600, "--3"]]},
        {"ticks": [[-600]]},
        {"ticks": [None]},
        {"ticks": {}},
        {"ticks": None},
        {"tick": 1},
        {"tick": -60},
        {"tick": 900_000},
        {"liquidity": str(2 * L)},
    ],
)
def test_ticks_that_no_pool_can_have_are_bad_ticks_until_the_pool_is_defined_again(broken: dict[str, Any]) -> None:
    lines = (TICKED, TICKED | broken | {"id": "d"}, question(id="1"), TICKED, question(id="2"))
    got, faults, complaints = answers(*lines)
    assert got[:2] == [{"id": "d", "error": "bad_ticks"}, {"id": "1", "error": "bad_ticks"}]
    assert got[2]["id"] == "2"
    assert "error" not in got[2]
    assert faults == 2
    assert complaints.startswith("dexlane: line 2: bad_ticks: ")


def test_a_broken_definition_without_an_id_answers_null() -> None:
    assert only(TICKED | {"ticks": [[1, "1"]]}) == {"id": None, "error": "bad_ticks"}


def test_unknown_pools_and_protocols_are_named() -> None:
    got, faults, _ = answers(PAIR | {"protocol": "curve"}, question("P2"), question("nobody"))
    assert [answer["error"] for answer in got] == ["unsupported_protocol", "unsupported_protocol", "unknown_pool"]
    assert faults == 3


def test_a_later_definition_replaces_an_earlier_one() -> None:
    got, faults, _ = answers(
        PAIR, question("P2"), PAIR | {"fee_bps": 100}, question("P2"), TICKED | {"pool": "P2"}, question("P2")
    )
    assert int(got[0]["amount_out"]) > int(got[1]["amount_out"])
    assert "tick_after" in got[2]
    assert faults == 0


def test_blank_lines_line_ends_byte_order_marks_and_a_missing_last_line_end_do_no_harm() -> None:
    raw = (
        b"\xef\xbb\xbf" + json.dumps(PAIR).encode() + b"\r\n\r\n   \n" + json.dumps(question("P2")).encode() + b"\r\n\n"
    )
    got, faults, _ = answers(raw, question("P2", id="last"))
    assert [answer["id"] for answer in got] == ["q", "last"]
    assert faults == 0
    assert answers(b"") == ([], 0, "")


def test_lines_longer_than_a_read_are_put_together_again() -> None:
    class Trickle(io.RawIOBase):
        def __init__(self, raw: bytes) -> None:
            self.raw = raw

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            piece, self.raw = self.raw[:7], self.raw[7:]
            buffer[: len(piece)] = piece
            return len(piece)

    raw = b"".join(json.dumps(line).encode() + b"\n" for line in (TICKED, question(id="1"), question(id="2")))
    sink = io.BytesIO()
    assert run(io.BufferedReader(Trickle(raw)), sink, io.StringIO()) == 0
    assert [json.loads(line)["id"] for line in sink.getvalue().splitlines()] == ["1", "2"]


def test_the_command_reads_files_and_standard_input_and_sets_its_exit_code(tmp_path: Path) -> None:
    good = "".join(json.dumps(line) + "\n" for line in (PAIR, question("P2"), question("P2", amount=str(1 << 112))))
    (tmp_path / "good").write_text(good)

    def dexlane(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, "quote", *arguments], input=given, capture_output=True, text=True, timeout=60, check=False
        )

    from_file = dexlane("--input", str(tmp_path / "good"))
    assert (from_file.returncode, from_file.stderr) == (0, "")
    assert len(from_file.stdout.splitlines()) == 2
    piped = dexlane("--input", "-", given=good + "{\n")
    assert piped.returncode == 2
    assert piped.stdout == from_file.stdout + '{"id":null,"error":"bad_line"}\n'
    assert "line 4: bad_line" in piped.stderr
    missing = dexlane("--input", str(tmp_path / "missing"))
    assert missing.returncode == 1
    assert "cannot read" in missing.stderr


def test_an_answer_comes_before_the_next_question_is_sent() -> None:
    with subprocess.Popen([COMMAND, "quote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(PAIR) + "\n" + json.dumps(question("P2", id="1")) + "\n")
        process.stdin.flush()
        first = json.loads(process.stdout.readline())
        process.stdin.write(json.dumps(question("P2", id="2", amount=first["amount_out"], zero_for_one=False)) + "\n")
        process.stdin.close()
        assert json.loads(process.stdout.readline())["id"] == "2"
        assert process.wait(30) == 0
