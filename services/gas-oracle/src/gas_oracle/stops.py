"""The oracle's word on trading: said when gas is beyond all bounds, released by a person."""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.domain.fee_limits import GAS_SOURCE, FeeCeilings, GasLatch, price_of, rise_percent
from dexlane.domain.objections import GWEI_DECIMALS
from dexlane.events.control import Status, TradingStatus
from dexlane.events.fees import FeeQuoted
from dexlane.values.amounts import decimal_text


class GasStops:
    """One chain's latch, and whether its base fee is rising too fast."""

    def __init__(self, chain_id: int, ceilings: FeeCeilings, scope: Status) -> None:
        self.chain_id = chain_id
        self.ceilings = ceilings
        self._scope = scope
        self._latch = GasLatch()
        self.spiking = False

    def heard(self, word: TradingStatus) -> None:
        """The bus has this word: ours, now or from an earlier life, or a person's release of it."""
        if word.source == GAS_SOURCE:
            self._latch = self._latch.told(word.status)

    def rise(self, base_fees_wei: Sequence[int], quote: FeeQuoted) -> tuple[int, bool]:
        """By how many per cent the next base fee is above the lowest of these, and whether a spike begins with that."""
        risen = rise_percent(base_fees_wei, quote.next_base_fee_per_gas_wei)
        was, self.spiking = self.spiking, risen >= self.ceilings.spike_percent
        return risen, self.spiking and not was

    def word(self, quote: FeeQuoted) -> TradingStatus | None:
        """What is to be published after this quote, and heard once it is stored; None for nothing."""
        self._latch, status = self._latch.at(quote.level, self._scope)
        if status is None:
            return None
        # Versions grow with the chain: a restart needs no memory of its own, and a release is one above what it ends.
        version = quote.block.number + 1
        return TradingStatus(
            id=TradingStatus.make_id(self.chain_id, GAS_SOURCE, version),
            chain_id=self.chain_id,
            occurred_at_ms=quote.occurred_at_ms,
            source=GAS_SOURCE,
            status=status,
            status_version=version,
            reason=(
                f"gas costs {decimal_text(price_of(quote), GWEI_DECIMALS)} gwei at block {quote.block.number}, "
                f"above the stop at {decimal_text(self.ceilings.stop_wei, GWEI_DECIMALS)}"
            ),
        )
