"""Finding new pools, and deciding which of them are watched; all of it beside the path of the blocks.

A pool goes from its factory's event through these doors: it trades a token of the configured pools (an *anchor*, which
has a price), no list objects, it holds enough of its anchors, its tokens say how many decimals they have, its whole
state can be read, and its depth passes the liquidity filter. A pool with too little stays a candidate and is looked at
again in turn. Every stage has a bound, so a flood of new pools is worked off slowly and delays nothing else.

Whatever the reason for which a pool would leave: as long as something held can be sold in it, or may be, it stays, for
exits only. One that nobody could carry any more is the exception, and is told as such.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from dexlane.chain.factories import Factory, NewPool
from dexlane.chain.rpc import Rpc, RpcError, RpcUnavailable
from dexlane.chain.token_facts import TokenFacts
from dexlane.domain.liquidity_filter import LiquidityFilter, Ratio, Thresholds, anchor_depth, anchor_prices
from dexlane.domain.pool_book import PoolBook
from dexlane.events.market import BlockApplied
from dexlane.values.chains import ZERO_ADDRESS, BlockRef
from dexlane.values.pools import Pool, PoolState
from market_feed.discovery.access import Access
from market_feed.discovery.candidates import Candidate, Candidates
from market_feed.discovery.holdings import Held, Holdings, pools_to_keep, to_bring_back
from market_feed.discovery.reading import Announcements, CandidateReader, has_many_ticks, objection_to_size
from market_feed.metrics import DiscoveryMoments

RETRY_S = 0.5


class Watcher(Protocol):
    """Whoever keeps the pool book."""

    def watch(self, pool: Pool, block: BlockRef) -> bool:
        """Let a pool with its state after ``block`` join; False when ``block`` is no longer the tip."""
        ...

    def unwatch(self, address: str) -> None:
        """Let a pool leave."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a flood cannot exceed: blocks waiting, candidates, and per block pools screened and loaded.

    ``attempts``: a pool that the node cannot give so often in a row is given up.
    """

    blocks: int = 1_024
    candidates: int = 5_000
    screened: int = 100
    loaded: int = 8
    attempts: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryRules:
    """What is looked for on a chain. ``quote`` is the address of the token that depths are counted in,
    ``wrapped_native`` that of the token that stands for the chain's coin, where it is known."""

    chain_id: int
    quote: str
    wrapped_native: str | None
    factories: tuple[Factory, ...]
    thresholds: Thresholds
    bounds: Bounds = field(default_factory=Bounds)


