"""What paper-sim consumes."""

from __future__ import annotations

from collections.abc import Mapping

from dexlane.events.control import BookChanged
from dexlane.events.execution import IntentCreated
from dexlane.events.fees import FeeQuoted
from dexlane.runtime.consuming import Routes
from paper_sim.exchange import PaperExchange


def routes(exchanges: Mapping[int, PaperExchange]) -> Routes:
    """Intents on paper of both lanes, books as they change, fees as they are quoted. Blocks come by the mirrors."""
    consumed = Routes()

    @consumed.decide(IntentCreated, tail="paper.fast", durable="paper-sim-fast")
    @consumed.decide(IntentCreated, tail="paper.smart", durable="paper-sim-smart")
    async def take_intent(intent: IntentCreated) -> None:
        await exchanges[intent.chain_id].accept(intent)

    @consumed.follow(BookChanged, from_="last")
    async def open_accounts(event: BookChanged) -> None:
        await exchanges[event.chain_id].note_book(event)

    @consumed.follow(FeeQuoted, from_="last")
    async def note_fees(event: FeeQuoted) -> None:
        exchanges[event.chain_id].note_fees(event)

    return consumed
