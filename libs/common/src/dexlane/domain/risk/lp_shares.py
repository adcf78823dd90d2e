"""Who holds the liquidity of a pool: what of its LP tokens is burned or lies with a known locker.

Only pools of the Uniswap V2 kind have LP tokens, at the address of the pool. A locker keeps tokens until a date that is
not read here, so a locked share is a weaker statement than a burned one.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.base import Value
from dexlane.values.chains import Address
from dexlane.values.pools import Protocol

WITH_LP_TOKENS = frozenset({Protocol.UNISWAP_V2, Protocol.SOLIDLY_VOLATILE, Protocol.SOLIDLY_STABLE})

BURNED: Mapping[str, str] = {
    "0x0000000000000000000000000000000000000000": "the zero address",
    "0x000000000000000000000000000000000000dead": "the dead address",
}
LOCKERS: Mapping[int, Mapping[str, str]] = {
    1: {
        "0x663a5c229c09b049e36dcc11a9b0d4a8eb9db214": "UNCX",
        "0xe2fe530c047f2d85298b07d9333c05737f1435fb": "Team Finance",
        "0x71b5759d73262fbb223956913ecf4ecc51057641": "PinkLock",
    },
}
"""Lockers by chain, as several independent public repositories name them; looked up on 2026-11-26."""


def keepers(chain_id: int) -> Mapping[str, str]:
    """Every address whose LP tokens cannot be taken out at once, with its name."""
    return {**BURNED, **LOCKERS.get(chain_id, {})}


class LpShares(Value):
    """LP tokens of a pool, in their smallest unit: all of them, and what each keeper holds."""

    pool: Address
    total: int = Field(ge=0)
    held: Mapping[Address, int] = Field(description="by keeper; those that hold nothing are there with 0")

    @property
    def burned_bps(self) -> int | None:
        """What can never be taken out, rounded down; None when there are no LP tokens."""
        return self._share(set(BURNED))

    @property
    def locked_bps(self) -> int | None:
        """What lies with lockers, rounded down; None when there are no LP tokens."""
        return self._share(set(self.held) - set(BURNED))

    def _share(self, keepers: set[str]) -> int | None:
        kept = sum(amount for keeper, amount in self.held.items() if keeper in keepers)
        return min(BPS_DENOMINATOR, BPS_DENOMINATOR * kept // self.total) if self.total else None
