"""What the oracle says of a chain's price of gas beside its quotes: a breaker that holds entries, and spikes."""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.domain.fee_limits import FeeCeilings, price_of, rise_percent
from dexlane.events.breakers import BreakerKind
from dexlane.events.fees import FeeQuoted
from dexlane.runtime.breaker_board import BreakerSpec
from dexlane.runtime.spoken_breakers import RENEWED_WITHIN_MS, SpokenBreakers

GAS = BreakerSpec(source="breaker-gas", kind=BreakerKind.GAS, renewed_within_ms=RENEWED_WITHIN_MS)


class GasAlarms:
    """One chain's breaker, and whether its base fee is rising too fast."""

    def __init__(self, ceilings: FeeCeilings, breakers: SpokenBreakers) -> None:
        self.ceilings = ceilings
        self.breakers = breakers
        self.spiking = False

    async def quoted(self, quote: FeeQuoted) -> None:
        """The breaker sees the price of this quote."""
        await self.breakers.see((GAS.source, price_of(quote)))

    async def missed(self) -> None:
        """There is no quote for a block: the breaker holds entries once the last price is too old."""
        await self.breakers.see()

    def rise(self, base_fees_wei: Sequence[int], quote: FeeQuoted) -> tuple[int, bool]:
        """By how many per cent the next base fee is above the lowest of these, and whether a spike begins with that."""
        risen = rise_percent(base_fees_wei, quote.next_base_fee_per_gas_wei)
        was, self.spiking = self.spiking, risen >= self.ceilings.spike_percent
        return risen, self.spiking and not was
