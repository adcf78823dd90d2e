"""What the portfolio consumes, and what it answers over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dexlane.domain.ledger import AccountKind, LedgerAccount
from dexlane.events.breakers import BreakerReset
from dexlane.events.control import BookChanged, TradingStatus
from dexlane.events.execution import AccountOpened, FillConfirmed, FillIncluded, FillReversed, IntentFailed
from dexlane.events.portfolio import ExitTriggered
from dexlane.events.risk import TokenFlagged
from dexlane.runtime.clock import Clock
from dexlane.runtime.consuming import Routes
from dexlane.runtime.journal import Journal
from portfolio.accounting import Accounting, trial_sums
from portfolio.marks import Marks, SideValues
from portfolio.marks.results import ResultBreakers
from portfolio.store.entries import EntryStore
from portfolio.store.positions import PositionStore


@dataclass(frozen=True)
class Deps:
    """What the handlers work with."""

    accounting: Accounting
    sides: SideValues
    marks: Marks
    journal: Journal
    clock: Clock
    results: ResultBreakers


def routes(deps: Deps) -> Routes:
    """Outcomes, openings and exits durably; books and trading status as last values, flags of tokens all."""
    routes = Routes()
    book = deps.accounting.book

    @routes.decide(FillIncluded, durable="portfolio-fill-included")
    async def on_fill_included(event: FillIncluded) -> None:
        await book(event)

    @routes.decide(FillConfirmed, durable="portfolio-fill-confirmed")
    async def on_fill_confirmed(event: FillConfirmed) -> None:
        await book(event)

    @routes.decide(FillReversed, durable="portfolio-fill-reversed")
    async def on_fill_reversed(event: FillReversed) -> None:
        await book(event)

    @routes.decide(IntentFailed, durable="portfolio-intent-failed")
    async def on_intent_failed(event: IntentFailed) -> None:
        await book(event)

    @routes.decide(AccountOpened, durable="portfolio-account-opened")
    async def on_account_opened(event: AccountOpened) -> None:
        await deps.accounting.open_account(event)

    @routes.decide(ExitTriggered, durable="portfolio-exit-triggered")
    async def on_exit_triggered(event: ExitTriggered) -> None:
        await deps.accounting.adopt_exit(event)

    _follow(routes, deps)
    return routes


def _follow(routes: Routes, deps: Deps) -> None:
    @routes.follow(BookChanged, from_="last")
    async def on_book_changed(event: BookChanged) -> None:
        deps.sides.books.set(event.book.id, event.book, deps.clock.now_ms())

    @routes.follow(TradingStatus, from_="last")
    async def on_trading_status(event: TradingStatus) -> None:
        deps.sides.statuses.set((event.chain_id, event.source), event, deps.clock.now_ms())

    @routes.follow(TokenFlagged, from_="all")
    async def on_token_flagged(event: TokenFlagged) -> None:
        deps.sides.note_flag(event)

    @routes.follow(BreakerReset, from_="last")
    async def on_breaker_reset(word: BreakerReset) -> None:
        await deps.results.reset(word)


def http_app(deps: Deps) -> Starlette:
    """Read-only views of the ledger, as JSON; amounts are decimal strings in smallest units."""

    async def balances(request: Request) -> Response:
        text = request.query_params.get("block")
        block = None if text is None else _block_number(text)
        if text is not None and block is None:
            return JSONResponse({"error": "block must be a block number"}, status_code=400)
        return JSONResponse(await _balances(deps, block))

    async def movements(request: Request) -> Response:
        asked = request.query_params
        block = _block_number(asked.get("block", ""))
        if block is None:
            return JSONResponse({"error": "block must be a block number"}, status_code=400)
        return JSONResponse(await _movements(deps, asked.get("book_id", ""), asked.get("account", ""), block))

    async def trial_balance(_request: Request) -> Response:
        return JSONResponse(await _trial_balance(deps))

    async def positions(_request: Request) -> Response:
        return JSONResponse(await _positions(deps))

    return Starlette(
        routes=[
            Route("/ledger/balances", balances),
            Route("/ledger/movements", movements),
            Route("/ledger/trial-balance", trial_balance),
            Route("/positions", positions),
        ]
    )


def _block_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


async def _movements(deps: Deps, book_id: str, address: str, block: int) -> dict[str, Any]:
    async with deps.journal.reading() as conn:
        found = await EntryStore(conn).movements(book_id, address, block)
    rows = [
        {
            "cause_id": one.cause_id,
            "event": one.event,
            "version": one.version,
            "block": one.block_number,
            "tx_hash": one.tx_hash,
            "amounts": {token: str(amount) for token, amount in sorted(one.amounts.items())},
        }
        for one in found
    ]
    return {"book_id": book_id, "account": address, "movements": rows}


async def _balances(deps: Deps, block: int | None) -> dict[str, Any]:
    async with deps.journal.reading() as conn:
        entries = EntryStore(conn)
        # A token that the ledger believes to be sold must be compared with the chain as well.
        summed = await entries.summed_balances(block, zeros=True)
        booked = await entries.booked_to_block()
        not_final = await entries.not_final()
        accounts = await PositionStore(conn).accounts()
    rows = []
    for account in accounts:
        path = LedgerAccount(AccountKind.ASSETS, account.book_id, account.address).path
        held = {token: str(amount) for (where, token), amount in sorted(summed.items()) if where == path}
        rows.append(
            {
                "chain_id": account.chain_id,
                "book_id": account.book_id,
                "account": account.address,
                "mode": account.mode,
                "lane": account.lane,
                "booked_to_block": booked.get((account.book_id, account.address), 0),
                "balances": held,
            }
        )
    return {"block": block, "not_final": not_final, "accounts": rows}


async def _trial_balance(deps: Deps) -> dict[str, Any]:
    async with deps.journal.reading() as conn:
        entries = EntryStore(conn)
        unbalanced = trial_sums(await entries.summed_balances())
        entry_count, posting_count = await entries.counts()
    return {
        "balanced": not unbalanced,
        "entries": entry_count,
        "postings": posting_count,
        "unbalanced": {token: str(amount) for token, amount in unbalanced.items()},
    }


async def _positions(deps: Deps) -> dict[str, Any]:
    async with deps.journal.reading() as conn:
        stored = await PositionStore(conn).positions()
    rows = []
    for one in stored:
        unrealised = deps.marks.unrealised(one)
        tip = deps.marks.tip(one.account.chain_id)
        rows.append(
            {
                "chain_id": one.account.chain_id,
                "book_id": one.account.book_id,
                "account": one.account.address,
                "mode": one.account.mode,
                "lane": one.account.lane,
                "token": one.token,
                "quote": one.account.quote.address,
                "position_version": one.version,
                "quantity": str(one.position.quantity),
                "cost": str(one.position.cost),
                "realised": str(one.position.realised),
                "unrealised": None if unrealised is None else str(unrealised),
                "strategy": one.position.strategy,
                "marked_at_block": None if tip is None else tip.number,
            }
        )
    return {"positions": rows}
