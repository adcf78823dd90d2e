"""What happens around the services: blocks and their reorganisations, prices, fees, verdicts, the operator."""

from __future__ import annotations

from random import Random
from typing import Any

from dexlane.chain.answers import Header
from dexlane.domain.amm.quoting import quote_route
from dexlane.domain.fees import fee_parameters, tiers
from dexlane.events.base import Event, FeeCap
from dexlane.events.control import Status
from dexlane.events.fees import FeeTier
from dexlane.events.market import BlockApplied
from dexlane.events.pools import PoolCheckpoint, PoolSnapshot
from dexlane.events.streams import stream_of
from dexlane.testing.builders import (
    CHAIN_ID,
    NO_CONTROLS,
    V2_POOL,
    a_book,
    a_book_changed,
    a_fee_quote,
    a_pool_v2,
    a_reorg,
    a_reserves_delta,
    a_route,
    a_verdict,
    an_entry_opportunity,
    lane_limits,
)
from dexlane.values.books import Book, ExitRules, Lane, Mode, RelayPolicy, RelayRules
from simulation.chain import SimulatedChain
from simulation.chance import Chance
from simulation.demand import FULL_BPS, Demand, base_fee_after
from simulation.processes import ACCOUNTS
from simulation.shape import Shape

GWEI = 10**9
BLOCK_S = 12.0
LIVE, PAPER = "live-one", "paper-one"
ROUTE = a_route()
MOST_BLOCKS = 600
"""Longer than any world."""


def books_for(shape: Shape) -> list[Book]:
    """A live book in both lanes, with room for two or three trades; and one on paper where paper-sim is."""
    limits = lane_limits(
        capital=shape.capital,
        max_trade=1_000 * 10**6,
        max_open_positions=shape.max_open_positions,
        max_orders_per_minute=shape.max_orders_per_minute,
    )
    shared: dict[str, Any] = {
        "level": 10,
        "limits": dict.fromkeys(Lane, limits),
        "exits": ExitRules(stop_loss_bps=150, take_profit_bps=150),
        # There is one pool and one token, and every block has its chance.
        "controls": NO_CONTROLS.model_copy(
            update={"max_token_bps": shape.max_token_bps, "duplicate_blocks": shape.duplicate_blocks}
        ),
    }
    rules = RelayRules(policy=RelayPolicy.PRIVATE_ONLY if shape.relays else RelayPolicy.PUBLIC)
    live = a_book(id=LIVE, mode=Mode.LIVE, accounts=ACCOUNTS, relays=rules, **shared)
    return [live, a_book(id=PAPER, **shared)] if "paper-sim" in shape.services else [live]


