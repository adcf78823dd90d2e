"""Tokens whose contracts answer as they like: they stand in nobody's way but their own, and cost little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dexlane.chain.rpc import RpcError
from dexlane.events.execution import AccountOpened
from dexlane.testing.builders import USDC, WETH
from dexlane.testing.live_bench import ACCOUNT, Bench, Home, running


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


NO_ANSWERS = [RpcError(3, "execution reverted", "0x"), RpcError(-32000, "out of gas"), b"", b"\1" * 7]
IDS = ["reverts", "burns", "nothing", "garbage"]


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
