"""What the portfolio answers over HTTP equals its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from dexlane.testing.builders import (
    BOOK_ID,
    ENTRY_IN,
    ENTRY_OUT,
    USDC,
    WETH,
    a_fill,
    a_reversed_fill,
    an_account,
    an_opened_account,
)
from dexlane.values.chains import NATIVE
from portfolio.handlers import http_app, routes

if TYPE_CHECKING:
    from conftest import Portfolio


async def get(portfolio: Portfolio, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=http_app(portfolio.deps))
    async with httpx.AsyncClient(transport=transport, base_url="http://portfolio") as client:
        return await client.get(path)


async def test_balances_are_those_of_the_named_block(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill())
    now = (await get(portfolio, "/ledger/balances")).json()
    (account,) = now["accounts"]
    assert account["balances"][WETH.address] == str(ENTRY_OUT)
    assert account["balances"][USDC.address] == str(20_000 * 10**6 - ENTRY_IN)
    assert (account["book_id"], account["account"], account["booked_to_block"]) == (BOOK_ID, an_account(), 101)
    assert now["not_final"] == 1
    before = (await get(portfolio, "/ledger/balances?block=100")).json()["accounts"][0]["balances"]
    assert before[USDC.address] == str(20_000 * 10**6)
    assert WETH.address not in before


@pytest.mark.parametrize("block", ["-1", "x", "1.5", "", "9" * 19])
async def test_a_block_that_is_no_number_is_refused(portfolio: Portfolio, block: str) -> None:
    assert (await get(portfolio, f"/ledger/balances?block={block}")).status_code == 400


async def test_the_trial_balance_is_told(portfolio: Portfolio) -> None:
    await portfolio.book(a_fill())
    expected = {"balanced": True, "entries": 1, "postings": 6, "unbalanced": {}}
    assert (await get(portfolio, "/ledger/trial-balance")).json() == expected


async def test_positions_carry_their_present_value(portfolio: Portfolio) -> None:
    await portfolio.book(a_fill())
    await portfolio.block(101, usdc=19_900_000)
    (position,) = (await get(portfolio, "/positions")).json()["positions"]
    assert position["quantity"] == str(ENTRY_OUT)
    assert int(position["unrealised"]) < -5 * 10**6
    assert position["marked_at_block"] == 101


async def test_every_outcome_is_consumed_durably(portfolio: Portfolio) -> None:
    consumed = routes(portfolio.deps)
    names = {route.event_type.NAME for route in consumed.decisions}
    assert names == {
        *("fill.included", "fill.confirmed", "fill.reversed", "intent.failed"),
        *("account.opened", "exit.triggered"),
    }
    assert len({route.durable for route in consumed.decisions}) == 6
    assert {route.event_type.NAME for route in consumed.followers} == {
        "book.changed",
        "trading.status",
        "breaker.reset",
        "token.flagged",
    }


async def test_a_token_that_is_all_sold_is_still_told_as_zero(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill())
    await portfolio.book(a_reversed_fill())
    (account,) = (await get(portfolio, "/ledger/balances")).json()["accounts"]
    assert account["balances"][WETH.address] == "0"


async def test_movements_are_those_of_the_entries_that_stand(portfolio: Portfolio) -> None:
    await portfolio.accounting.open_account(an_opened_account())
    await portfolio.book(a_fill())
    path = f"/ledger/movements?book_id={BOOK_ID}&account={an_account()}&block=200"
    opening, fill = (await get(portfolio, path)).json()["movements"]
    assert (opening["event"], opening["tx_hash"]) == ("account.opened", None)
    assert (fill["event"], fill["block"]) == ("fill.included", 101)
    assert fill["amounts"][WETH.address] == str(ENTRY_OUT)
    assert fill["amounts"][USDC.address] == str(-ENTRY_IN)
    assert int(fill["amounts"][NATIVE]) < 0
    await portfolio.book(a_reversed_fill())
    assert [one["event"] for one in (await get(portfolio, path)).json()["movements"]] == ["account.opened"]
    assert (await get(portfolio, path.replace("block=200", "block=x"))).status_code == 400
