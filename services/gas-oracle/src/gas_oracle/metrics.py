"""The moments of the gas oracle: each is logged once and counted once."""

from __future__ import annotations

from dexlane.events.fees import FeeQuoted
from dexlane.runtime.observability import Log, Metrics


class OracleMoments:
    """What can happen to the quotes of a chain."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        chain, tier = ("chain",), ("chain", "tier")
        self._quotes = metrics.counter("quotes_total", "Fee quotes published", chain)
        self._failures = metrics.counter("quotes_missed_total", "Blocks without a quote", chain)
        self._base_fee = metrics.gauge("next_base_fee_wei", "Exact base fee of the next block", chain)
        self._tip = metrics.gauge("tip_wei", "Quoted tip per gas", tier)

    def fee_quoted(self, event: FeeQuoted) -> None:
        """A quote is stored."""
        chain = str(event.chain_id)
        self._quotes.labels(chain).inc()
        self._base_fee.labels(chain).set(event.next_base_fee_per_gas_wei)
        for name, cap in event.tiers.items():
            self._tip.labels(chain, name.value).set(cap.max_priority_fee_per_gas_wei)
        self._log.debug("fee_quoted", chain_id=event.chain_id, block=event.block.number)

    def quote_missed(self, chain_id: int, block: int, reason: str) -> None:
        """No quote for a block: the last one stays and grows old."""
        self._failures.labels(str(chain_id)).inc()
        self._log.warning("quote_missed", chain_id=chain_id, block=block, reason=reason)
