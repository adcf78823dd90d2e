"""The gas oracle as a specification: blocks in, quotes out, and nothing invented when the node is silent."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from pydantic import ValidationError

from dexlane.chain.answers import Header
from dexlane.chain.keccak import keccak256
from dexlane.chain.rollup_terms import GAS_PRICE_ORACLE, L1_BLOCK
from dexlane.chain.rpc import RpcError, RpcUnavailable
from dexlane.domain.breakers.policy import policies
from dexlane.domain.fee_limits import FeeCeilings, usual_ceilings
from dexlane.domain.fees import GWEI, FeeWindows, fee_parameters, next_base_fee
from dexlane.events.base import Event
from dexlane.events.breakers import BreakerChanged, BreakerKind, BreakerPhase, BreakerReset
from dexlane.events.control import Status, TradingStatus
from dexlane.events.fees import DataFeeRule, FeeLevel, FeeQuoted, FeeTier
from dexlane.events.market import BlockApplied
from dexlane.runtime import spoken_breakers
from dexlane.runtime.breaker_board import BoardPlace, BreakerMoments
from dexlane.runtime.clock import ManualClock
from dexlane.runtime.consuming import Delivery
from dexlane.runtime.errors import Transient
from dexlane.runtime.observability import Log, Metrics
from dexlane.runtime.spoken_breakers import SpokenBreakers
from dexlane.testing.fake_chain import FakeChain
from gas_oracle.alarms import GAS, GasAlarms
from gas_oracle.app import why_not_fresh
from gas_oracle.fee_window import FeeWindow
from gas_oracle.handlers import Deps, routes
from gas_oracle.metrics import OracleMoments
from gas_oracle.quotes import DEADLINES, QuoteRules
from gas_oracle.settings import CeilingSettings, Settings

DELIVERY = Delivery("m", "main.1.block.applied", 1, 1)


class Bus:
    def __init__(self) -> None:
        self.stored: list[FeeQuoted] = []
        self.words: list[TradingStatus] = []
        self.facts: list[BreakerChanged] = []
        self.refuses: type[Event] | None = None

    async def publish(self, event: Event) -> None:
        if self.refuses is not None and isinstance(event, self.refuses):
            raise Transient("the bus is away")
        if isinstance(event, TradingStatus):
            self.words.append(event)
        elif isinstance(event, BreakerChanged):
            self.facts.append(event)
        else:
            assert isinstance(event, FeeQuoted)
            self.stored.append(event)


class Oracle:
    def __init__(self, chain_id: int = 1, ceilings: FeeCeilings | None = None, before: Oracle | None = None) -> None:
        self.chain = FakeChain(chain_id)
        self.rpc = self.chain.rpc()
        self.bus = Bus() if before is None else before.bus
        self.clock = ManualClock() if before is None else before.clock
        self.window = FeeWindow(fee_parameters(chain_id), FeeWindows(tip_blocks=20, base_fee_blocks=20))
        self.metrics = Metrics("gas-oracle")
        ceilings = ceilings or usual_ceilings(chain_id)
        log = Log(logging.getLogger("test"))
        usual = policies({"gas": {"jitter_bps": 0}})
        place = BoardPlace(
            service="gas-oracle",
            chain_id=chain_id,
            policies=usual | {BreakerKind.GAS: ceilings.breaker(usual[BreakerKind.GAS])},
            clock=self.clock,
            moments=BreakerMoments(self.metrics, log),
        )
        breakers = SpokenBreakers(self.bus, place, (GAS,))  # type: ignore[arg-type]
        self.deps = Deps(
            bus=self.bus,
            nodes={chain_id: self.rpc},
            windows={chain_id: self.window},
            rules={chain_id: QuoteRules(tier_blocks=20, probability_bps=9_500, ceilings=ceilings)},
            alarms={chain_id: GasAlarms(ceilings, breakers)},
            clock=self.clock,
            moments=OracleMoments(self.metrics, log),
        )
        on_block, on_reset = routes(self.deps).followers
        self._handle: Callable[[BlockApplied, Delivery], Awaitable[None]] = on_block.handler
        self._reset: Callable[[BreakerReset, Delivery], Awaitable[None]] = on_reset.handler

    async def see(self, *headers: Header) -> None:
        for header in headers:
            await self._handle(applied(header, self.chain.id), DELIVERY)

    async def see_price(self, gwei: int, blocks: int = 1) -> None:
        """Blocks after which the next base fee is this much, for full blocks would take long to get there."""
        for _ in range(blocks):
            self.chain.next_base_fee_wei = gwei * GWEI
            [header] = self.chain.mine()
            event = applied(header, self.chain.id)
            self.clock.advance(12_000)
            await self._handle(event.model_copy(update={"next_base_fee_per_gas_wei": gwei * GWEI}), DELIVERY)

    async def reset(self, version: int) -> None:
        word = BreakerReset(
            id=BreakerReset.make_id(1, GAS.source, version),
            chain_id=1,
            occurred_at_ms=0,
            source=GAS.source,
            reset_version=version,
            reason="looked at",
        )
        await self._reset(word, DELIVERY)

    @property
    def breaker(self) -> BreakerChanged:
        return self.bus.facts[-1]

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"dexlane_gas_oracle_{name}", {"chain": str(self.chain.id)})


def applied(header: Header, chain_id: int = 1) -> BlockApplied:
    params = fee_parameters(chain_id)
    fees = header.base_fee_per_gas_wei
    return BlockApplied(
        id=BlockApplied.make_id(chain_id, header.hash),
        chain_id=chain_id,
        occurred_at_ms=header.timestamp_s * 1000,
        block=header.ref,
        parent_hash=header.parent_hash,
        timestamp_s=header.timestamp_s,
        base_fee_per_gas_wei=fees,
        next_base_fee_per_gas_wei=next_base_fee(fees, header.gas_used, header.gas_limit, params),
        gas_used=header.gas_used,
        gas_limit=header.gas_limit,
        received_at_ns=1,
    )


@pytest.fixture(autouse=True)
def last_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bus of these tests gives back what it last stored, as the server does."""

    async def read(bus: Bus, service: str, chain_id: int) -> list[BreakerChanged]:
        return bus.facts[-1:]

    monkeypatch.setattr(spoken_breakers, "last_facts", read)


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


