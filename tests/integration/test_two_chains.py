"""The devnet plays two chains: Ethereum with its recorded day, and Base with synthetic flow."""

from __future__ import annotations

from pathlib import Path

import pytest

from dexlane.events.execution import FillIncluded
from dexlane.testing.stack import Stack
from ports import free_shift

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(300)]


async def test_with_both_chains_a_paper_book_trades_on_base(tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_shift(), environment={"CHAINS": "1,8453"})
    stack.start("--speed", "500")
    try:
        stack.wait_ready()
        async with stack.bus() as witness:
            fill = await witness.until(
                FillIncluded,
                lambda event: event.chain_id == 8453 and event.mode == "paper" and event.deltas != (),
                timeout_s=120,
            )
        assert fill.book_id == "paper-base"
        assert fill.quote.address == "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
    finally:
        stack.stop()
