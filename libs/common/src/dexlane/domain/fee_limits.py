"""Ceilings on the price of gas: when people are told, when entries stop, and when only a person lets them begin again.

The price is the next base fee and the balanced tip, in wei per gas: on chains without a base fee the tip is all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dexlane.domain.breakers.policy import BreakerPolicy
from dexlane.domain.fees import GWEI
from dexlane.events.fees import FeeLevel, FeeQuoted, FeeTier


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeCeilings:
    """Prices per gas, in wei, from which on something happens, and what counts as a spike: the base fee of the next
    block is ``spike_percent`` above the lowest of the last ``spike_blocks``.

    Raises ``ValueError`` unless warn <= block <= stop, all positive.
    """

    warn_wei: int
    block_wei: int
    stop_wei: int
    spike_percent: int = 50
    spike_blocks: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.warn_wei <= self.block_wei <= self.stop_wei:
            raise ValueError("the ceilings on the price of gas must rise from warn over block to stop")
        if self.spike_percent < 1 or self.spike_blocks < 1:
            raise ValueError("a spike is a rise of at least one per cent over at least one block")

    def level_of(self, price_wei: int) -> FeeLevel:
        """Where a price stands."""
        above = [
            level
            for ceiling, level in (
                (self.warn_wei, FeeLevel.WARN),
                (self.block_wei, FeeLevel.BLOCK),
                (self.stop_wei, FeeLevel.STOP),
            )
            if price_wei >= ceiling
        ]
        return above[-1] if above else FeeLevel.NORMAL

    def breaker(self, usual: BreakerPolicy) -> BreakerPolicy:
        """The policy of a chain's gas breaker: it opens at the ceiling of entries, and from the stop on it waits for an
        operator."""
        name = "fee_per_gas_wei"
        own = {"limits": {name: self.block_wei}, "operator_limits": {name: self.stop_wei}}
        return BreakerPolicy.model_validate(usual.model_dump() | own)


def _gwei(warn: int, block: int, stop: int, spike_percent: int = 50) -> FeeCeilings:
    return FeeCeilings(warn_wei=warn * GWEI, block_wei=block * GWEI, stop_wei=stop * GWEI, spike_percent=spike_percent)


_CEILINGS: Mapping[int, FeeCeilings] = MappingProxyType(
    {
        1: _gwei(100, 200, 1_000),
        10: _gwei(1, 5, 50, 25),
        56: _gwei(5, 10, 100),
        61: _gwei(50, 100, 1_000),
        137: _gwei(500, 1_500, 10_000, 10),
        8_453: _gwei(1, 5, 50, 25),
        42_161: _gwei(1, 5, 50),
    }
)
"""Base's base fee can rise by 48 % in ten blocks and Polygon's by 17 %, Ethereum's by 225 %."""
OTHER_CHAINS = _gwei(100, 300, 1_500)


def usual_ceilings(chain_id: int) -> FeeCeilings:
    """The ceilings of a chain when nobody set others."""
    return _CEILINGS.get(chain_id, OTHER_CHAINS)


def price_of(quote: FeeQuoted, next_base_fee_wei: int | None = None) -> int:
    """The price per gas that ceilings are about; with a base fee newer than the quote's where one is given."""
    base_fee = quote.next_base_fee_per_gas_wei if next_base_fee_wei is None else next_base_fee_wei
    return base_fee + quote.tiers[FeeTier.BALANCED].max_priority_fee_per_gas_wei


def rise_percent(base_fees_wei: Iterable[int], next_base_fee_wei: int) -> int:
    """How far the next base fee lies above the lowest of those given, in whole per cent; zero when it does not, or when
    there is none above zero."""
    lowest = min((fee for fee in base_fees_wei if fee > 0), default=0)
    return max(0, (next_base_fee_wei - lowest) * 100 // lowest) if lowest else 0
