"""What a strategy is: blocks in, opportunities out. Pure and deterministic; its state is undone with the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dexlane.domain.pool_book import PoolBook
from dexlane.events.market import BlockApplied
from dexlane.events.opportunity import OpportunityFound
from dexlane.values.pools import Pool
from dexlane.values.routes import Leg, Route


@dataclass(frozen=True, slots=True)
class BlockContext:
    """A block that the pool book has just applied: all that a strategy may look at."""

    event: BlockApplied
    book: PoolBook
    touched: frozenset[str]
    """Addresses of the pools that the block changed."""
    now_ms: int
    """Unix time in milliseconds, stamped on what is found; no decision depends on it."""

    @classmethod
    def of(cls, event: BlockApplied, book: PoolBook, now_ms: int) -> BlockContext:
        """The context of a block: it touched the watched pools that its deltas name."""
        return cls(event, book, frozenset(delta.pool for delta in event.deltas if delta.pool in book.pools), now_ms)


class Strategy(Protocol):
    """A rule that finds opportunities.

    ``on_block`` is called once for every block that joins the chain, in order, after a reorganisation for the blocks of
    the new branch. A strategy that remembers earlier blocks connects them by parent hash and forgets the undone ones.
    """

    @property
    def name(self) -> str:
        """The name that books enable and that appears in every opportunity."""
        ...

    @property
    def version(self) -> int:
        """Raised when the same blocks would give other opportunities."""
        ...

    def on_block(self, context: BlockContext) -> list[OpportunityFound]:
        """What this block offers, best first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a strategy says about a chance; amounts in the smallest unit of the route's first token."""

    route: Route
    size_hint: int
    expected_out: int
    edge_bps: int
    deadline_blocks: int
    signals: Mapping[str, str]
    addressee: str | None = field(default=None)


def found(strategy: Strategy, context: BlockContext, finding: Finding) -> OpportunityFound:
    """The event of a finding. Its id depends on strategy, version, block, route and addressee alone."""
    event = context.event
    return OpportunityFound(
        id=OpportunityFound.make_id(
            strategy.name, strategy.version, event.block.hash, finding.route, finding.addressee
        ),
        chain_id=event.chain_id,
        occurred_at_ms=context.now_ms,
        strategy=strategy.name,
        strategy_version=strategy.version,
        addressee=finding.addressee,
        block=event.block,
        deadline_block=event.block.number + finding.deadline_blocks,
        route=finding.route,
        size_hint=finding.size_hint,
        edge_bps=finding.edge_bps,
        expected_out=finding.expected_out,
        signals=dict(finding.signals),
        received_at_ns=event.received_at_ns,
    )


def leg_through(pool: Pool, token_in: str) -> Leg:
    """The leg that sells ``token_in`` in this pool. ``KeyError`` when the pool does not trade it."""
    return Leg(
        pool=pool.key.address,
        protocol=pool.key.protocol,
        fee_pips=pool.key.fee_pips,
        token_in=token_in,
        token_out=pool.key.other(token_in).address,
    )


class PoolsByBase:
    """Pools of a quote token and one other, grouped by the other. Rebuilt only when the set of pools changes."""

    def __init__(self, quote: str) -> None:
        self._quote = quote
        self._known: frozenset[str] = frozenset()
        self._groups: dict[str, tuple[str, ...]] = {}

    def groups(self, pools: Mapping[str, Pool]) -> Mapping[str, tuple[str, ...]]:
        """Pool addresses, sorted, by base token."""
        if pools.keys() != self._known:
            groups: dict[str, list[str]] = {}
            for address in sorted(pools):
                key = pools[address].key
                if not key.more_tokens and self._quote in (key.token0.address, key.token1.address):
                    groups.setdefault(key.other(self._quote).address, []).append(address)
            self._groups = {base: tuple(addresses) for base, addresses in groups.items()}
            self._known = frozenset(pools)
        return self._groups