async def test_each_block_is_answered_with_the_exact_next_base_fee(oracle: Oracle) -> None:
    headers = oracle.chain.mine(3)
    await oracle.see(*headers)
    following = oracle.chain.mine(1)[0]
    assert [quote.block.number for quote in oracle.bus.stored] == [1, 2, 3]
    assert oracle.bus.stored[-1].next_base_fee_per_gas_wei == following.base_fee_per_gas_wei
    assert list(oracle.bus.stored[-1].tiers) == list(FeeTier)


async def test_the_window_grows_by_one_block_and_is_bounded(oracle: Oracle) -> None:
    asked: list[int] = []
    original = oracle.rpc.fee_history

    async def counting(count: int, newest: int | str, percentiles: tuple[int, ...]) -> object:
        asked.append(count)
        return await original(count, newest, percentiles)

    oracle.rpc.fee_history = counting  # type: ignore[method-assign,assignment]
    await oracle.see(*oracle.chain.mine(30))
    assert asked == [20] + [1] * 29
    assert [row.number for row in oracle.window.rows] == list(range(11, 31))
    assert oracle.bus.stored[-1].sampled_blocks == 20


async def test_after_a_reorg_the_window_is_read_anew(oracle: Oracle) -> None:
    await oracle.see(*oracle.chain.mine(5))
    await oracle.see(*oracle.chain.reorg(2, longer=1))
    numbers = [row.number for row in oracle.window.rows]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 6


async def test_without_the_node_the_last_quote_stays_and_readiness_says_how_old_it_is(oracle: Oracle) -> None:
    ready = why_not_fresh(oracle.deps, 1, 30_000)
    assert "no fee quote" in str(ready())
    await oracle.see(*oracle.chain.mine())
    assert ready() is True
    oracle.rpc.fail_next("fee_history", RpcUnavailable("away"))
    await oracle.see(*oracle.chain.mine())
    assert len(oracle.bus.stored) == 1
    oracle.clock.advance(30_001)
    assert "30001 ms old" in str(ready())
    await oracle.see(*oracle.chain.mine())
    assert ready() is True
    assert oracle.bus.stored[-1].sampled_blocks == 4


