"""What each standing trade realised, and what that amounts to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.domain.positions import Traded
from dexlane.events.execution import FillConfirmed, Purpose
from dexlane.events.portfolio import FILLS_TOLD, FinalFill, TradeResults
from portfolio.store.positions import AccountRef
from portfolio.store.tables import of_account, outcomes, trades

NEWEST_RETURNS = 250
"""So many of the newest returns are told."""
NEWEST_TOKENS = 256
"""So many tokens are told, those bought last. One that is not among them counts as new to the book."""
OPENING = (Purpose.ENTRY.value, Purpose.GAP.value)


class TradeStore:
    """Results of trades, on one connection."""

    def __init__(self, conn: AsyncConnection) -> None:
        self._conn = conn

    async def accounts(self) -> set[tuple[str, str]]:
        """Book and address of every account with a noted trade."""
        rows = await self._conn.execute(sa.select(trades.c.book_id, trades.c.address).distinct())
        return {(row.book_id, row.address) for row in rows}

    async def is_noted(self, book_id: str, address: str, made: Mapping[str, Traded]) -> bool:
        """Whether these trades of an account, and no others, are noted. Their time does not count: a confirmation says
        the same as the inclusion it confirms, only later."""
        noted = await self._conn.execute(sa.select(trades).where(of_account(trades, book_id, address)))
        return {row.intent_id: _essence(row) for row in noted} == {key: _essence(one) for key, one in made.items()}

    async def save(self, book_id: str, address: str, made: Mapping[str, Traded], *, whole: bool) -> None:
        """Note trades; ``whole`` when they are all that stand of this account."""
        if whole:
            await self._conn.execute(trades.delete().where(of_account(trades, book_id, address)))
        rows = [
            {
                "book_id": book_id,
                "address": address,
                "intent_id": intent_id,
                "purpose": one.purpose.value,
                "token": one.token,
                "occurred_at_ms": one.occurred_at_ms,
                "realised": one.realised,
                "return_bps": one.return_bps,
                "is_good": one.is_good,
            }
            for intent_id, one in made.items()
        ]
        if rows:
            await self._conn.execute(trades.insert(), rows)

    async def results(self, account: AccountRef) -> TradeResults:
        """What an account's trades amount to. Only what is final counts as good."""
        mine = of_account(trades, account.book_id, account.address)
        final = sa.and_(outcomes.c.intent_id == trades.c.intent_id, outcomes.c.holds.is_(sa.true()))
        opened = sa.select(sa.func.count()).where(mine, trades.c.purpose.in_(OPENING))
        proven = sa.select(sa.func.count()).select_from(trades.join(outcomes, final))
        proven = proven.where(mine, trades.c.is_good.is_(sa.true()), outcomes.c.final.is_(sa.true()))
        newest = trades.c.occurred_at_ms.desc(), trades.c.intent_id
        returns = sa.select(trades.c.return_bps).where(mine, trades.c.return_bps.is_not(None)).order_by(*newest)
        bought = sa.select(trades.c.token).where(mine, trades.c.token.is_not(None)).group_by(trades.c.token)
        bought = bought.order_by(sa.func.max(trades.c.occurred_at_ms).desc(), trades.c.token)
        return TradeResults(
            trades=int((await self._conn.execute(opened)).scalar_one()),
            good=int((await self._conn.execute(proven)).scalar_one()),
            returns_bps=tuple((await self._conn.execute(returns.limit(NEWEST_RETURNS))).scalars()),
            tokens=tuple((await self._conn.execute(bought.limit(NEWEST_TOKENS))).scalars()),
            fills=await self._fills(account),
        )

    async def _fills(self, account: AccountRef) -> tuple[FinalFill, ...]:
        """The final fills of an account that hold, in the highest blocks."""
        block = sa.func.coalesce(outcomes.c.block_number, 0)
        query = sa.select(outcomes.c.intent_id, outcomes.c.outcome_version, block).where(
            of_account(outcomes, account.book_id, account.address),
            outcomes.c.holds.is_(sa.true()),
            outcomes.c.event == FillConfirmed.NAME,
        )
        rows = await self._conn.execute(query.order_by(block.desc(), outcomes.c.intent_id).limit(FILLS_TOLD))
        return tuple(FinalFill(intent_id=intent, version=version, block=at) for intent, version, at in rows)


def _essence(one: Any) -> tuple[object, ...]:
    """What decides, of a trade or of its row."""
    return one.purpose, one.token, one.realised, one.return_bps, one.is_good
