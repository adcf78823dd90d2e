"""The moments of the market feed: each is logged once and counted once."""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.domain.listing import TokenList
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.events.opportunity import OpportunityFound
from dexlane.runtime.observability import Log, Metrics


class FeedMoments:
    """What can happen to one chain's feed."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        chain = ("chain",)
        self._blocks = metrics.counter("blocks_applied_total", "Blocks applied and published", chain)
        self._tip = metrics.gauge("tip_block", "Number of the last applied block", chain)
        self._latency = metrics.histogram(
            "block_publish_seconds", "From the arrival of a block's logs to its stored event", chain
        )
        self._reorgs = metrics.counter("reorgs_total", "Reorganisations followed", chain)
        self._reorg_depth = metrics.histogram(
            "reorg_depth_blocks", "Blocks undone per reorganisation", chain, buckets=(1, 2, 3, 5, 8, 16, 32, 64, 128)
        )
        self._reloads = metrics.counter("reloads_total", "Complete loads of all pools from the chain", chain)
        self._gaps = metrics.counter("head_gaps_total", "Times that heads may have been missed", chain)
        self._troubles = metrics.counter("node_troubles_total", "Node calls that failed", chain)
        self._found = metrics.counter("opportunities_total", "Opportunities published", ("chain", "strategy"))
        self._lost = metrics.counter("opportunities_lost_total", "Opportunities that could not be stored", chain)
        self._retries = metrics.counter("publish_retries_total", "Publications tried again", chain)
        self._cache = metrics.gauge("price_cache_up", "1 while the price cache takes writes", chain)

    def block_applied(self, event: BlockApplied, stored_ns: int) -> None:
        """A block is applied and stored on the bus."""
        chain = str(event.chain_id)
        self._blocks.labels(chain).inc()
        self._tip.labels(chain).set(event.block.number)
        self._latency.labels(chain).observe(max(0, stored_ns - event.received_at_ns) / 1e9)
        self._log.debug("block_applied", chain_id=event.chain_id, block=event.block.number, deltas=len(event.deltas))

    def reorg_followed(self, event: BlockReorged) -> None:
        """Blocks were undone."""
        self._reorgs.labels(str(event.chain_id)).inc()
        self._reorg_depth.labels(str(event.chain_id)).observe(event.depth)
        self._log.warning("reorg_followed", chain_id=event.chain_id, depth=event.depth, ancestor=event.ancestor.number)

    def pools_loaded(self, chain_id: int, block: int, pools: int, reason: str) -> None:
        """All pools were read from the chain."""
        self._reloads.labels(str(chain_id)).inc()
        self._log.info("pools_loaded", chain_id=chain_id, block=block, pools=pools, reason=reason)

    def heads_missed(self, chain_id: int, reason: str) -> None:
        """The head subscription has a gap."""
        self._gaps.labels(str(chain_id)).inc()
        self._log.info("heads_missed", chain_id=chain_id, reason=reason)

    def node_troubled(self, chain_id: int, reason: str, *, first: bool) -> None:
        """A call to the node failed; it will be tried again. Only the ``first`` failure in a row is a warning."""
        self._troubles.labels(str(chain_id)).inc()
        tell = self._log.warning if first else self._log.debug
        tell("node_troubled", chain_id=chain_id, reason=reason)

    def opportunity_found(self, event: OpportunityFound) -> None:
        """A strategy found a chance and it is stored."""
        self._found.labels(str(event.chain_id), event.strategy).inc()
        self._log.info(
            "opportunity_found",
            chain_id=event.chain_id,
            opportunity=event.id,
            strategy=event.strategy,
            edge_bps=event.edge_bps,
        )

    def opportunity_lost(self, event: OpportunityFound, reason: str) -> None:
        """The bus did not take an opportunity in time."""
        self._lost.labels(str(event.chain_id)).inc()
        self._log.warning("opportunity_lost", chain_id=event.chain_id, opportunity=event.id, reason=reason)

    def publish_retried(self, chain_id: int, reason: str) -> None:
        """The bus did not take a block; it is tried again until it does."""
        self._retries.labels(str(chain_id)).inc()
        self._log.warning("publish_retried", chain_id=chain_id, reason=reason)

    def cache_state(self, chain_id: int, *, up: bool, reason: str = "") -> None:
        """The price cache was lost or came back."""
        self._cache.labels(str(chain_id)).set(int(up))
        if up:
            self._log.info("price_cache_up", chain_id=chain_id)
        else:
            self._log.warning("price_cache_lost", chain_id=chain_id, reason=reason)


class DiscoveryMoments:
    """What can happen in the search for new pools. A flood of pools is counted, not logged."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        chain = ("chain",)
        self._announced = metrics.counter("pools_announced_total", "Pools that factories announced", chain)
        self._refused = metrics.counter("pools_refused_total", "Announced pools that are not looked at further", chain)
        self._unscanned = metrics.counter("blocks_unscanned_total", "Blocks whose new pools were not looked for", chain)
        self._troubles = metrics.counter("discovery_troubles_total", "Node calls of the discovery that failed", chain)
        self._tokens = metrics.counter("tokens_unusable_total", "Tokens without usable decimals", chain)
        self._watched = metrics.gauge("pools_discovered", "Discovered pools that are watched", chain)
        self._candidates = metrics.gauge("pool_candidates", "Pools that may be watched one day", chain)
        self._lists = metrics.counter("lists_refused_total", "Lists that could not be read; the old ones stay")

    def pool_announced(self, chain_id: int) -> None:
        """A factory announced a pool."""
        self._announced.labels(str(chain_id)).inc()

    def refused(self, chain_id: int, address: str, reason: str) -> None:
        """A pool is not looked at further."""
        self._refused.labels(str(chain_id)).inc()
        self._log.debug("pool_refused", chain_id=chain_id, pool=address, reason=reason)

    def pool_watched(self, chain_id: int, address: str) -> None:
        """A discovered pool joined."""
        self._log.info("pool_watched", chain_id=chain_id, pool=address)

    def pool_left(self, chain_id: int, address: str, reason: str) -> None:
        """A pool is watched no longer."""
        self._log.info("pool_left", chain_id=chain_id, pool=address, reason=reason)

    def token_unusable(self, chain_id: int, address: str, reason: str) -> None:
        """A token does not say how many decimals it has; it is never traded."""
        self._tokens.labels(str(chain_id)).inc()
        self._log.info("token_unusable", chain_id=chain_id, token=address, reason=reason)

    def token_doubtful(self, chain_id: int, address: str, reason: str) -> None:
        """A token and a list say different things."""
        self._log.warning("token_doubtful", chain_id=chain_id, token=address, reason=reason)

    def counted(self, chain_id: int, watched: int, candidates: int) -> None:
        """How many pools there are now."""
        self._watched.labels(str(chain_id)).set(watched)
        self._candidates.labels(str(chain_id)).set(candidates)

    def block_unscanned(self, chain_id: int, number: int) -> None:
        """Blocks came faster than their new pools could be looked for."""
        self._unscanned.labels(str(chain_id)).inc()
        self._log.warning("block_unscanned", chain_id=chain_id, block=number)

    def troubled(self, chain_id: int, reason: str) -> None:
        """The node failed; it is tried again."""
        self._troubles.labels(str(chain_id)).inc()
        self._log.debug("discovery_troubled", chain_id=chain_id, reason=reason)

    def lists_read(self, blocked: int, allowed: int, lists: Sequence[TokenList]) -> None:
        """The lists of tokens and pools were read."""
        described = [f"{each.name} {each.version} of {each.timestamp}, sha256 {each.digest}" for each in lists]
        faults = sum(len(each.faults) for each in lists)
        self._log.info("lists_read", blocked=blocked, allowed=allowed, token_lists=described, entries_left_out=faults)

    def list_refused(self, reason: str) -> None:
        """A list cannot be read; what was read before stays."""
        self._lists.inc()
        self._log.warning("list_refused", reason=reason)
