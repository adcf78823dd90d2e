"""Replay of a pair: the most for an input, the least for an output are exact; more is inexact, less tells nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.amm.constant_product import swap_exact_in, swap_exact_out
from dexlane.domain.tapes.file_format import decode, decode_header, encode
from dexlane.domain.tapes.identify import Unidentified, identify_pair_fee
from dexlane.domain.tapes.tape import PairSwapRecord, PoolStart, Record, ReservesRecord, Tape, TapePool
from dexlane.domain.tapes.verification import verify
from dexlane.values.pools import ConstantProductState, Protocol

START = ConstantProductState(reserve0=20_000_000_000_000, reserve1=10_000 * 10**18)
FEES = st.sampled_from([3_000, 2_500, 500])


class Pair:
    def __init__(self, fee_pips: int) -> None:
        self.fee_pips, self.state, self.records = fee_pips, START, list[Record]()

    def log(self, in0: int, in1: int, out0: int, out1: int) -> None:
        state = self.state
        self.state = ConstantProductState(reserve0=state.reserve0 + in0 - out0, reserve1=state.reserve1 + in1 - out1)
        number = len(self.records)
        self.records.append(ReservesRecord(5 + number, 0, 0, 0, self.state.reserve0, self.state.reserve1))
        self.records.append(PairSwapRecord(5 + number, 1, 0, 0, in0, in1, out0, out1))

    def trade(self, share: float, *, zero_for_one: bool, exact_in: bool, gift: float = 0) -> None:
        reserve = self.state.reserve0 if zero_for_one == exact_in else self.state.reserve1
        amount = max(int(reserve * share), 10**7)
        if exact_in:
            done = swap_exact_in(self.state, self.fee_pips, zero_for_one=zero_for_one, amount_in=amount)
        else:
            done = swap_exact_out(self.state, self.fee_pips, zero_for_one=zero_for_one, amount_out=amount)
        out = done.amount_out - int(done.amount_out * gift)
        self.log(*((done.amount_in, 0, 0, out) if zero_for_one else (0, done.amount_in, out, 0)))

    def tape(self, *, start: bool = True) -> Tape:
        known = PoolStart(state=START, complete=True) if start else PoolStart()
        pool = TapePool(protocol=Protocol.UNISWAP_V2, fee_pips=self.fee_pips, tick_spacing=0, start=known)
        return Tape((pool,), tuple(self.records), "made by a test")


TRADES = st.lists(st.tuples(st.floats(0.0001, 0.2), st.booleans(), st.booleans()), min_size=1, max_size=20)


@given(FEES, TRADES)
@settings(deadline=None)
def test_swaps_by_the_routers_rule_are_exact_and_tell_the_fee(fee: int, trades: list[tuple[float, bool, bool]]) -> None:
    pair = Pair(fee)
    for share, zero_for_one, exact_in in trades:
        pair.trade(share, zero_for_one=zero_for_one, exact_in=exact_in)
    found = verify(pair.tape())
    assert (found.swaps, found.exact, found.inexact) == (len(trades), len(trades), 0)
    assert verify(pair.tape(start=False)).unverifiable == 1
    if len(trades) > 1:
        assert identify_pair_fee(pair.records) == fee
    assert decode(encode(pair.tape())) == pair.tape()
    header = decode_header(encode(pair.tape()))
    assert (header.pair_swaps, header.reserve_syncs, header.swaps) == (len(trades), len(trades), 0)


@pytest.mark.parametrize("zero_for_one", [True, False])
@pytest.mark.parametrize("exact_in", [True, False])
def test_taking_less_than_the_pair_would_give_tells_nothing_and_taking_more_is_inexact(
    zero_for_one: bool, exact_in: bool
) -> None:
    for gift, expected in ((0.001, "unverifiable"), (-0.001, "inexact")):
        pair = Pair(3_000)
        pair.trade(0.01, zero_for_one=zero_for_one, exact_in=exact_in, gift=gift)
        assert getattr(verify(pair.tape()), expected) == 1


def test_reserves_that_do_not_follow_from_the_amounts_are_inexact_and_named() -> None:
    pair = Pair(3_000)
    for _ in range(3):
        pair.trade(0.01, zero_for_one=True, exact_in=True)
    swap = pair.records[3]
    assert isinstance(swap, PairSwapRecord)
    pair.records[3] = swap._replace(amount1_out=swap.amount1_out - 5)
    found = verify(pair.tape())
    assert (found.exact, found.inexact) == (2, 1)
    assert found.first_inexact[0].recorded["amount1_out"] == swap.amount1_out - 5


def test_a_swap_that_gives_back_part_of_its_input_is_judged_by_what_it_paid() -> None:
    pair = Pair(3_000)
    done = swap_exact_in(START, 3_000, zero_for_one=True, amount_in=10**9)
    pair.log(10**9 + 500, 0, 500, done.amount_out)
    assert verify(pair.tape()).exact + verify(pair.tape()).inexact == 1


def test_a_fee_is_not_guessed_when_no_swap_tells() -> None:
    chance = random.Random(1)  # noqa: S311  a repeatable course, no secret
    pair = Pair(3_000)
    for _ in range(5):
        pair.trade(chance.uniform(0.001, 0.01), zero_for_one=True, exact_in=True, gift=0.01)
    with pytest.raises(Unidentified):
        identify_pair_fee(pair.records)
    assert identify_pair_fee([record for record in pair.records if isinstance(record, ReservesRecord)]) == 3_000
