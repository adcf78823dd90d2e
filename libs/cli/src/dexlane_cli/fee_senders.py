"""Who sends how: our policy and the named baselines, each asked before every block what lies in the pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Protocol

from dexlane.domain.fees import GWEI, TIP_PERCENTILES, FeeOutlook, FeeParameters, FeeWindows, NextBlock, fee_parameters
from dexlane.events.base import FeeCap
from dexlane_cli.fee_histories import FeeHistory

ONE_BLOCK_PROBABILITY = Fraction(98, 100)
"""With a deadline of one block the policy accepts to miss about two in a hundred; the frontier shows the others."""
FRONTIER = tuple(Fraction(per_mille, 1000) for per_mille in (500, 700, 800, 900, 950, 980, 990))
WALLET_BLOCKS = 10
GETH_BLOCKS, GETH_SAMPLES, GETH_PERCENTILE = 20, 3, 60
GETH_IGNORED_WEI, GETH_MOST_WEI = 2, 500 * GWEI
"""go-ethereum, ``eth/gasprice``: the three lowest tips of each of 20 blocks, tips below 2 wei ignored."""
SEED_BALANCED: Mapping[int, tuple[int, int]] = MappingProxyType(
    {1: (25 * GWEI * 115 // 100 + 2 * GWEI, 2 * GWEI), 8_453: (6_750_000, 1_000_000)}
)
SEED_BALANCED_ELSEWHERE = (20 * GWEI * 115 // 100 + 2 * GWEI, 2 * GWEI)
"""Cap and tip of the seed's "balanced": constants (base fee 25, 0.05 and 20 gwei; on Base both fees times 0.1)."""


_FirstFee = Callable[[int], FeeCap]
_MEDIAN = TIP_PERCENTILES.index(50)


class Sender(Protocol):
    """What lies in the pool before a block, from what is known before it; None while nothing was sent."""

    def __call__(self, block: int, blocks_left: int, pending: FeeCap | None, /) -> FeeCap | None:
        """``block`` is an index of the history, ``blocks_left`` counts it too."""
        ...


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Before each block of a history: what our policy knows, without anything of the block but its base fee."""

    history: FeeHistory
    params: FeeParameters
    views: tuple[NextBlock, ...]
    one_block_tips_wei: Mapping[Fraction, tuple[int, ...]]

    @classmethod
    def of(cls, history: FeeHistory, inclusion_percentile: int) -> Knowledge:
        """Walk through the history once."""
        params = fee_parameters(history.chain_id)
        if not history.has_tips:
            params = FeeParameters(
                elasticity=params.elasticity, denominator=params.denominator, rule=params.rule, minimum_tip_wei=0
            )
        outlook = FeeOutlook(params, FeeWindows(inclusion_percentile=inclusion_percentile))
        views, tips = [], {probability: list[int]() for probability in FRONTIER}
        for index, block in enumerate(history.blocks):
            views.append(outlook.before(history.base_fee(index)))
            for probability, found in tips.items():
                found.append(outlook.tip_for(within_blocks=1, probability=probability))
            outlook.add(block)
        return cls(history, params, tuple(views), {probability: tuple(found) for probability, found in tips.items()})

    def policy(self, block: int, blocks_left: int, pending: FeeCap | None, /) -> FeeCap | None:
        """The timing decision of ``dexlane.domain.fees``."""
        return self.views[block].timing(blocks_left, pending).cap or pending

    def one_shot(self, probability: Fraction) -> Sender:
        """Sent at once, with the tip that is included in the next block with this probability."""
        tips = self.one_block_tips_wei[probability]

        def send(block: int, _: int, pending: FeeCap | None, /) -> FeeCap:
            return pending or _fee(2 * self.history.base_fee(block) + tips[block], tips[block])

        return send


def baselines(history: FeeHistory) -> dict[str, Sender]:
    """By name. Without recorded tips there is one: sent at once."""
    if not history.has_tips:
        return {"send_at_once": _sent_once(lambda block: _fee(2 * history.base_fee(block), 0))}
    suggested = _suggested_tips(history.lowest_tips_wei)
    seed_cap, seed_tip = SEED_BALANCED.get(history.chain_id, SEED_BALANCED_ELSEWHERE)

    def node_default(block: int) -> FeeCap:
        price = suggested[block] + history.base_fee(block - 1)
        return _fee(price, price)

    def twice_the_base_fee(tip_wei: int, block: int) -> FeeCap:
        return _fee(2 * history.base_fee(block) + tip_wei, tip_wei)

    return {
        "node_default": _sent_once(node_default),
        "fixed_1_5_gwei": _sent_once(lambda block: twice_the_base_fee(3 * GWEI // 2, block)),
        "two_base_plus_tip": _sent_once(lambda block: twice_the_base_fee(suggested[block], block)),
        "seed_balanced": _sent_once(lambda _: _fee(seed_cap, seed_tip)),
    }


def wallet_price(history: FeeHistory, block: int) -> int:
    """What the median-tip wallet pays per gas, included at once: the block's base fee and the median of the last ten
    median tips (of an even number, the mean of the middle two, rounded down)."""
    tips = sorted(row.tips_wei[_MEDIAN] for row in history.blocks[block - WALLET_BLOCKS : block])
    return history.base_fee(block) + (tips[(len(tips) - 1) // 2] + tips[len(tips) // 2]) // 2


def _sent_once(fee: _FirstFee) -> Sender:
    def send(block: int, _: int, pending: FeeCap | None, /) -> FeeCap:
        return pending or fee(block)

    return send


def _suggested_tips(rows: Sequence[tuple[int, ...]]) -> list[int]:
    """``SuggestTipCap`` before each block. The files have percentiles, not transactions: the three lowest recorded
    percentiles that are not ignored stand for the three lowest tips."""
    samples = [[tip for tip in row if tip >= GETH_IGNORED_WEI][:GETH_SAMPLES] for row in rows]
    found, last = [], 0
    for block in range(len(rows)):
        known = [sample or [last] for sample in samples[max(0, block - GETH_BLOCKS) : block]]
        tips = sorted(tip for sample in known for tip in sample)
        last = min(tips[(len(tips) - 1) * GETH_PERCENTILE // 100], GETH_MOST_WEI) if tips else last
        found.append(last)
    return found


def _fee(cap_wei: int, tip_wei: int) -> FeeCap:
    return FeeCap(max_fee_per_gas_wei=cap_wei, max_priority_fee_per_gas_wei=min(cap_wei, tip_wei))
