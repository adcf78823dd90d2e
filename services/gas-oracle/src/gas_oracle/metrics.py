"""The moments of the gas oracle: each is logged once and counted once."""

from __future__ import annotations

from dexlane.domain.fee_limits import price_of
from dexlane.events.fees import FeeLevel, FeeQuoted
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
        self._by_deadline = metrics.gauge("inclusion_tip_wei", "Tip per gas by deadline in blocks", ("chain", "blocks"))
        self._price = metrics.gauge("gas_price_wei", "Next base fee and balanced tip, which ceilings are about", chain)
        self._level = metrics.gauge("gas_level", "0 normal, 1 warn, 2 no entries, 3 none until somebody resets", chain)
        self._rise = metrics.gauge("base_fee_rise_percent", "Next base fee above the lowest of the last blocks", chain)
        self._spiking = metrics.gauge("base_fee_spiking", "1 while that is a spike", chain)
        self._spikes = metrics.counter("base_fee_spikes_total", "Spikes that began", chain)
        self._l1_base_fee = metrics.gauge("l1_base_fee_wei", "L1 base fee that a rollup's data is charged by", chain)
        self._compute = metrics.histogram("quote_seconds", "From the node's answer to the quote", chain)
        self._levels: dict[int, FeeLevel] = {}

    def fee_quoted(self, event: FeeQuoted) -> None:
        """A quote is stored."""
        chain = str(event.chain_id)
        self._quotes.labels(chain).inc()
        self._base_fee.labels(chain).set(event.next_base_fee_per_gas_wei)
        for name, cap in event.tiers.items():
            self._tip.labels(chain, name.value).set(cap.max_priority_fee_per_gas_wei)
        for tip in event.inclusion:
            self._by_deadline.labels(chain, str(tip.within_blocks)).set(tip.tip_per_gas_wei)
        if event.data_fee is not None:
            self._l1_base_fee.labels(chain).set(event.data_fee.l1_base_fee_wei)
        self._log.debug("fee_quoted", chain_id=event.chain_id, block=event.block.number)

    def quote_missed(self, chain_id: int, block: int, reason: str) -> None:
        """No quote for a block: the last one stays and grows old."""
        self._failures.labels(str(chain_id)).inc()
        self._log.warning("quote_missed", chain_id=chain_id, block=block, reason=reason)

    def computed(self, chain_id: int, seconds: float) -> None:
        """A quote was made from what the node answered."""
        self._compute.labels(str(chain_id)).observe(seconds)

    def judged(self, quote: FeeQuoted, rise_percent: int, *, spiking: bool, began: bool) -> None:
        """Where the price stands, and how fast it rises. A level is logged when it changes, a spike when it begins."""
        chain, price = str(quote.chain_id), price_of(quote)
        self._price.labels(chain).set(price)
        self._level.labels(chain).set(list(FeeLevel).index(quote.level))
        self._rise.labels(chain).set(rise_percent)
        self._spiking.labels(chain).set(int(spiking))
        if quote.level is not self._levels.get(quote.chain_id, FeeLevel.NORMAL):
            log = self._log.info if quote.level is FeeLevel.NORMAL else self._log.warning
            log("gas_level_changed", chain_id=quote.chain_id, level=quote.level, price_wei=price)
        self._levels[quote.chain_id] = quote.level
        if began:
            self._spikes.labels(chain).inc()
            self._log.warning("base_fee_spike", chain_id=quote.chain_id, rise_percent=rise_percent)
