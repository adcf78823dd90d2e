"""What recorded events tell about their pool when nobody says it: fee, tick spacing, and mints from burns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from math import gcd
from types import MappingProxyType
from typing import NamedTuple

from dexlane.domain.amm.sqrt_price_math import (
    amount0_delta,
    amount0_delta_rounding_up,
    amount1_delta,
    amount1_delta_rounding_up,
)
from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick
from dexlane.domain.tapes.outcome import Outcome
from dexlane.domain.tapes.pair_replay import replay_pair
from dexlane.domain.tapes.replay import replay
from dexlane.domain.tapes.tape import LiquidityRecord, PairSwapRecord, PoolStart, Record, SwapRecord, TapePool
from dexlane.values.pools import ConcentratedState, Protocol

SPACING_OF_FEE: Mapping[int, int] = MappingProxyType({500: 10, 3_000: 60, 10_000: 200, 100: 1, 2_500: 50})
"""Fee tiers in pips and their tick spacing: ``UniswapV3Factory``, and ``PancakeV3Factory`` for 2,500."""

PAIR_FEES = (3_000, 2_500, 2_000, 1_000, 500)
"""Fees in pips of Uniswap V2 (0.3 %), PancakeSwap V2 (0.25 %) and other forks; the first is taken without swaps."""

SWAPS_TRIED = 60
"""Enough: one swap that takes a fee of its own accord already tells the tiers apart."""

_NEAR_TICKS = 10
_TELLING_AMOUNT = 10_000
"""In smallest units: of less, the fees of two tiers may round to the same."""


class Unidentified(ValueError):  # noqa: N818 - named for what could not be done
    """The events do not tell; the user has to."""


class Terms(NamedTuple):
    """What a pool asks: fee in hundredths of a basis point, and the spacing of its ticks."""

    fee_pips: int
    tick_spacing: int


def identify_terms(records: Sequence[Record]) -> Terms:
    """The fee tier that reproduces most of the first swaps that stay between two ticks, and the tick spacing.

    Raises ``Unidentified`` when no tier explains more than half. Without swaps the spacing tells the tier.
    """
    if not any(isinstance(record, SwapRecord) for record in records):
        return _terms_without_swaps(records)
    pairs = list(islice(_undisturbed(records), SWAPS_TRIED))
    explained = {fee: sum(_explained(fee, *pair) for pair in pairs) for fee in SPACING_OF_FEE}
    best = max(explained, key=lambda fee: explained[fee])
    if not pairs or 2 * explained[best] <= len(pairs):
        raise Unidentified("the swaps do not tell the pool's fee; say it with --fee and --tick-spacing")
    return Terms(best, spacing_for(best, records))


def _terms_without_swaps(records: Sequence[Record]) -> Terms:
    """The tier whose spacing is the greatest that fits all positions."""
    spacing = _greatest_spacing(records)
    for fee, usual in SPACING_OF_FEE.items():
        if usual == spacing:
            return Terms(fee, spacing)
    raise Unidentified("without swaps nothing tells the pool's fee; say it with --fee and --tick-spacing")


def identify_pair_fee(records: Sequence[Record]) -> int:
    """The fee of a V2-like pair, in pips: of the usual ones that which makes most recorded swaps exact.

    Raises ``Unidentified`` when none makes any exact.
    """
    exact = {}
    for fee in PAIR_FEES:
        pool = TapePool(protocol=Protocol.UNISWAP_V2, fee_pips=fee, tick_spacing=0)
        outcomes = islice((out for _, out in replay_pair(pool, records) if out is not None), SWAPS_TRIED)
        exact[fee] = sum(outcome is Outcome.EXACT for outcome in outcomes)
    best = max(exact, key=lambda fee: exact[fee])
    if exact[best] == 0 and any(isinstance(record, PairSwapRecord) for record in records):
        raise Unidentified("the swaps do not tell the pair's fee; say it with --fee")
    return best


def spacing_for(fee_pips: int, records: Iterable[Record]) -> int:
    """The tick spacing of a fee tier, if most recorded positions keep to it, else the greatest that fits all of them.

    Raises ``Unidentified`` for a fee that is no tier when no position tells.
    """
    positions = [record for record in records if isinstance(record, LiquidityRecord)]
    tier = SPACING_OF_FEE.get(fee_pips)
    if tier is not None:
        fitting = sum(record.tick_lower % tier == 0 == record.tick_upper % tier for record in positions)
        if 2 * fitting >= len(positions):
            return tier
    spacing = _greatest_spacing(positions)
    if spacing == 0:
        raise Unidentified("no position tells the pool's tick spacing; say it with --tick-spacing")
    return spacing


def _greatest_spacing(records: Iterable[Record]) -> int:
    edges = (record[4:6] for record in records if isinstance(record, LiquidityRecord))
    return gcd(*(tick for pair in edges for tick in pair))


def minted(rows: Iterable[LiquidityRecord]) -> bool | None:
    """Whether positions were added (True) or taken away (False), by the rounding of their amounts; None: no evidence.

    ``UniswapV3Pool._modifyPosition`` rounds up what it asks for and down what it gives
    (``SqrtPriceMath.getAmount0Delta`` and ``getAmount1Delta``). Positions on one side of the price tell, as their
    amount does not depend on it. Only burns can be of no liquidity. ``liquidity_delta`` is taken without its sign.
    """
    up = down = 0
    for row in rows:
        liquidity = abs(row.liquidity_delta)
        if liquidity == 0:
            return False
        if bool(row.amount0) == bool(row.amount1):
            continue
        lower, upper = sqrt_ratio_at_tick(row.tick_lower), sqrt_ratio_at_tick(row.tick_upper)
        if row.amount0:
            rounded = amount0_delta_rounding_up(lower, upper, liquidity), amount0_delta(lower, upper, liquidity)
        else:
            rounded = amount1_delta_rounding_up(lower, upper, liquidity), amount1_delta(lower, upper, liquidity)
        if rounded[0] != rounded[1]:
            up += rounded[0] == max(row.amount0, row.amount1)
            down += rounded[1] == max(row.amount0, row.amount1)
    return None if up == down else up > down


def _undisturbed(records: Sequence[Record]) -> Iterator[tuple[SwapRecord, SwapRecord]]:
    """Neighbouring swaps of which the second neither crossed a tick nor met other liquidity."""
    for before, record in pairwise(records):
        if not isinstance(before, SwapRecord) or not isinstance(record, SwapRecord):
            continue
        small = min(abs(record.amount0), abs(record.amount1)) < _TELLING_AMOUNT
        if before.liquidity == record.liquidity and abs(record.tick - before.tick) < _NEAR_TICKS and not small:
            yield before, record


def _explained(fee_pips: int, before: SwapRecord, record: SwapRecord) -> bool:
    state = ConcentratedState(
        sqrt_price_x96=before.sqrt_price_x96, tick=before.tick, liquidity=before.liquidity, ticks=()
    )
    # Without ticks any spacing will do; the widest has the fewest stops.
    pool = TapePool(
        protocol=Protocol.UNISWAP_V3,
        fee_pips=fee_pips,
        tick_spacing=SPACING_OF_FEE[fee_pips],
        start=PoolStart(state=state),
    )
    return [outcome for _, outcome, _ in replay(pool, [record])] == [Outcome.EXACT]
