"""Which end of an approval is a refusal: only what the chain made of it, for without it a position cannot be sold."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dexlane.chain.execution import allowances
from dexlane.chain.execution.allowances import WAIT_BLOCKS
from dexlane.chain.permit2 import PERMIT2, approve
from dexlane.events.control import Status
from dexlane.testing.builders import USDC, WETH, a_status
from dexlane.testing.fake_chain import Outcome
from dexlane.testing.live_bench import Bench, Home, running


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path, f"sqlite+aiosqlite:///{tmp_path / 'journal.db'}")


def approvals(bench: Bench, token: str) -> list[int]:
    """Blocks that include an approval of Permit2, whether it succeeded or not."""
    cancel = approve(PERMIT2, 0)
    return [
        block.header.number
        for block in bench.chain.blocks
        for tx in block.transactions
        if tx.to == token and tx.data[:36] == cancel[:36]
    ]


async def bought(bench: Bench) -> None:
    """A trade whose token must be approved before it can be sold."""
    await bench.executor.on_verdict(bench.verdict())
    await bench.head()


async def test_an_approval_that_expired_is_asked_for_again(home: Home) -> None:
    async with running(home) as bench:
        await bought(bench)
        for _ in range(WAIT_BLOCKS + 1):
            await bench.head(only=[])
        for _ in range(6):
            await bench.head()
        assert len(approvals(bench, WETH.address)) == 1
        assert bench.executor.live.objection_to_token(bench.books[0], WETH.address, 1) is None


async def test_an_approval_that_a_halt_cancelled_is_asked_for_again_when_trading_goes_on(home: Home) -> None:
    async with running(home) as bench:
        await bought(bench)
        await bench.head(only=[])
        bench.side.take_status(a_status(Status.HALTED, status_version=2))
        for _ in range(4):
            await bench.head(only=[tx.hash for tx in bench.chain.pool.values() if tx.to != WETH.address])
        assert approvals(bench, WETH.address) == []
        bench.side.take_status(a_status(Status.ACTIVE, status_version=3))
        for _ in range(4):
            await bench.head()
        assert len(approvals(bench, WETH.address)) == 1


async def test_a_token_that_refuses_to_be_approved_is_tried_again_after_longer_and_longer_rests(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = 8
    monkeypatch.setattr(allowances, "REST_BLOCKS", rest)
    async with running(home) as bench:
        plain = bench.chain.execute

        def refusing(tx: Any) -> Outcome:
            return Outcome(success=False) if tx.to == WETH.address else plain(tx)

        bench.chain.execute = refusing
        await bought(bench)
        for _ in range(4 * rest):
            await bench.head()
        tried = approvals(bench, WETH.address)
        assert [(later - earlier) // rest for earlier, later in pairwise(tried)] == [1, 2]
        assert bench.executor.live.objection_to_token(bench.books[0], USDC.address, 1) is None
