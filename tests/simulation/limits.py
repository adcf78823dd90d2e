"""What the controls of the live book promise whenever an entry is written, looked up on the disks alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from simulation.market import LIVE
from simulation.shape import Shape


class Controlled:
    """Looks at every entry once, when it is written."""

    def __init__(self, shape: Shape, rows: Callable[..., list[Any]]) -> None:
        self._shape = shape
        self._rows = rows
        self._seen: set[str] = set()

    def broken(self, service: str) -> Iterator[str]:
        """What a control forbids of the newest entry of an executor."""
        query = "SELECT payload FROM execution_intents WHERE book_id = ? AND purpose = 'entry' ORDER BY rowid"
        entries = [orjson.loads(payload) for (payload,) in self._rows(service, query, LIVE)]
        if not entries or entries[-1]["id"] in self._seen:
            return
        self._seen.add(entries[-1]["id"])
        yield from self._of_token(service, entries[-1])
        yield from self._of_duplicates([entry["block"]["number"] for entry in entries])

    def _of_token(self, service: str, entry: Any) -> Iterator[str]:
        """What is held of the token, and what is under way, stays within the limit. An entry whose fill portfolio has
        booked is among what is held, whether or not it is final; until then it is under way, even if it is filled."""
        if self._shape.max_token_bps is None:
            return
        token = entry["plan"]["route"]["legs"][-1]["token_out"]
        limit = self._shape.capital * self._shape.max_token_bps // 10_000
        query = "SELECT cost FROM positions WHERE book_id = ? AND token = ?"
        held = sum(int(cost) for (cost,) in self._rows("portfolio", query, LIVE, token))
        filled = self._rows("portfolio", "SELECT intent_id FROM outcomes WHERE holds AND event LIKE 'fill.%'")
        query = """SELECT intent_id, reserved FROM execution_intents WHERE book_id = ? AND purpose = 'entry'
            AND (is_open OR filled_ms IS NOT NULL)"""
        under_way = sum(int(amount) for intent, amount in self._rows(service, query, LIVE) if (intent,) not in filled)
        if held + under_way > limit:
            yield f"{service} holds {held} of {token} and buys for {under_way}, of {limit}"

    def _of_duplicates(self, blocks: list[int]) -> Iterator[str]:
        """There is one token to buy: every entry is the trade of the one before."""
        apart = blocks[-1] - max(blocks[:-1], default=-(10**9))
        if apart < self._shape.duplicate_blocks:
            yield f"an entry is written {apart} blocks after the last one, not {self._shape.duplicate_blocks}"
