"""How much tip buys inclusion within a number of blocks, with a stated probability."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from dexlane.domain.fees.base_fees import FeeParameters
from dexlane.domain.fees.blocks import BlockFees, inclusion_tip


def tip_for(
    history: Sequence[BlockFees],
    *,
    within_blocks: int,
    probability: Fraction | float,
    params: FeeParameters,
) -> int:
    """The least tip per gas, in wei, that is included within so many blocks with that probability.

    Every run of ``within_blocks`` blocks of the history, oldest first, asks for the lowest inclusion tip among them;
    the answer is the empirical quantile of these, with the rank rounded up in favour of being included, and at least
    the chain's minimum. With fewer runs than the probability needs it is the dearest run; without any, the minimum.
    Raises ``ValueError`` for a probability outside ``0 < p < 1`` or fewer blocks than one.
    """
    if not 0 < probability < 1 or within_blocks < 1:
        raise ValueError(f"no tip is included within {within_blocks} blocks with probability {probability}")
    runs = sorted(_cheapest_of_each_run([inclusion_tip(block) for block in history], within_blocks))
    if not runs:
        return params.minimum_tip_wei
    rank = -((-(len(runs) + 1) * Fraction(probability)) // 1)
    return max(runs[min(int(rank), len(runs)) - 1], params.minimum_tip_wei)


def _cheapest_of_each_run(tips: list[int | None], length: int) -> list[int]:
    """Runs without a block that took anybody count as the dearest block of the history."""
    known = [tip for tip in tips if tip is not None]
    if not known:
        return []
    dearest = max(known)
    filled = [dearest if tip is None else tip for tip in tips]
    length = min(length, len(filled))
    return [min(filled[start : start + length]) for start in range(len(filled) - length + 1)]
