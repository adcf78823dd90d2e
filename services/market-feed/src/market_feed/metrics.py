"""The moments of the market feed: each is logged once and counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from dexlane.domain.listing import TokenList
from dexlane.domain.tripwire import REPAIRED_BY_SNAPSHOT, Finding
from dexlane.events.base import Event
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.events.opportunity import OpportunityFound
from dexlane.runtime.observability import Log, Metrics


class TakenOver(Protocol):
    """What a new writer had to publish first."""

    @property
    def events(self) -> Sequence[Event]: ...
    @property
    def is_gap(self) -> bool: ...


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
        self._writer = metrics.gauge("writer", "1 while this process writes for the chain, 0 on standby", chain)
        self._epoch = metrics.gauge("lease_epoch", "Grows with every change of the writer", chain)
        self._takeovers = metrics.counter("takeovers_total", "Times this process became the writer", chain)
        self._takeover = metrics.histogram("takeover_seconds", "From winning the lease to being the writer", chain)

    def block_applied(self, event: BlockApplied, stored_ns: int | None) -> None:
        """A block is applied, and stored on the bus at that time; None for a standby's."""
        chain = str(event.chain_id)
        self._tip.labels(chain).set(event.block.number)
        if stored_ns is not None:
            self._blocks.labels(chain).inc()
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

    def lease_taken(self, chain_id: int, epoch: int, plan: TakenOver, took_ns: int) -> None:
        """This process writes from now on; what the stream missed is published."""
        chain = str(chain_id)
        self._writer.labels(chain).set(1)
        self._epoch.labels(chain).set(epoch)
        self._takeovers.labels(chain).inc()
        self._takeover.labels(chain).observe(took_ns / 1e9)
        self._log.info("lease_taken", chain_id=chain_id, epoch=epoch, published=len(plan.events), gap=plan.is_gap)

    def lease_lost(self, chain_id: int, holder: str) -> None:
        """Another process writes, or nobody for a moment; this one is its standby."""
        self._writer.labels(str(chain_id)).set(0)
        self._log.warning("lease_lost", chain_id=chain_id, holder=holder)


class NodeMoments:
    """What can happen to the providers of a chain. Implements ``dexlane.chain.providers.ProviderMoments``."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        which = ("chain", "provider")
        self._drops = metrics.counter("provider_drops_total", "Times a provider lied and was dropped", which)
        self._changes = metrics.counter("provider_changes_total", "Times that this provider came into use", which)
        self._fit = metrics.gauge("provider_fit", "1 while this provider is fit for use", which)
        self._unproved = metrics.counter("headers_unproved_total", "Headers with fields that are not known", which)
        self._untidy = metrics.counter("untidy_answers_total", "Answers that were put right", (*which, "what"))
        self._pending = metrics.counter("pending_transactions_total", "Pending ones announced", ("chain", "outcome"))
        self._audits = metrics.counter("log_audits_total", "Blocks compared with their receipts", (*which, "outcome"))

    def provider_dropped(self, chain_id: int, provider: str, reason: str) -> None:
        """It lied."""
        self._drops.labels(str(chain_id), provider).inc()
        self._log.error("provider_dropped", chain_id=chain_id, provider=provider, reason=reason)

    def provider_changed(self, chain_id: int, provider: str, reason: str) -> None:
        """Another provider is in use."""
        self._changes.labels(str(chain_id), provider).inc()
        self._log.warning("provider_changed", chain_id=chain_id, provider=provider, reason=reason)

    def provider_fit(self, chain_id: int, provider: str, *, fit: bool) -> None:
        """It became fit for use, or unfit."""
        self._fit.labels(str(chain_id), provider).set(int(fit))

    def header_unproved(self, chain_id: int, provider: str, number: int) -> None:
        """A header's hash proves nothing."""
        self._unproved.labels(str(chain_id), provider).inc()
        self._log.debug("header_unproved", chain_id=chain_id, provider=provider, block=number)

    def answer_untidy(self, chain_id: int, provider: str, what: str) -> None:
        """An answer was put right."""
        self._untidy.labels(str(chain_id), provider, what).inc()
        self._log.info("answer_untidy", chain_id=chain_id, provider=provider, what=what)

    def audit_done(self, chain_id: int, provider: str, outcome: str) -> None:
        """Logs were compared with the receipts of their block."""
        self._audits.labels(str(chain_id), provider, outcome).inc()
        self._log.debug("audit_done", chain_id=chain_id, provider=provider, outcome=outcome)

    def pending_seen(self, chain_id: int, outcome: str) -> None:
        """A pending transaction was announced; far too many for a log line each."""
        self._pending.labels(str(chain_id), outcome).inc()