async def test_a_quote_that_the_bus_did_not_take_is_not_called_fresh(oracle: Oracle) -> None:
    oracle.bus.refuses = FeeQuoted
    await oracle.see(*oracle.chain.mine())
    assert why_not_fresh(oracle.deps, 1, 30_000)() is not True


async def test_the_same_block_twice_gives_the_same_id(oracle: Oracle) -> None:
    [header] = oracle.chain.mine()
    await oracle.see(header, header)
    assert len({quote.id for quote in oracle.bus.stored}) == 1
    assert [row.number for row in oracle.window.rows] == [0, 1]


def test_a_chain_without_a_node_is_refused() -> None:
    with pytest.raises(ValidationError, match="chain 8453 has no node"):
        Settings(chains=(1, 8453), rpc_ws_urls={1: "ws://127.0.0.1:1"})


async def test_a_quote_says_the_tip_and_the_time_for_each_deadline(oracle: Oracle) -> None:
    await oracle.see(*oracle.chain.mine(3))
    quote = oracle.bus.stored[-1]
    assert [tip.within_blocks for tip in quote.inclusion] == list(DEADLINES)
    assert [timing.blocks_left for timing in quote.timing] == list(DEADLINES)
    assert all(tip.probability_bps == 9_500 for tip in quote.inclusion)
    tips = [tip.tip_per_gas_wei for tip in quote.inclusion]
    assert tips == sorted(tips, reverse=True), "who has more blocks never pays more"
    assert not quote.timing[0].waits, "in the last block there is nothing to wait for"


class Predeploys:
    """GasPriceOracle and L1Block as a rollup has them, answered from a table."""

    def __init__(self, **values: int) -> None:
        self.values = values

    def __call__(self, to: str, data: bytes, header: Header) -> bytes:
        of = {GAS_PRICE_ORACLE: ("isEcotone", "isFjord", "isIsthmus", "isJovian")}
        of[L1_BLOCK] = (
            "basefee",
            "blobBaseFee",
            "baseFeeScalar",
            "blobBaseFeeScalar",
            "operatorFeeScalar",
            "operatorFeeConstant",
        )
        for name in of[to]:
            if data == keccak256(f"{name}()".encode())[:4] and name in self.values:
                return self.values[name].to_bytes(32, "big")
        raise RpcError(3, "execution reverted")


FEES = {"basefee": 2 * GWEI, "blobBaseFee": 7, "baseFeeScalar": 2_269, "blobBaseFeeScalar": 1_055_762}


async def test_a_rollups_quote_carries_the_terms_of_its_fee_for_data() -> None:
    base = Oracle(8_453)
    base.chain.answer_call = Predeploys(isEcotone=1, isFjord=1, **FEES)
    await base.see(*base.chain.mine())
    terms = base.bus.stored[-1].data_fee
    assert terms is not None
    assert (terms.rule, terms.l1_base_fee_wei, terms.l1_blob_base_fee_wei) == (DataFeeRule.FJORD, 2 * GWEI, 7)
    assert (terms.base_fee_scalar, terms.blob_base_fee_scalar) == (2_269, 1_055_762)
    assert (terms.operator_per_gas_millionths, terms.operator_constant_wei) == (0, 0)


async def test_a_rollup_before_fjord_is_priced_by_ecotone() -> None:
    base = Oracle(8_453)
    base.chain.answer_call = Predeploys(isEcotone=1, **FEES)
    await base.see(*base.chain.mine())
    terms = base.bus.stored[-1].data_fee
    assert terms is not None
    assert terms.rule is DataFeeRule.ECOTONE


@pytest.mark.parametrize(("jovian", "per_gas_millionths"), [({}, 5), ({"isJovian": 1}, 500_000_000)])
async def test_the_operators_scalar_means_more_from_jovian_on(jovian: dict[str, int], per_gas_millionths: int) -> None:
    base = Oracle(8_453)
    upgrades = {"isEcotone": 1, "isFjord": 1, "isIsthmus": 1} | jovian
    base.chain.answer_call = Predeploys(**upgrades, **FEES, operatorFeeScalar=5, operatorFeeConstant=9)
    await base.see(*base.chain.mine())
    terms = base.bus.stored[-1].data_fee
    assert terms is not None
    assert (terms.operator_per_gas_millionths, terms.operator_constant_wei) == (per_gas_millionths, 9)


