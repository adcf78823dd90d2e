"""Other people's demand for gas: how full blocks are and what tip they ask, from a seed, so that the base fee moves by
the rule of EIP-1559."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from random import Random

from dexlane.domain.fees import TIP_PERCENTILES, BlockFees

GWEI = 10**9
FULL_BPS = 10_000
CALM_BASE_FEE_WEI = GWEI // 100
"""To which the base fee falls in the end, so that what is left of a position is worth its gas."""
RUSHES = (1, 3, 8, 20)
"""Full blocks in a row; 20 of them raise the base fee tenfold."""


@dataclass(frozen=True, slots=True)
class Spell:
    """Some blocks in a row that are alike: how full, between which bounds, and how dear the tip is beside the usual."""

    first: int
    least_bps: int
    most_bps: int
    tip_factor: int


USUAL = Spell(0, 3_000, 7_000, 1)


def base_fee_after(base_fee_wei: int, fullness_bps: int) -> int:
    """EIP-1559's ``base_fee_per_gas`` of the next block, with a target of one half and a denominator of 8, as the
    specification writes it."""
    target, used = FULL_BPS // 2, fullness_bps
    if used == target:
        return base_fee_wei
    if used > target:
        return base_fee_wei + max(base_fee_wei * (used - target) // target // 8, 1)
    return base_fee_wei - base_fee_wei * (target - used) // target // 8


class Demand:
    """By block number, so that a reorganisation meets the same demand. There is no rush before the block ``begins_at``,
    and none from ``calm_from`` on."""

    def __init__(self, seed: int | str, blocks: int) -> None:
        self._seed = seed
        self.begins_at: int | None = None
        self.calm_from: int | None = None
        draw, number = Random(f"{seed}/demand"), 0  # noqa: S311
        self._spells: list[Spell] = []
        while number < blocks:
            kind = draw.random()
            if kind < 0.45:
                spell, length = replace(USUAL, first=number), draw.randint(3, 12)
            elif kind < 0.8:
                spell, length = Spell(number, FULL_BPS, FULL_BPS, draw.choice((1, 4, 20))), draw.choice(RUSHES)
            else:
                spell, length = Spell(number, 0, 1_000, 1), draw.randint(2, 10)
            self._spells.append(spell)
            number += length
        self._firsts = [spell.first for spell in self._spells]

    def fullness_bps(self, number: int, base_fee_wei: int) -> int:
        """How full a block is with what others send."""
        if self.calm_from is not None and number >= self.calm_from:
            return 0 if base_fee_wei > CALM_BASE_FEE_WEI else FULL_BPS // 2
        spell = self._spell(number)
        return self._of(number).randint(spell.least_bps, spell.most_bps)

    def tip_wei(self, number: int) -> int:
        """What a block asks at least, per gas: next to nothing unless it is full without us."""
        spell = self._spell(number)
        if spell.least_bps < FULL_BPS or (self.calm_from is not None and number >= self.calm_from):
            return 1
        return self._of(number).randint(GWEI // 20, GWEI) * spell.tip_factor

    def history(self, last: int, ratio_bps: int) -> list[BlockFees]:
        """What ``eth_feeHistory`` tells of the last blocks: the lowest tip of each, and dearer ones above it."""
        tips = ((number, self.tip_wei(number)) for number in range(max(0, last - 19), last + 1))
        return [
            BlockFees(
                number=number,
                gas_used_ratio=max(ratio_bps, 1) / FULL_BPS,
                tips_wei=tuple(tip * (100 + percentile) // 100 for percentile in TIP_PERCENTILES),
            )
            for number, tip in tips
        ]

    def _spell(self, number: int) -> Spell:
        if self.begins_at is None or number < self.begins_at:
            return USUAL
        return self._spells[bisect_right(self._firsts, number) - 1]

    def _of(self, number: int) -> Random:
        return Random(f"{self._seed}/demand/{number}")  # noqa: S311
