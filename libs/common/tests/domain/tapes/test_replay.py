"""Replay: exact where it can be, inexact where something is wrong, unverifiable only where nothing tells."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.amm import sqrt_price_math as maths
from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick
from dexlane.domain.tapes.identify import Terms, Unidentified, identify_terms, minted
from dexlane.domain.tapes.outcome import Outcome
from dexlane.domain.tapes.replay import replay
from dexlane.domain.tapes.tape import LiquidityRecord, PoolStart, Record, SwapRecord
from dexlane.domain.tapes.verification import verify
from dexlane.testing.recordings import FEE_PIPS, SPACING, Recorder

SEEDS = st.integers(0, 10**6)


def swaps_in(records: Sequence[Record]) -> list[int]:
    return [index for index, record in enumerate(records) if isinstance(record, SwapRecord)]


def outcomes(recorder: Recorder, records: Sequence[Record], *, complete: bool) -> dict[int, Outcome]:
    tape = recorder.tape(records, complete=complete)
    found = enumerate(outcome for _, outcome, _ in replay(tape.pools[0], tape.records))
    return {index: outcome for index, outcome in found if outcome is not None}


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_with_all_ticks_known_every_swap_is_exact(seed: int) -> None:
    recorder = Recorder(seed).run(120)
    found = verify(recorder.tape(complete=True))
    assert found.swaps == found.exact == len(swaps_in(recorder.records))
    assert found.inexact == found.unverifiable == 0
    assert found.blocks == len({record.block_number for record in recorder.records})


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_without_ticks_a_true_recording_is_never_called_inexact(seed: int) -> None:
    recorder = Recorder(seed).run(120)
    found = verify(recorder.tape(complete=False))
    assert found.inexact == 0
    assert found.exact + found.unverifiable == found.swaps
    assert outcomes(recorder, recorder.records, complete=False)[swaps_in(recorder.records)[0]] is Outcome.UNVERIFIABLE


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_a_swap_is_unverifiable_only_for_want_of_an_interval_in_which_no_swap_rested(seed: int) -> None:
    recorder = Recorder(seed).run(150)
    rested = {record.tick // SPACING for record in recorder.records if isinstance(record, SwapRecord)}
    found = outcomes(recorder, recorder.records, complete=False)
    numbers = swaps_in(recorder.records)
    for before, index in pairwise(numbers):
        intervals = sorted(recorder.records[at][8] // SPACING for at in (before, index))
        reachable = rested.issuperset(range(intervals[0], intervals[1] + 1))
        assert (found[index] is Outcome.EXACT) == reachable


BREAKS = {
    "amount0": lambda value: value + value // 1_000 + (1_000 if value > 0 else -1_000),
    "amount1": lambda value: value + value // 1_000 + (1_000 if value > 0 else -1_000),
    "sqrt_price_x96": lambda value: value + (1 << 50),
    "liquidity": lambda value: value + 1,
    "tick": lambda value: value + 1,
}
"""By more than the rounding of fees: an input of one wei more may move the price as far."""


@given(SEEDS, st.sampled_from(sorted(BREAKS)), st.data())
@settings(max_examples=60, deadline=None)
def test_a_swap_with_any_wrong_field_is_inexact_and_named(seed: int, field: str, data: st.DataObject) -> None:
    recorder = Recorder(seed).run(100)
    records = list(recorder.records)
    at = data.draw(st.sampled_from(swaps_in(records)))
    broken = records[at]._replace(**{field: BREAKS[field](getattr(records[at], field))})
    records[at] = broken
    found = verify(recorder.tape(records, complete=True))
    assert found.inexact >= 1
    named = found.first_inexact[0]
    assert (named.block_number, named.log_index) == broken[:2]
    assert named.recorded[field] == getattr(broken, field)
    if named.computed is not None:
        assert named.computed != named.recorded
    if field.startswith("amount"):
        assert found.inexact == 1  # the state after it was right, so the next swap is exact


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_wrong_liquidity_in_one_event_does_not_spoil_the_swaps_after_it(seed: int) -> None:
    recorder = Recorder(seed).run(150)
    records = list(recorder.records)
    at = swaps_in(records)[len(swaps_in(records)) // 2]
    records[at] = records[at]._replace(liquidity=records[at].liquidity + 10**15)
    found = outcomes(recorder, records, complete=True)
    assert [index for index, outcome in found.items() if outcome is not Outcome.EXACT] == [at]


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_a_missing_mint_in_range_shows_as_an_inexact_swap(seed: int) -> None:
    recorder = Recorder(seed).run(60)
    tick = recorder.state.tick // SPACING * SPACING
    at = len(recorder.records)
    recorder._change(tick - SPACING, tick + 2 * SPACING, 3 * 10**18)
    for _ in range(5):
        recorder.trade()
    records = [record for index, record in enumerate(recorder.records) if index != at]
    assert verify(recorder.tape(records, complete=True)).inexact >= 1
    assert verify(recorder.tape(records, complete=False)).exact < len(swaps_in(records)) - 1


def test_a_tick_that_no_price_has_makes_even_the_first_swap_inexact() -> None:
    recorder = Recorder(3).run(20)
    records = list(recorder.records)
    first = swaps_in(records)[0]
    records[first] = records[first]._replace(tick=records[first].tick + 300)
    assert outcomes(recorder, records, complete=False)[first] is Outcome.INEXACT


def test_net_liquidity_known_before_the_window_makes_swaps_across_it_verifiable() -> None:
    recorder = Recorder(11).run(300)
    tape = recorder.tape(complete=False)
    lacking = verify(tape).unverifiable
    nets = tuple((tick.tick, tick.liquidity_net) for tick in recorder.start.ticks)
    known = dict(nets)
    every = tuple((tick, known.get(tick, 0)) for tick in range(-6_000, 7_000, SPACING))
    pool = tape.pools[0].model_copy(update={"start": PoolStart(nets=every)})
    helped = verify(type(tape)((pool,), tape.records, tape.source))
    assert helped.inexact == 0
    assert helped.unverifiable < lacking or lacking == 1


def test_progress_is_told_of_every_record() -> None:
    recorder = Recorder(5).run(50)
    told: list[int] = []
    verify(recorder.tape(complete=True), told.append)
    assert sum(told) == len(recorder.records)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_swaps_tell_the_fee_and_positions_the_spacing(seed: int) -> None:
    recorder = Recorder(seed)
    for _ in range(40):
        recorder.trade()
    recorder.mint()
    assert identify_terms(recorder.records) == Terms(FEE_PIPS, SPACING)


def test_terms_are_not_guessed_when_nothing_tells() -> None:
    with pytest.raises(Unidentified):
        identify_terms([])
    one = LiquidityRecord(1, 1, 0, 0, -7, 13, 5, 1, 1)
    assert identify_terms([one]) == Terms(100, 1)
    with pytest.raises(Unidentified):
        identify_terms([one._replace(tick_lower=-33, tick_upper=66)])


@given(st.integers(-2_000, 2_000), st.integers(1, 300), st.integers(10**6, 10**24), st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_rounding_tells_mints_from_burns(lower: int, width: int, liquidity: int, added: bool, above: bool) -> None:
    prices = sqrt_ratio_at_tick(10 * lower), sqrt_ratio_at_tick(10 * (lower + width))
    delta0 = maths.amount0_delta_rounding_up if added else maths.amount0_delta
    delta1 = maths.amount1_delta_rounding_up if added else maths.amount1_delta
    amounts = (0, delta1(*prices, liquidity)) if above else (delta0(*prices, liquidity), 0)
    record = LiquidityRecord(1, 1, 0, 0, 10 * lower, 10 * (lower + width), liquidity, *amounts)
    assert minted([record]) in (added, None)
    assert minted([record._replace(liquidity_delta=0, amount0=0, amount1=0)]) is False
