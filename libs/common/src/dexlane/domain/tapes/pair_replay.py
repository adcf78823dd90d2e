"""Replay of a pair that prices by its reserves (Uniswap V2 and its forks).

A V2 pair accepts any swap that leaves the product of its reserves large enough. So a recorded swap is *exact* when it
takes to the last unit what our maths gives for its input, or pays to the last unit what our maths asks for its output.
It is *inexact* when the reserves do not follow from its amounts, or when it takes more than our maths allows. It is
*unverifiable* when no reserves before it are known, or when it takes less than it could have: then nothing tells
whether the most we would have given is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dexlane.domain.amm.constant_product import swap_exact_in, swap_exact_out
from dexlane.domain.tapes.outcome import Outcome
from dexlane.domain.tapes.tape import PairSwapRecord, PoolStart, Record, ReservesRecord, TapePool
from dexlane.values.pools import ConstantProductState


def replay_pair(pool: TapePool, records: Sequence[Record]) -> Iterator[tuple[Record, Outcome | None]]:
    """Each record of a pair in order, with what its replay says; None for a change of reserves."""
    before, now = None, _reserves_at(pool.start)
    for record in records:
        if isinstance(record, ReservesRecord):
            before, now = now, ConstantProductState(reserve0=record.reserve0, reserve1=record.reserve1)
            yield record, None
        elif isinstance(record, PairSwapRecord):
            yield record, _outcome(record, before, now, pool.fee_pips)


def _reserves_at(start: PoolStart) -> ConstantProductState | None:
    return start.state if isinstance(start.state, ConstantProductState) else None


def _outcome(
    record: PairSwapRecord, before: ConstantProductState | None, after: ConstantProductState | None, fee_pips: int
) -> Outcome:
    if before is None or after is None:
        return Outcome.UNVERIFIABLE
    gained0, gained1 = record.amount0_in - record.amount0_out, record.amount1_in - record.amount1_out
    if (after.reserve0 - before.reserve0, after.reserve1 - before.reserve1) != (gained0, gained1):
        return Outcome.INEXACT
    if not _is_allowed(record, after, before, fee_pips):
        return Outcome.INEXACT
    return Outcome.EXACT if _takes_all(record, before, fee_pips) else Outcome.UNVERIFIABLE


def _is_allowed(
    record: PairSwapRecord, after: ConstantProductState, before: ConstantProductState, fee_pips: int
) -> bool:
    """The check of ``UniswapV2Pair.swap``: the product of the reserves, without the fees, did not fall."""
    kept0 = after.reserve0 * 1_000_000 - record.amount0_in * fee_pips
    kept1 = after.reserve1 * 1_000_000 - record.amount1_in * fee_pips
    return kept0 * kept1 >= before.reserve0 * before.reserve1 * 1_000_000**2


def _takes_all(record: PairSwapRecord, before: ConstantProductState, fee_pips: int) -> bool:
    """Whether the swap takes the most for its input, or pays the least for its output. One direction only."""
    one_way = {(True, False): True, (False, True): False}
    zero_for_one = one_way.get((record.amount0_in > 0, record.amount1_in > 0))
    if zero_for_one is None:
        return False
    paid, received = (
        (record.amount0_in - record.amount0_out, record.amount1_out)
        if zero_for_one
        else (record.amount1_in - record.amount1_out, record.amount0_out)
    )
    try:
        if swap_exact_in(before, fee_pips, zero_for_one=zero_for_one, amount_in=paid).amount_out == received:
            return True
        return swap_exact_out(before, fee_pips, zero_for_one=zero_for_one, amount_out=received).amount_in == paid
    except ValueError:
        return False