class Discovery:
    """The search for new pools of one chain.

    ``begin`` and ``note`` are called by the feed and return at once; everything that waits for the node happens in
    ``run``.
    """

    def __init__(
        self, rules: DiscoveryRules, rpc: Rpc, watcher: Watcher, access: Access, moments: DiscoveryMoments
    ) -> None:
        self.holdings = Holdings()
        """What is held; whoever reads the bus feeds it."""
        self.candidates = Candidates(rules.bounds.candidates)
        """Pools that may be watched one day, the one that waited longest first."""
        self.only_for_exits: frozenset[str] = frozenset()
        """Pools that would have left, were nothing held that can be sold in them."""
        self._rules = rules
        self._held = Held(frozenset(), complete=False)
        self._kept: frozenset[str] = frozenset()
        self._objected: frozenset[str] = frozenset()
        self._watcher, self._access = watcher, access
        self._reader = CandidateReader(rules.chain_id, rpc, access, moments)
        self._moments = moments
        self._announced = Announcements(rules.chain_id, rpc, rules.factories, rules.bounds.blocks, moments)
        self._filter = LiquidityFilter(rules.thresholds)
        self._origins: dict[str, NewPool] = {}
        self._joining: dict[str, BlockRef] = {}
        self._touched: set[str] = set()
        self._configured: frozenset[str] = frozenset()
        self._book = PoolBook()
        self._tip: BlockRef | None = None
        self._lists_version = -1
        self._wake = asyncio.Event()

    @property
    def tokens(self) -> Mapping[str, TokenFacts]:
        """What the tokens of candidates said about themselves, those that are never traded included."""
        return self._reader.tokens

    @property
    def watched(self) -> frozenset[str]:
        """Discovered pools that are watched or about to be."""
        return self._filter.watched

    @property
    def awaited(self) -> tuple[str, ...]:
        """Pools that are not watched at this moment, but were and may be needed."""
        return tuple(each.new.address for each in self.candidates if each.followed and self._held.may_be(each.new))

    def remember(self, earlier: Iterable[NewPool]) -> None:
        """Look at these pools as well: they were watched in an earlier life of the process, or by another one."""
        self.candidates.put_first(earlier)
        self._lists_version = -1

    def begin(self, book: PoolBook, tip: BlockRef) -> None:
        """The feed begins (anew) at ``tip`` with the configured pools; what was watched before must earn it again."""
        self._configured = frozenset(book.pools)
        self._book, self._tip = book, tip
        self._joining.clear()
        self._touched.clear()
        self.candidates.put_first([self._origins.pop(address) for address in self._filter.by_depth()])
        self._filter = LiquidityFilter(self._rules.thresholds)
        for address in self._configured:
            self.candidates.remove(address)
        self._lists_version = -1
        self._wake.set()

    def note(self, event: BlockApplied) -> None:
        """A block was applied to the book."""
        self._announced.note(event.block)
        self._tip = event.block
        self._touched.update(delta.pool for delta in event.deltas if delta.pool in self._origins)
        self._wake.set()

    async def run(self) -> None:
        """Search for ever, a bounded piece of work after each block."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.work()
            except (RpcError, RpcUnavailable) as error:
                self._moments.troubled(self._rules.chain_id, str(error))
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    async def work(self) -> None:
        """One piece of work. Raises ``RpcError`` or ``RpcUnavailable``; what was not done is done the next time."""
        self._settle_joins()
        self._see_what_is_held()
        self._obey_lists()
        configured = [self._book.pools[address] for address in self._configured & self._book.pools.keys()]
        prices = _with_coin(anchor_prices(configured, self._rules.quote), self._rules.wrapped_native)
        await self._measure_touched(prices)
        kept = [new for address, new in self._origins.items() if address in self._kept]
        lost = to_bring_back(self._held, self.candidates, kept, self._filter.room)
        for candidate in lost[: self._rules.bounds.loaded]:
            self._kept |= {candidate.new.address}
            await self._take(candidate, prices)
        async for new in self._announced.read():
            self._announce(new)
        for candidate in await self._screen(prices):
            await self._take(candidate, prices)
        self._tell_kept()

    def _settle_joins(self) -> None:
        """See who really joined, and who was taken out by a reorganisation: they are candidates again."""
        for address in self._filter.watched:
            at = self._joining.get(address)
            if address in self._book.pools:
                if self._joining.pop(address, None) is not None:
                    self._moments.pool_watched(self._rules.chain_id, address)
            elif at != self._tip:
                self._let_go(address, first=True)

    def _see_what_is_held(self) -> None:
        if self._tip is not None:
            self._held = self.holdings.at(self._tip.number)
        trading = {address for token in self._held.tokens for address in self._book.pools.trading(token)}
        configured = self._configured & trading if self._held.complete else self._configured
        self._kept = configured | pools_to_keep(self._held, self._filter.by_depth(), self._origins)

    def _obey_lists(self) -> None:
        """Take out what the lists object to, as soon as it is not needed any more."""
        if self._access.version == self._lists_version and not self._objected:
            return
        self._lists_version, kept = self._access.version, set[str]()
        lists = self._access.lists(self._rules.chain_id)
        for address, pool in self._book.pools.items():
            objection = lists.objection(address, (pool.key.token0.address, pool.key.token1.address))
            if objection is not None and address in self._kept:
                kept.add(address)
            elif objection is not None:
                self._leave(address, objection)
        for candidate in self.candidates:
            new = candidate.new
            objection = lists.objection(new.address, (new.token0, new.token1))
            if objection is not None and candidate.followed and self._held.may_be(new):
                kept.add(new.address)
            elif objection is not None:
                self.candidates.remove(new.address)
        self._objected = frozenset(kept)

    async def _measure_touched(self, prices: Mapping[str, Ratio]) -> None:
        touched, self._touched = self._touched | _unfit(self._filter, self._book.pools.states), set()
        for address in sorted(touched):
            await asyncio.sleep(0)  # the next block may be there
            if address not in self._book.pools or address not in self._filter.watched:
                continue
            if objection := objection_to_size(self._book.pools[address], held=address in self._kept):
                self._leave(address, objection)
                continue
            depth = anchor_depth(self._book.pools[address], prices) or 0
            if not self._filter.measure(address, depth, self._kept).watched:
                self._watcher.unwatch(address)
                self._let_go(address)
                self._moments.pool_left(self._rules.chain_id, address, "it has too little depth left")

    def _announce(self, new: NewPool) -> None:
        """A factory announced a pool."""
        self._moments.pool_announced(self._rules.chain_id)
        objection = self._access.lists(self._rules.chain_id).objection(new.address, (new.token0, new.token1))
        if objection is not None:
            self._moments.refused(self._rules.chain_id, new.address, objection)
        elif not {new.token0, new.token1} & self._anchors():
            self._moments.refused(self._rules.chain_id, new.address, "it trades no token whose price is known")
        elif not (new.address in self._book.pools or new.address in self._filter.watched or self.candidates.add(new)):
            self._moments.refused(self._rules.chain_id, new.address, "there are too many candidates")

    def _anchors(self) -> set[str]:
        keys = [self._book.pools[address].key for address in self._configured & self._book.pools.keys()]
        anchors = {self._rules.quote} | {token.address for key in keys for token in (key.token0, key.token1)}
        return anchors | {ZERO_ADDRESS} if self._rules.wrapped_native in anchors else anchors

    async def _screen(self, prices: Mapping[str, Ratio]) -> list[Candidate]:
        """The candidates in turn that hold enough of their anchors to have the depth; the balance bounds it from above.

        Only anchors are asked, in one call for all.
        """
        bounds, least = self._rules.bounds, self._rules.thresholds.enter
        turn = list(islice(self.candidates, bounds.screened))
        if not turn or self._tip is None:
            return []
        worth = await self._reader.worth([each.new for each in turn], prices, self._tip)
        rich = [each for each in turn if worth.get(each.new.address, 0) >= least]
        waiting = {each.new.address for each in rich[bounds.loaded :]}  # only for their turn to be loaded
        for each in turn:
            if each.new.address not in waiting:
                self.candidates.looked_at(each)
        return rich[: bounds.loaded]

    async def _take(self, candidate: Candidate, prices: Mapping[str, Ratio]) -> None:
        """Read a candidate's whole state at the tip, measure it, and let it join."""
        new, tip = candidate.new, self._tip
        if tip is None:
            return
        try:
            pool = await self._reader.load(new, tip, held=new.address in self._kept)
        except ValueError as error:
            self._give_up(new.address, str(error))
            return
        except RpcError as error:
            candidate.failed += 1
            if candidate.failed >= self._rules.bounds.attempts and not candidate.followed:
                self._give_up(new.address, str(error))
            return
        judgement = self._filter.measure(new.address, anchor_depth(pool, prices) or 0, self._kept)
        for leaving in judgement.leaving:
            self._watcher.unwatch(leaving)
            self._let_go(leaving)
            self._moments.pool_left(self._rules.chain_id, leaving, "a deeper pool takes its place")
        if judgement.watched:
            self.candidates.remove(new.address)
            self._origins[new.address] = new
            self._joining[new.address] = tip
            if not self._watcher.watch(pool, tip):
                self._let_go(new.address, first=True)

    def _let_go(self, address: str, *, first: bool = False) -> None:
        """No longer watched, a candidate again: the ``first`` in line when only the chain was faster."""
        self._filter.remove(address)
        self._joining.pop(address, None)
        origin = self._origins.pop(address, None)
        if origin is None:
            return
        if first:
            self.candidates.put_first([origin])
        elif not self.candidates.add(origin, followed=True):
            self._moments.refused(self._rules.chain_id, address, "there are too many candidates")

    def _tell_kept(self) -> None:
        """Say how many pools there are, and which are watched for no other reason than that something is held."""
        kept = self._objected | _unfit(self._filter, self._book.pools.states)
        for address in kept - self.only_for_exits:
            self._moments.pool_kept(self._rules.chain_id, address)
        self.only_for_exits = kept
        self._moments.counted(self._rules.chain_id, len(self._filter.watched), len(self.candidates))

    def _give_up(self, address: str, reason: str) -> None:
        """Not a candidate any more; another event of its factory makes it one again."""
        self.candidates.remove(address)
        self._moments.refused(self._rules.chain_id, address, reason, held=address in self._kept)

    def _leave(self, address: str, reason: str) -> None:
        """Watched no longer, and no candidate either."""
        self._watcher.unwatch(address)
        self._filter.remove(address)
        self._joining.pop(address, None)
        self._origins.pop(address, None)
        self._moments.pool_left(self._rules.chain_id, address, reason, held=address in self._kept)


def _unfit(watched: LiquidityFilter, states: Mapping[str, PoolState]) -> set[str]:
    """Pools that are too shallow or too large to be watched for another reason than that something is held."""
    large = {each for each in watched.watched if each in states and has_many_ticks(states[each])}
    return large | watched.shallow


def _with_coin(prices: dict[str, Ratio], wrapped: str | None) -> dict[str, Ratio]:
    """Prices with that of the chain's coin, which Uniswap V4 trades as such: it is worth its wrapped token."""
    return prices | {ZERO_ADDRESS: prices[wrapped]} if wrapped in prices else prices