class DiscoveryMoments:
    """What can happen in the search for new pools. A flood of pools is counted, not logged."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        chain = ("chain",)
        self._announced = metrics.counter("pools_announced_total", "Pools that factories announced", chain)
        self._refused = metrics.counter("pools_refused_total", "Announced pools that are not looked at further", chain)
        self._lost = metrics.counter("held_pools_lost_total", "Pools of held tokens that could not be carried", chain)
        self._unscanned = metrics.counter("blocks_unscanned_total", "Blocks whose new pools were not looked for", chain)
        self._troubles = metrics.counter("discovery_troubles_total", "Node calls of the discovery that failed", chain)
        self._tokens = metrics.counter("tokens_unusable_total", "Tokens without usable decimals", chain)
        self._watched = metrics.gauge("pools_discovered", "Discovered pools that are watched", chain)
        self._candidates = metrics.gauge("pool_candidates", "Pools that may be watched one day", chain)
        self._lists = metrics.counter("lists_refused_total", "Lists that could not be read; the old ones stay")

    def pool_announced(self, chain_id: int) -> None:
        """A factory announced a pool."""
        self._announced.labels(str(chain_id)).inc()

    def refused(self, chain_id: int, address: str, reason: str, *, held: bool = False) -> None:
        """A pool is not looked at further."""
        self._refused.labels(str(chain_id)).inc()
        if held:
            self._held_pool_lost(chain_id, address, reason)
        self._log.debug("pool_refused", chain_id=chain_id, pool=address, reason=reason)

    def pool_watched(self, chain_id: int, address: str) -> None:
        """A discovered pool joined."""
        self._log.info("pool_watched", chain_id=chain_id, pool=address)

    def pool_left(self, chain_id: int, address: str, reason: str, *, held: bool = False) -> None:
        """A pool is watched no longer."""
        if held:
            self._held_pool_lost(chain_id, address, reason)
        self._log.info("pool_left", chain_id=chain_id, pool=address, reason=reason)

    def _held_pool_lost(self, chain_id: int, address: str, reason: str) -> None:
        """Something held can be sold in a pool, or may be, and nobody can carry it any more."""
        self._lost.labels(str(chain_id)).inc()
        self._log.error("held_pool_lost", chain_id=chain_id, pool=address, reason=reason)

    def pool_kept(self, chain_id: int, address: str) -> None:
        """A pool would leave, and stays for exits, because something held can be sold in it or may be."""
        self._log.warning("pool_kept", chain_id=chain_id, pool=address)

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


class TripwireMoments:
    """What can come out of comparing a local pool with the chain."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        self._samples = metrics.counter("tripwire_samples_total", "Pools compared with the chain", ("chain", "outcome"))
        self._defects = metrics.counter("tripwire_defects_total", "Local pools that differed", ("chain", "defect"))
        self._checked = metrics.gauge("tripwire_checked_block", "The newest block a pool was compared at", ("chain",))

    def pool_agreed(self, chain_id: int, block: int) -> None:
        """The local state is the chain's."""
        self._samples.labels(str(chain_id), "agreed").inc()
        self._checked.labels(str(chain_id)).set(block)

    def sample_failed(self, chain_id: int, pool: str, reason: str) -> None:
        """Nothing could be compared: the node did not answer, or the block is not remembered."""
        self._samples.labels(str(chain_id), "failed").inc()
        self._log.info("sample_failed", chain_id=chain_id, pool=pool, reason=reason)

    def defect_found(self, chain_id: int, pool: str, finding: Finding, evidence: Mapping[str, object]) -> None:
        """The local state is not the chain's. ``evidence`` is what was seen, for whoever looks into it."""
        self._samples.labels(str(chain_id), "differed").inc()
        self._defects.labels(str(chain_id), finding.defect).inc()
        tell = self._log.error if finding.defect in REPAIRED_BY_SNAPSHOT else self._log.warning
        tell(
            "pool_defect_found",
            chain_id=chain_id,
            pool=pool,
            defect=finding.defect,
            block=finding.block.number,
            block_hash=finding.block.hash,
            storage_changed=finding.storage_changed,
            evidence=dict(evidence),
        )
