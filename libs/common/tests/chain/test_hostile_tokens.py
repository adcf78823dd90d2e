"""Tokens whose contracts answer as they like: they stand in nobody's way but their own, and cost little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dexlane.chain import abi
from dexlane.chain.answers import RawLog, Receipt
from dexlane.chain.execution import allowances
from dexlane.chain.execution.outcomes import deltas_of
from dexlane.chain.grants import GRANT_TOPICS
from dexlane.chain.keccak import keccak256
from dexlane.chain.permit2 import PERMIT2, allowance, approve
from dexlane.chain.rpc import RpcError
from dexlane.events.execution import AccountOpened
from dexlane.testing.builders import USDC, WETH, a_block_ref, a_book_changed, an_intent
from dexlane.testing.fake_chain import FakeLog, Outcome
from dexlane.testing.live_bench import ACCOUNT, Bench, Home, live_book, running
from dexlane.values.books import Lane

TRANSFER = keccak256(b"Transfer(address,address,uint256)")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'journal.db'}")


def answering(bench: Bench, token: str, answer: bytes | RpcError) -> None:
    """From now on the token's contract gives this to every question."""
    plain = bench.chain.answer_call

    def answered(to: str, data: bytes, header: Any) -> bytes:
        if to != token:
            return plain(to, data, header)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    bench.chain.answer_call = answered


NO_ANSWERS = [
    RpcError(3, "execution reverted", "0x"),
    RpcError(-32000, "out of gas"),
    RpcError(-32000, "invalid jump destination"),
    RpcError(-32000, "stack underflow (0 <=> 1)"),
    b"",
    b"\1" * 7,
]
IDS = ["reverts", "burns", "jumps", "underflows", "nothing", "garbage"]


@pytest.mark.parametrize("answer", NO_ANSWERS, ids=IDS)
async def test_an_account_is_opened_and_trades_whatever_a_paired_token_answers(
    home: Home, answer: bytes | RpcError
) -> None:
    async with running(home, ready=False) as bench:
        answering(bench, WETH.address, answer)
        for _ in range(5):
            await bench.head()
        [opened] = [event for event in await bench.events() if isinstance(event, AccountOpened)]
        assert WETH.address not in {delta.token for delta in opened.balances}
        await bench.executor.on_verdict(bench.verdict())
        await bench.head()
        assert bench.effects() == 1


@pytest.mark.parametrize("answer", NO_ANSWERS, ids=IDS)
async def test_a_token_that_stops_answering_keeps_no_other_token_from_being_traded(
    home: Home, answer: bytes | RpcError
) -> None:
    async with running(home) as bench:
        await bench.executor.on_verdict(bench.verdict())
        for _ in range(4):
            await bench.head()
        live = bench.executor.live
        answering(bench, WETH.address, answer)
        await bench.head()
        assert live.objection_to_token(bench.books[0], WETH.address, 1) is not None
        assert live.objection_to_token(bench.books[0], USDC.address, 1) is None
        await bench.executor.on_verdict(bench.verdict())
        await bench.head()
        assert bench.effects() == 2


async def test_a_node_that_refuses_to_look_is_not_taken_for_a_token_that_gives_no_answer(home: Home) -> None:
    async with running(home, ready=False) as bench:
        plain = bench.chain.answer_call
        answering(bench, WETH.address, RpcError(-32005, "limit exceeded"))
        with pytest.raises(Exception, match=f"balances of account {ACCOUNT}"):
            await bench.head()
        bench.chain.answer_call = plain
        await bench.head()
        assert any(isinstance(event, AccountOpened) for event in await bench.events())


STRANGER = "0x" + "5a" * 20
SPAM = "0x" + "66" * 20


def granted(token: str, spender: str) -> FakeLog:
    """A log that names us as the one who let somebody take tokens; any contract can emit it."""
    topics = (GRANT_TOPICS[0], "0x" + abi.address(ACCOUNT).hex(), "0x" + abi.address(spender).hex())
    return FakeLog(address=token, topics=topics, data=abi.uint(5))