class Market:
    """Plays market-feed, gas-oracle, strategies and risk-scorer: it tells the bus what the chain does."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._chain: SimulatedChain = world.chain
        self._chance: Chance = world.chance
        self._usdc: dict[str, int] = {self._chain.tip.hash: 20_000_000 * 10**6}
        """USDC in the pool after each block, against 10,000 WETH."""
        self._fees: dict[str, int] = {}
        self._told: list[Header] = [self._chain.tip]
        self._sequence = 0
        self.books = books_for(world.shape)
        self.verdicts: list[Any] = []
        self.demand = Demand(self._chance.seed, MOST_BLOCKS) if world.shape.has_demand else None
        self._chain.base_fee_after = self._base_fee_after
        self._chain.luck = self._luck

    def tell(self, event: Event) -> None:
        """Store an event on the bus, as if its publisher had succeeded."""
        stream = stream_of(type(event)).name
        headers = {"Nats-Msg-Id": f"main:{event.id}"}
        self._sequence = self._world.broker.publish(stream, event.subject(), event.to_wire(), headers)

    def open(self) -> None:
        """Books and the first block."""
        for book in self.books:
            self.tell(a_book_changed(book))
        self.block()

    def say_again(self) -> None:
        """What is known of books and of the tip, to a broker that lost what it stored."""
        for book in self.books:
            self.tell(a_book_changed(book))
        tip = self._chain.tip
        self.tell(self._applied(tip))
        self._note_pools(tip)
        self._quote_fees(tip)

    def block(self) -> None:
        """The next block of the chain."""
        self._world.relays.mine(lambda: self._chain.mine(only=self._included()))
        self._world.exits.block()
        self._follow(0)

    def reorganise(self, draw: Random) -> None:
        """Replace some blocks: what was in them moves, is dropped, or turns out otherwise."""
        most = min(self._world.shape.max_reorg, len(self._chain.blocks) - 8)
        if most < 1:
            return
        depth = draw.choice((1, most, draw.randint(1, most)))
        undone = [tx.hash for block in self._chain.blocks[-depth:] for tx in block.transactions]
        dropped = [tx_hash for tx_hash in undone if draw.random() < 0.3]
        self._world.effect("reorg", depth, len(undone), len(dropped))
        self._world.counts["reorgs"] += 1
        self._world.counts["undone"] += len(undone)
        self._chain.reorg(depth, drop=dropped, reinclude=draw.random() < 0.6, longer=draw.randint(0, 1))
        self._world.exits.replaced()
        self._follow(depth)

    def verdict(self, lane: Lane, draw: Random, blocks: int | None = None) -> None:
        """An approved entry, for every book, that is worth something for so many blocks."""
        tip = self._chain.tip
        size = draw.choice((400, 700, 1_000)) * 10**6
        pool = a_pool_v2(reserve0=self._usdc[tip.hash])
        found = an_entry_opportunity(
            block=tip.ref,
            strategy_version=1 if lane is Lane.FAST else 2,
            deadline_block=tip.number + (blocks or draw.choice((2, 3, 6, 12))),
            route=ROUTE,
            size_hint=size,
            edge_bps=400,
            expected_out=quote_route({V2_POOL: pool}, ROUTE, size).amount_out,
            occurred_at_ms=self._now_ms(),
            received_at_ns=self._now_ms() * 10**6,
        )
        verdict = a_verdict(found, lane=lane)
        self.verdicts.append(verdict)
        self.tell(verdict)

    def _now_ms(self) -> int:
        return int(self._world.clock.now_ms())

    def _included(self) -> list[str] | None:
        """Which pending transactions the next block takes: None for all that can pay."""
        if self._chance.fault("chain.left out", self._world.shape.left_out) is not None:
            return []
        if self.demand is None:
            return None
        base_fee, tip = self._base_fee_after(self._chain.tip), self.demand.tip_wei(self._chain.tip.number + 1)
        return [tx.hash for tx in self._chain.pool.values() if tx.effective_tip_wei(base_fee) >= tip]

    def _luck(self, tx_hash: str, block_hash: str) -> int | None:
        """What a trade brings in a block. After a reorganisation it is another block, and may be another end."""
        draw = Random(f"{self._chance.seed}/{tx_hash}/{block_hash}")  # noqa: S311
        if self._chance.active and draw.random() < self._world.shape.reverts:
            return None
        return draw.randint(0, 60)

    def _base_fee_after(self, parent: Header) -> int:
        fee = self._fees.get(parent.hash)
        if fee is None and self.demand is not None:
            fee = base_fee_after(parent.base_fee_per_gas_wei, self._fullness_bps(parent))
            self._fees[parent.hash] = fee
        if fee is None:
            spike = self._chance.fault("chain.spike", self._world.shape.spike)
            if spike is not None:
                fee = parent.base_fee_per_gas_wei * spike.randint(2, 10)
            else:
                towards = 2 * GWEI - parent.base_fee_per_gas_wei
                most = max(1, parent.base_fee_per_gas_wei // 8)
                fee = parent.base_fee_per_gas_wei + max(-most, min(most, towards))
            self._fees[parent.hash] = fee
        return fee

    def _fullness_bps(self, header: Header) -> int:
        assert self.demand is not None
        return self.demand.fullness_bps(header.number, header.base_fee_per_gas_wei)

    def _gas_used(self, header: Header) -> int:
        return header.gas_used if self.demand is None else header.gas_limit * self._fullness_bps(header) // FULL_BPS

    def price_wei(self, number: int) -> int:
        """What a canonical block took at least, per gas."""
        tip = 0 if self.demand is None else self.demand.tip_wei(number)
        return self._chain.blocks[number].header.base_fee_per_gas_wei + tip

    def rush(self) -> None:
        """Others may be in a hurry from now on: accounts are opened."""
        if self.demand is not None:
            self.demand.begins_at = self._chain.tip.number + 1

    def calm_down(self) -> None:
        """Nobody is in a hurry any more."""
        if self.demand is not None:
            self.demand.calm_from = self._chain.tip.number

    def _follow(self, depth: int) -> None:
        """Tell what is new in the canonical chain."""
        canonical = [block.header for block in self._chain.blocks]
        kept = len(self._told) - depth
        if depth:
            reorg = a_reorg(self._told[-1].ref, canonical[kept - 1].ref, canonical[-1].ref)
            self.tell(reorg.model_copy(update={"occurred_at_ms": self._now_ms()}))
        for header in canonical[kept:]:
            self._world.effect("block", header.number, header.hash[:10])
            self._move_price(header)
            self.tell(self._applied(header))
            self._note_pools(header)
        self._told = canonical
        self._quote_fees(canonical[-1])

    def _move_price(self, header: Header) -> None:
        before = self._usdc[header.parent_hash]
        most = self._world.shape.price_moves_bps if self._chance.active else 0
        step = Random(f"{self._chance.seed}/{header.hash}").randint(-most, most)  # noqa: S311
        self._usdc[header.hash] = before + before * step // 10_000

    def _applied(self, header: Header) -> BlockApplied:
        return BlockApplied(
            id=BlockApplied.make_id(CHAIN_ID, header.hash),
            chain_id=CHAIN_ID,
            occurred_at_ms=self._now_ms(),
            block=header.ref,
            parent_hash=header.parent_hash,
            timestamp_s=header.timestamp_s,
            base_fee_per_gas_wei=header.base_fee_per_gas_wei,
            next_base_fee_per_gas_wei=self._base_fee_after(header),
            gas_used=self._gas_used(header),
            gas_limit=header.gas_limit,
            deltas=(a_reserves_delta(reserve0=self._usdc[header.hash]),),
            received_at_ns=self._now_ms() * 10**6,
        )

    def _note_pools(self, header: Header) -> None:
        bucket, pool = self._world.broker.bucket, a_pool_v2(reserve0=self._usdc[header.hash])
        snapshot = PoolSnapshot(chain_id=CHAIN_ID, block=header.ref, pool=pool)
        checkpoint = PoolCheckpoint(
            chain_id=CHAIN_ID, block=header.ref, market_sequence=self._sequence, pools=(V2_POOL,)
        )
        bucket[PoolSnapshot.key("main", CHAIN_ID, V2_POOL)] = snapshot.model_dump_json().encode()
        bucket[PoolCheckpoint.key("main", CHAIN_ID)] = checkpoint.model_dump_json().encode()

    def _quote_fees(self, header: Header) -> None:
        base_fee = self._base_fee_after(header)
        if self.demand is None:
            cap = FeeCap(max_fee_per_gas_wei=2 * base_fee + GWEI, max_priority_fee_per_gas_wei=GWEI)
            caps = dict.fromkeys(FeeTier, cap)
        else:
            history = self.demand.history(header.number, self._fullness_bps(header))
            caps = tiers(history, base_fee, fee_parameters(CHAIN_ID))
        quote = a_fee_quote(block=header.ref, next_base_fee_per_gas_wei=base_fee, tiers=caps)
        self.tell(quote.model_copy(update={"occurred_at_ms": self._now_ms()}))


class Operator:
    """Halts and resumes through the gateway."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self.is_halted = False

    async def halt(self, scope: Status) -> None:
        """Say it; whether it was said is known only when the gateway answers."""
        self.is_halted = True
        await self._say(lambda keeper: keeper.halt(scope, "a drill", (CHAIN_ID,)))

    async def resume(self) -> None:
        """Release whatever holds trading back: the operator's own halt, and those of services that failed."""
        await self._say(self._release)
        self.is_halted = False

    @staticmethod
    async def _release(keeper: Any) -> None:
        held = [word.source for word in keeper.words.values() if word.status is not Status.ACTIVE]
        for source in held:
            seen = {CHAIN_ID: keeper.words[CHAIN_ID, source].status_version}
            await keeper.resume(Status.ACTIVE, "the drill is over", seen, source)

    async def _say(self, word: Any) -> None:
        process = self._world.processes.get("gateway")
        if process is None or not process.is_up:
            return
        await self._world.inside(process.life, lambda: word(process.life.service.keeper))