@pytest.mark.parametrize(
    "answer",
    [
        lambda to, data, header: b"",
        Predeploys(**FEES),
        Predeploys(isEcotone=1, isFjord=1, basefee=1),
    ],
    ids=["no contract stands there", "an unknown rule", "a fee is missing"],
)
async def test_a_rollup_whose_fee_for_data_is_unknown_gets_no_quote(
    answer: Callable[[str, bytes, Header], bytes],
) -> None:
    base = Oracle(8_453)
    base.chain.answer_call = answer
    await base.see(*base.chain.mine())
    assert base.bus.stored == []
    assert base.metric("quotes_missed_total") == 1


async def test_a_chain_without_a_fee_for_data_asks_no_predeploy(oracle: Oracle) -> None:
    await oracle.see(*oracle.chain.mine())
    assert oracle.bus.stored[-1].data_fee is None
    assert "eth_calls" not in oracle.rpc.calls


CEILINGS = FeeCeilings(warn_wei=50 * GWEI, block_wei=100 * GWEI, stop_wei=500 * GWEI)


async def test_a_quote_says_where_the_price_stands_against_the_ceilings() -> None:
    oracle = Oracle(1, CEILINGS)
    for gwei in (40, 60, 200, 30):
        await oracle.see_price(gwei)
    found = [quote.level for quote in oracle.bus.stored]
    assert found == [FeeLevel.NORMAL, FeeLevel.WARN, FeeLevel.BLOCK, FeeLevel.NORMAL]
    assert {quote.entry_ceiling_wei for quote in oracle.bus.stored} == {100 * GWEI}


async def test_gas_at_the_ceiling_of_entries_opens_the_breaker_and_exits_go_on() -> None:
    oracle = Oracle(1, CEILINGS)
    await oracle.see_price(99)
    assert (oracle.breaker.phase, oracle.breaker.status) == (BreakerPhase.CLOSED, Status.ACTIVE)
    await oracle.see_price(100)
    assert (oracle.breaker.phase, oracle.breaker.status) == (BreakerPhase.OPEN, Status.REDUCING)
    assert oracle.breaker.reason == "fee_per_gas_wei 100000000001 reaches the limit of 100000000000"
    assert not oracle.breaker.needs_operator
    word = oracle.bus.words[-1]
    assert (word.source, word.status, word.reason) == ("breaker-gas", Status.REDUCING, oracle.breaker.reason)


async def test_cheap_gas_lets_a_few_entries_try_and_then_closes_the_breaker() -> None:
    oracle = Oracle(1, CEILINGS)
    await oracle.see_price(150)
    await oracle.see_price(40, blocks=4)
    assert oracle.breaker.phase is BreakerPhase.OPEN, "a minute is not over"
    await oracle.see_price(40)
    assert (oracle.breaker.phase, oracle.breaker.probes) == (BreakerPhase.HALF_OPEN, 1)
    await oracle.see_price(40, blocks=5)
    assert oracle.breaker.phase is BreakerPhase.CLOSED
    assert [change.phase.value for change in oracle.breaker.history] == ["open", "half_open", "closed"]
    assert [word.status for word in oracle.bus.words] == [Status.REDUCING, Status.ACTIVE, Status.ACTIVE]


@pytest.mark.parametrize("before", [10, 150], ids=["at once", "while it is open"])
async def test_beyond_the_stop_only_an_operator_lets_entries_begin_again(before: int) -> None:
    oracle = Oracle(1, CEILINGS)
    await oracle.see_price(before)
    await oracle.see_price(600)
    assert oracle.breaker.needs_operator
    assert oracle.breaker.next_probe_at_ms is None
    assert "reaches 500000000000, which waits for an operator" in oracle.breaker.reason
    await oracle.see_price(10, blocks=100)
    assert oracle.breaker.phase is BreakerPhase.OPEN, "cheap gas releases nothing: a person does"
    await oracle.reset(7)
    await oracle.see_price(10)
    assert (oracle.breaker.phase, oracle.breaker.reset_version) == (BreakerPhase.CLOSED, 7)


