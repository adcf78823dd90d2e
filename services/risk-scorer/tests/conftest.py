"""A scorer with a node, a cache and a mirror that the test drives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from dexlane.chain.abi import byte_string, frame, uint
from dexlane.chain.link import Request, RpcError, RpcUnavailable
from dexlane.chain.token_check.pools import Market, Where
from dexlane.domain.risk.bytecode.proxies import IMPLEMENTATION_SLOTS
from dexlane.domain.risk.bytecode.verdict import CodeVerdict, judge_code
from dexlane.domain.risk.compliance import ComplianceRules
from dexlane.domain.risk.evidence import Seen
from dexlane.domain.risk.factors import RiskLimits
from dexlane.domain.risk.sanctions import SanctionsList
from dexlane.domain.risk.token_verdict import TrialLimits
from dexlane.events.base import Event
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.compliance_files import built_in_rules, built_in_sanctions
from dexlane.runtime.observability import Metrics, configure_logging
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.testing.builders import (
    CHAIN_ID,
    NOW_MS,
    USDC,
    WETH,
    a_block,
    a_block_ref,
    a_pool_v2,
    a_pool_v3,
    an_address,
)
from risk_scorer.metrics import Moments
from risk_scorer.node_facts import DECIMALS, OWNER, SYMBOL
from risk_scorer.scorer import Policy, Scorer
from risk_scorer.tokens import ComplianceDesk, Surroundings, TokenDesk, TrialDesk, Trying

ZERO_WORD = "0x" + "0" * 64


@dataclass
class FakeToken:
    """A token contract as a node shows it."""

    code: str = "0x6001"
    decimals: int | None = 18
    symbol: bytes = b""
    owner: str | None = None
    slots: dict[str, str] = field(default_factory=dict)
    failure: str = "execution reverted"
    """What the node says of a call that the token does not take."""

    def answer(self, method: str, params: Sequence[Any]) -> Any:
        """What the node answers about it."""
        if method == "eth_getCode":
            return self.code
        if method == "eth_getStorageAt":
            return self.slots.get(params[1], ZERO_WORD)
        selector = params[0]["data"]
        if selector == DECIMALS and self.decimals is not None:
            return "0x" + uint(self.decimals).hex()
        if selector == SYMBOL and self.symbol:
            return "0x" + self.symbol.hex()
        if selector == OWNER and self.owner is not None:
            return "0x" + "0" * 24 + self.owner[2:]
        return RpcError(3 if self.failure == "execution reverted" else -32000, self.failure, "0x")


@dataclass
class FakeNode:
    """Answers batches about its tokens; counts them; can be down."""

    tokens: dict[str, FakeToken]
    down: bool = False
    batches: int = 0
    refusal: RpcError | None = None
    """Of everything but heads."""
    head_refusal: RpcError | None = None
    babble: Any = ()
    """Given in the place of every answer, unless it is empty."""

    async def call(self, method: str, *params: Any, timeout_s: float | None = None) -> Any:
        """As ``RpcClient.call``; it knows only heads, at the block that the bench stands on."""
        if self.down:
            raise RpcUnavailable("not connected")
        if self.head_refusal is not None:
            raise self.head_refusal
        if self.babble != ():
            return self.babble
        if method != "eth_getBlockByNumber":
            raise RpcError(-32601, "method not found")
        word = "0x" + "0" * 64
        return {
            "number": "0x64",
            "hash": word,
            "timestamp": "0x1",
            "gasLimit": "0x1c9c380",
            "miner": "0x" + "0" * 40,
            "mixHash": word,
        }

    async def batch(self, requests: Sequence[Request], *, timeout_s: float | None = None) -> list[Any]:
        """As ``RpcClient.batch``."""
        self.batches += 1
        if self.down:
            raise RpcUnavailable("not connected")
        if self.refusal is not None:
            return [self.refusal for _ in requests]
        if self.babble != ():
            return [self.babble for _ in requests]
        return [self._answer(method, params) for method, params in requests]

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        address = params[0]["to"] if method == "eth_call" else params[0]
        known = self.tokens.get(address)
        return known.answer(method, params) if known is not None else "0x" if method == "eth_getCode" else ZERO_WORD


class MemoryCache:
    """The cache without Redis."""

    def __init__(self) -> None:
        self.kept: dict[str, Seen[Any]] = {}

    async def recall(self) -> dict[str, Seen[Any]]:
        """Everything kept."""
        return {key.split()[0] if key.endswith(" ") else key: seen for key, seen in self.kept.items()}

    async def keep(self, facts: Any) -> None:
        """Keep."""
        self.kept |= {f"{seen.value.address} {getattr(seen.value, 'pool', '')}": seen for seen in facts}


def usdc() -> FakeToken:
    """USDC: a proxy of the older kind, with an owner."""
    return FakeToken(
        decimals=6,
        symbol=frame(byte_string(b"USDC")),
        owner="0x" + "5" * 40,
        slots={IMPLEMENTATION_SLOTS[2]: "0x" + "0" * 24 + "4" * 40},
    )


def weth() -> FakeToken:
    """WETH: plain code; its symbol in the style of early tokens."""
    return FakeToken(symbol=b"WETH".ljust(32, b"\0"))


async def judge(code: bytes) -> CodeVerdict:
    """Judges code in this process."""
    return judge_code(code)


@dataclass
class Bench:
    """Drives one scorer."""

    sanctions: SanctionsList = field(default_factory=built_in_sanctions)
    rules: ComplianceRules = field(default_factory=built_in_rules)

    def __post_init__(self) -> None:
        """A process at block 100 with empty memory."""
        self.clock = ManualClock(NOW_MS)
        self.node = FakeNode({USDC.address: usdc(), WETH.address: weth()})
        self.cache = MemoryCache()
        self.trial_cache = MemoryCache()
        self.told: list[Event] = []
        self.moments = Moments(configure_logging("risk-test", "CRITICAL"), Metrics("risk-test"))
        self.start()

    def start(self) -> None:
        """A new process: same node and cache, empty memory."""
        law = ComplianceDesk(CHAIN_ID, self.sanctions, self.rules)
        around = Surroundings(self.node, self.cache, law, self.publish, self.clock, self.moments, judge)  # type: ignore[arg-type]
        self.around = around
        self.desk = TokenDesk(CHAIN_ID, around, 1.0)
        self.trials = TrialDesk(CHAIN_ID, around, self.trying())
        self.mirror = PoolMirror(CHAIN_ID)
        for pool in (a_pool_v2(), a_pool_v3()):
            self.mirror.book.put(pool, a_block_ref(95))
        policy = Policy(
            limits=RiskLimits(minimum_depth=10_000 * 10**6),
            quote_token=USDC.address,
            volatility_blocks=8,
            refresh_blocks=50,
            block_wait_s=0.05,
        )
        self.scorer = Scorer(self.mirror, (self.desk, self.trials), policy, clock=self.clock, moments=self.moments)
        self.mirror.on_block(self.scorer.on_block)
        self.mirror.on_reorg(self.scorer.on_reorg)

    def trying(self) -> Trying:
        """Executed checks on the fake node, which refuses every simulation."""
        return Trying(
            node=self.node,  # type: ignore[arg-type]
            cache=self.trial_cache,  # type: ignore[arg-type]
            where=Where((Market("uniswap_v2", an_address("router")),), (USDC.address,)),
            limits=TrialLimits(),
            budget_s=1.0,
            every_blocks=(50, 5),
        )

    async def publish(self, event: Event) -> None:
        """Stored."""
        self.told.append(event)

    async def blocks(self, first: int, last: int, *deltas: Any, **fields: Any) -> None:
        """Blocks arrive at their times."""
        for number in range(first, last + 1):
            block = a_block(number, *(deltas if number == last else ()), **fields)
            self.clock.advance(max(0, block.occurred_at_ms - self.clock.now_ms()))
            await self.mirror.apply(block)

    async def gather(self) -> bool:
        """The background task's round."""
        return await self.desk.gather([USDC, WETH], self.mirror.tip or a_block_ref(100))


@pytest_asyncio.fixture
async def bench() -> Bench:
    """At block 100, with a little history and facts about both tokens."""
    bench = Bench()
    await bench.blocks(96, 100)
    assert await bench.gather()
    bench.node.batches = 0
    return bench


@pytest.fixture
def cold() -> Bench:
    """Before the first block."""
    return Bench()
