"""The price of gas in an executor: trades planned for a cheaper block, exits that hurry, and what rollups charge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dexlane.chain import abi
from dexlane.chain.answers import Header
from dexlane.chain.execution.evidence import Finding
from dexlane.chain.execution.payloads import Payloads
from dexlane.chain.execution.rollup_receipts import whole_receipt, with_rollup_fee
from dexlane.chain.keccak import keccak256
from dexlane.chain.rpc import RpcError
from dexlane.domain.circumstances import PlanningRules
from dexlane.domain.rollup_fees import data_fee_wei, data_size
from dexlane.domain.send_values import AttemptKind, Step
from dexlane.events.base import FeeCap
from dexlane.events.breakers import BreakerPhase
from dexlane.events.control import Status
from dexlane.events.execution import IntentCreated, Purpose
from dexlane.events.fees import DataFeeRule, DataFeeTerms, FeeQuoted, SendTiming
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.errors import Postponed, Transient
from dexlane.testing.builders import a_book, a_breaker, a_status, an_exit
from dexlane.testing.fake_chain import FakeChain
from dexlane.testing.live_bench import ACCOUNT, BOUGHT, KEY, ROUTER, Bench, Home, TokenWorld, live_book, reborn, running
from dexlane.values.books import Mode
from dexlane_signer import PrivateKey, SignedAttempt, SignRequest

GWEI = 10**9


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


def cheaper_later(bench: Bench, *, waits: bool) -> None:
    """Quote that five blocks from now gas is cheaper, or that it is not."""
    quote = bench.side.fee_quote(1)
    assert isinstance(quote, FeeQuoted)
    reason = "base_fee_falling" if waits else "low_base_fee"
    timing = SendTiming(blocks_left=5, waits=waits, reason=reason, price_now_wei=9 * GWEI)
    bench.side.take_fee_quote(quote.model_copy(update={"timing": (timing,)}))


async def decisions(bench: Bench) -> list[tuple[str, str | None, str]]:
    return [
        (event.subject_id, event.book_id, event.outcome)
        for event in await bench.events()
        if isinstance(event, DecisionRecorded)
    ]


async def intents(bench: Bench, cause: Any) -> list[IntentCreated]:
    events = await bench.events()
    return [event for event in events if isinstance(event, IntentCreated) and event.verdict == cause]


async def test_an_exit_of_dust_waits_for_a_while_and_then_ends_so_that_others_come_through(home: Home) -> None:
    async with running(home) as before:
        before.world.rules = PlanningRules(exit_retry_blocks=3, exit_budget_bps=1, urgent_exit_budget_bps=1)
        bench = await reborn(before)
        for _ in range(3):
            await bench.head()
        await bench.executor.on_verdict(bench.verdict(blocks=10))
        for _ in range(6):
            await bench.head()
        tip = bench.chain.tip.ref
        dust = an_exit(book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT // 10**5, block=tip)
        for _ in range(3):
            with pytest.raises(Transient, match="may pay"):
                await bench.executor.on_exit(dust)
            await bench.head()
        await bench.head()
        await bench.executor.on_exit(dust)
        await bench.executor.on_exit(dust)
        outcomes = [outcome for subject, _, outcome in await decisions(bench) if subject == dust.id]
        assert set(outcomes) == {"over_exit_budget"}
        assert len(outcomes) <= 2, "told when it began to wait, and when it ended"


async def test_an_exit_that_waits_to_pay_is_looked_at_within_a_block_and_a_halted_one_less_often(home: Home) -> None:
    async with running(home) as before:
        before.world.rules = PlanningRules(exit_budget_bps=1, urgent_exit_budget_bps=1)
        bench = await reborn(before)
        for _ in range(3):
            await bench.head()
        await bench.executor.on_verdict(bench.verdict(blocks=10))
        for _ in range(6):
            await bench.head()
        dust = an_exit(book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT // 10**5)
        dust = dust.model_copy(update={"block": bench.chain.tip.ref})
        with pytest.raises(Postponed, match="may pay") as wait:
            await bench.executor.on_exit(dust)
        assert wait.value.after_s <= 12 / 4, "a quarter of a block"
        bench.side.take_status(a_status(Status.HALTED, status_version=2))
        with pytest.raises(Transient) as halted:
            await bench.executor.on_exit(dust)
        assert not isinstance(halted.value, Postponed), "a halt may last, and its exits must not run out of deliveries"


async def test_a_trade_waits_for_cheaper_gas_as_planned_and_is_made_when_there_is_none_ahead(home: Home) -> None:
    paper = a_book(id="paper-one", accounts={"fast": "0x" + "5" * 40, "smart": "0x" + "6" * 40})
    async with running(home, live_book(), paper) as before:
        before.world.rules = PlanningRules(waits_for_cheaper_blocks=True)
        bench = await reborn(before)
        for _ in range(3):
            await bench.head()
        verdict = bench.verdict(blocks=10)
        cheaper_later(bench, waits=True)
        for _ in range(3):
            with pytest.raises(
                Postponed, match="gas costs 9 gwei now and is still falling, to be cheaper in the next 5"
            ) as wait:
                await bench.executor.on_verdict(verdict)
            assert 0 < wait.value.after_s <= 3
        assert await decisions(bench) == [(verdict.id, "live-one", "planned")], "told once, and nothing is reserved"
        assert await intents(bench, verdict) == []
        cheaper_later(bench, waits=False)
        await bench.executor.on_verdict(verdict)
        made = await intents(bench, verdict)
        assert {intent.mode for intent in made} == {Mode.LIVE, Mode.PAPER}
        cheaper_later(bench, waits=True)
        await bench.executor.on_verdict(verdict)
        assert await intents(bench, verdict) == made, "what was made is not made again, nor waited for"


async def test_a_probe_that_waits_for_cheaper_gas_is_not_begun(home: Home) -> None:
    def patient(world: TokenWorld) -> None:
        world.rules = PlanningRules(waits_for_cheaper_blocks=True)

    async with running(home, furnish=patient) as bench:
        bench.side.take_breaker(a_breaker(BreakerPhase.HALF_OPEN, source="breaker-gas", probes=1, round=3))
        verdict = bench.verdict(blocks=10)
        cheaper_later(bench, waits=True)
        for _ in range(3):
            with pytest.raises(Postponed):
                await bench.executor.on_verdict(verdict)
        cheaper_later(bench, waits=False)
        await bench.executor.on_verdict(verdict)
        assert len(await intents(bench, verdict)) == 1
        assert bench.executor._brakes.probes.begun == {("breaker-gas", 3): 1}


async def test_the_usual_rules_never_wait(home: Home) -> None:
    async with running(home) as bench:
        cheaper_later(bench, waits=True)
        verdict = bench.verdict(blocks=10)
        await bench.executor.on_verdict(verdict)
        assert len(await intents(bench, verdict)) == 1


async def test_an_exit_left_out_of_full_blocks_pays_more_each_time_and_at_last_its_whole_budget(home: Home) -> None:
    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict(blocks=10))
        for _ in range(6):
            await bench.head()
        await bench.executor.on_exit(an_exit(book_id="live-one", mode="live", account=ACCOUNT, quantity=BOUGHT))
        caps = []
        for _ in range(4):
            [tx] = [tx for tx in bench.chain.pool.values() if tx.to == ROUTER]
            caps.append((tx.max_fee_per_gas_wei, tx.max_priority_fee_per_gas_wei))
            await full_head(bench)
        [slot] = [slot for slot in bench.executor.live.transactions.open_slots if slot.intent.purpose is Purpose.EXIT]
        budget = slot.state.fee_budget_wei
        assert caps[0] < caps[1] < caps[2] == caps[3]
        assert caps[2] == (budget, budget)


async def full_head(bench: Bench) -> None:
    """A block that others filled, and that left out what is ours."""
    bench.chain.mine(only=())
    block = bench.chain.blocks[-1]
    block.header = replace(block.header, gas_used=block.header.gas_limit)
    await bench.follow()


TERMS = DataFeeTerms(
    rule=DataFeeRule.FJORD,
    l1_base_fee_wei=2 * GWEI,
    l1_blob_base_fee_wei=7,
    base_fee_scalar=2_269,
    blob_base_fee_scalar=1_055_762,
)
ANSWERS = {
    "isEcotone()": 1,
    "isFjord()": 1,
    "basefee()": TERMS.l1_base_fee_wei,
    "blobBaseFee()": TERMS.l1_blob_base_fee_wei,
    "baseFeeScalar()": TERMS.base_fee_scalar,
    "blobBaseFeeScalar()": TERMS.blob_base_fee_scalar,
}
KNOWN = {keccak256(name.encode())[:4]: value for name, value in ANSWERS.items()}


def predeploys(to: str, data: bytes, header: Header) -> bytes:
    if data not in KNOWN:
        raise RpcError(3, "execution reverted")
    return abi.uint(KNOWN[data])


async def test_what_a_receipt_keeps_silent_about_is_computed_from_the_block_it_is_in(home: Home) -> None:
    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict(blocks=10))
        await bench.head()
        [slot] = [slot for slot in bench.executor.live.transactions.open_slots if slot.intent.plan is not None]
        receipt = await bench.rpc.receipt(slot.state.attempts[0].tx_hash)
        silent = replace(receipt, rollup_fee_wei=None)
        base = FakeChain(8_453)
        base.answer_call = predeploys
        at = replace(silent, block=base.mine()[0].ref)
        whole = await with_rollup_fee(base.rpc(), 8_453, at, slot.raws[1])
        assert whole.rollup_fee_wei == data_fee_wei(TERMS, data_size(slot.raws[1])) > 0
        assert (await with_rollup_fee(base.rpc(), 1, at, slot.raws[1])).rollup_fee_wei == 0
        with pytest.raises(Transient, match="waits for its bytes"):
            await with_rollup_fee(base.rpc(), 8_453, at, None)
        base.answer_call = lambda to, data, header: b""
        with pytest.raises(Transient, match="could not be read"):
            await with_rollup_fee(base.rpc(), 8_453, at, slot.raws[1])
        said = replace(at, rollup_fee_wei=5)
        assert (await with_rollup_fee(base.rpc(), 8_453, said, slot.raws[1])).rollup_fee_wei == 5
        finding = Finding(slot=slot, record=slot.record, head=None, receipt=at, funded=False)  # type: ignore[arg-type]
        assert await whole_receipt(base.rpc(), 8_453, finding, Step(slot.state)) is at, "nothing is told, nothing asked"


class Recorder:
    """A signer that keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[SignRequest] = []

    async def sign_transaction(self, request: SignRequest) -> SignedAttempt:
        self.asked.append(request)
        signed = PrivateKey.from_hex(KEY).sign_transaction(request.transaction)
        return SignedAttempt.from_raw(signed.raw, number=1, kind=request.kind)


@pytest.mark.parametrize("kind", list(AttemptKind))
async def test_on_a_chain_without_eip_1559_the_cap_is_the_gas_price(home: Home, kind: AttemptKind) -> None:
    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict(blocks=10))
        [slot] = [slot for slot in bench.executor.live.transactions.open_slots if slot.intent.plan is not None]
        signer, fee = Recorder(), FeeCap(max_fee_per_gas_wei=5 * GWEI, max_priority_fee_per_gas_wei=GWEI)
        classic = Payloads(chain_id=61, signer=lambda: signer, permit_nonce=lambda account, token: 0)
        attempt = await classic.sign(slot, kind, fee, b"\1\2\3\4")
        transaction = signer.asked[0].transaction
        assert (transaction.envelope, transaction.chain_id) == ("legacy", 61)
        assert transaction.max_priority_fee_per_gas_wei == transaction.max_fee_per_gas_wei == 5 * GWEI
        assert attempt.raw[0] >= 0xC0, "a list, without a type before it"