async def test_a_reset_while_gas_is_dear_opens_again_at_once() -> None:
    oracle = Oracle(1, CEILINGS)
    await oracle.see_price(600)
    await oracle.reset(1)
    assert (oracle.breaker.phase, oracle.breaker.needs_operator) == (BreakerPhase.OPEN, True)
    await oracle.see_price(150)
    await oracle.reset(2)
    assert (oracle.breaker.phase, oracle.breaker.needs_operator) == (BreakerPhase.OPEN, False)


async def test_an_open_breaker_is_open_after_a_restart_and_a_person_is_still_needed() -> None:
    before = Oracle(1, CEILINGS)
    await before.see_price(600)
    after = Oracle(1, CEILINGS, before)
    await after.see_price(10, blocks=20)
    assert (after.breaker.phase, after.breaker.needs_operator) == (BreakerPhase.OPEN, True)
    await after.reset(1)
    assert after.breaker.phase is BreakerPhase.CLOSED


async def test_a_breaker_that_the_bus_did_not_take_is_said_again() -> None:
    oracle = Oracle(1, CEILINGS)
    oracle.bus.refuses = BreakerChanged
    await oracle.see_price(600)
    assert oracle.bus.facts == []
    oracle.bus.refuses = None
    await oracle.see_price(600)
    assert oracle.breaker.phase is BreakerPhase.OPEN
    assert oracle.bus.words[-1].status is Status.REDUCING


async def test_without_quotes_the_breaker_holds_entries_after_a_minute_and_lets_go_with_the_next_one() -> None:
    oracle = Oracle(1, CEILINGS)
    await oracle.see_price(10)
    for _ in range(6):
        oracle.rpc.fail_next("fee_history", RpcUnavailable("away"))
        await oracle.see_price(10)
    assert (oracle.breaker.phase, oracle.breaker.status) == (BreakerPhase.CLOSED, Status.REDUCING)
    assert "its newest value is" in oracle.breaker.reason
    await oracle.see_price(10)
    assert oracle.breaker.status is Status.ACTIVE


async def test_the_breaker_is_said_again_while_nothing_changes() -> None:
    oracle = Oracle(1, CEILINGS)
    await oracle.see_price(10, blocks=40)
    times = [fact.occurred_at_ms for fact in oracle.bus.facts]
    assert max(later - earlier for earlier, later in pairwise(times)) <= GAS.renewed_within_ms // 2
    assert len(oracle.bus.words) == 1, "the status is said when it changes"


async def test_a_spike_is_counted_when_it_begins_and_ends_by_itself() -> None:
    oracle = Oracle(1, CEILINGS)
    await oracle.see_price(20, blocks=15)
    assert oracle.metric("base_fee_spiking") == 0
    before = oracle.metric("base_fee_spikes_total") or 0
    await oracle.see_price(31, blocks=3)
    assert oracle.metric("base_fee_spiking") == 1
    assert oracle.metric("base_fee_spikes_total") == before + 1
    assert oracle.metric("base_fee_rise_percent") == 55
    await oracle.see_price(31, blocks=10)
    assert oracle.metric("base_fee_spiking") == 0


def test_ceilings_are_set_by_chain_and_must_rise() -> None:
    nodes: dict[int, tuple[str, ...]] = {1: ("ws://127.0.0.1:1",)}
    settings = Settings(rpc_ws_urls=nodes, fee_ceilings={1: CeilingSettings(warn_gwei="0.5", spike_percent=30)})
    ceilings = settings.ceilings_of(1)
    assert (ceilings.warn_wei, ceilings.block_wei) == (GWEI // 2, usual_ceilings(1).block_wei)
    assert ceilings.spike_percent == 30
    with pytest.raises(ValidationError, match="must rise"):
        Settings(rpc_ws_urls=nodes, fee_ceilings={1: CeilingSettings(warn_gwei=900)})


def test_the_limit_of_the_breaker_is_set_by_the_ceilings_alone() -> None:
    nodes: dict[int, tuple[str, ...]] = {1: ("ws://127.0.0.1:1",)}
    with pytest.raises(ValidationError, match="opens at block_gwei of DEXLANE_GAS_ORACLE_FEE_CEILINGS"):
        Settings(rpc_ws_urls=nodes, breakers={"gas": {"fee_per_gas_wei": 1}})
    assert Settings(rpc_ws_urls=nodes, breakers={"gas": {"severity": "halted"}}).breakers