def included(bench: Bench, data: bytes, to: str) -> list[int]:
    """Blocks with such a transaction of ours."""
    blocks = bench.chain.blocks
    return [one.header.number for one in blocks for tx in one.transactions if (tx.to, tx.data) == (to, data)]


def sticking(bench: Bench, token: str, spender: str, amount: int) -> None:
    """The token's allowance for somebody is what it is, whatever its approve is told."""
    plain = bench.chain.answer_call

    def answered(to: str, data: bytes, header: Any) -> bytes:
        return abi.uint(amount) if (to, data) == (token, allowance(ACCOUNT, spender)) else plain(to, data, header)

    bench.chain.answer_call = answered


async def test_a_contract_that_the_account_does_not_trade_with_makes_it_send_nothing(home: Home) -> None:
    async with running(home) as bench:
        sticking(bench, SPAM, STRANGER, 5)
        for _ in range(6):
            await bench.head(logs=[granted(SPAM, STRANGER)])
        assert bench.world.included(SPAM) == []


async def test_takings_back_that_have_no_effect_are_given_up_by_token_whoever_may_take_it(home: Home) -> None:
    async with running(home) as bench:
        spenders = ["0x" + f"{number:02x}" * 20 for number in range(0x51, 0x59)]
        for spender in spenders:
            sticking(bench, USDC.address, spender, 5)
        await bench.head(logs=[granted(USDC.address, spender) for spender in spenders])
        for _ in range(20):
            await bench.head()
        tried = [block for spender in spenders for block in included(bench, approve(spender, 0), USDC.address)]
        assert len(tried) == 3


async def test_an_approval_without_effect_is_asked_for_again_after_longer_and_longer_rests(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = 8
    monkeypatch.setattr(allowances, "REST_BLOCKS", rest)
    async with running(home) as bench:
        sticking(bench, WETH.address, PERMIT2, 0)
        await bench.executor.on_verdict(bench.verdict())
        for _ in range(4 * rest):
            await bench.head()
        tried = [tx.nonce for tx in bench.world.included(WETH.address)]
        assert len(tried) == 3


async def test_a_token_that_takes_no_approval_above_another_is_approved_after_a_taking_back(home: Home) -> None:
    async with running(home) as bench:
        plain = bench.chain.execute

        def like_tether(tx: Any) -> Outcome:
            if tx.to == USDC.address and int.from_bytes(tx.data[36:68], "big"):
                standing = bench.chain.answer_call(USDC.address, allowance(ACCOUNT, PERMIT2), bench.chain.tip)
                if int.from_bytes(standing, "big"):
                    return Outcome(success=False)
            return plain(tx)

        bench.chain.execute = like_tether
        limits = bench.books[0].limits[Lane.FAST]
        more = limits.model_copy(update={"capital": limits.capital * 50})
        book = live_book(limits={Lane.FAST: more})
        bench.side.take_book(a_book_changed(book, book_version=2))
        bench.executor.books_changed()
        for _ in range(12):
            await bench.head()
        assert bench.executor.live.objection_to_token(book, USDC.address, more.capital) is None


def test_a_transfer_that_the_plan_does_not_trade_is_no_part_of_the_fill() -> None:
    plan = an_intent().plan
    assert plan is not None

    def moved(token: str, sender: str, recipient: str, amount: int) -> RawLog:
        topics = tuple("0x" + part.hex() for part in (TRANSFER, abi.address(sender), abi.address(recipient)))
        return RawLog(token, topics, amount.to_bytes(32, "big"), 101, "0x" + "1" * 64, "0x" + "2" * 64, 0)

    pool = plan.route.legs[0].pool
    logs = (
        moved("0x" + "0" * 39 + "1", pool, ACCOUNT, 2**256 - 1),
        moved(USDC.address, ACCOUNT, pool, 7),
        moved(WETH.address, pool, ACCOUNT, 3),
    )
    receipt = Receipt("0x" + "2" * 64, a_block_ref(101), 0, ACCOUNT, True, 21_000, 1, logs)
    assert {delta.token: delta.amount for delta in deltas_of(receipt, 1, ACCOUNT, plan)} == {
        USDC.address: -7,
        WETH.address: 3,
    }
