"""Plans into the journal: intents, what they reserve, and the nonce slots of live ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dexlane.chain.execution import slots as store
from dexlane.chain.execution.allowances import AllowanceKeeper
from dexlane.chain.execution.live import LiveDesk
from dexlane.chain.execution.records import Cause, Stamp, needed_first, trade_intent
from dexlane.chain.execution.reservations import Reservations
from dexlane.chain.execution.slots import Slot
from dexlane.chain.execution.txmgr import SlotTerms
from dexlane.domain.circumstances import Market, Planned
from dexlane.events.execution import IntentCreated, Purpose
from dexlane.runtime.clock import Clock
from dexlane.runtime.journal import Tx
from dexlane.values.books import Book, Mode


@dataclass(frozen=True, slots=True)
class Written:
    """An intent in the journal; ``slot`` when it is live."""

    intent: IntentCreated
    reserved: int
    slot: Slot | None


@dataclass(frozen=True, slots=True)
class IntentWriting:
    """Writes plans into an open transaction, and after its commit into memory."""

    reservations: Reservations
    live: LiveDesk
    allowances: AllowanceKeeper
    clock: Clock
    stamp: Callable[[], Stamp]

    async def write(self, tx: Tx, cause: Cause, book: Book, planned: Planned, market: Market) -> list[Written]:
        """Write a plan's intents with what they reserve; of a live book with their slots."""
        stamp = self.stamp()
        intent = trade_intent(cause, book, planned, market.block, stamp)
        if book.mode is Mode.PAPER:
            await store.add_intent(tx, intent, planned.reserved)
            return [Written(intent, planned.reserved, None)]
        terms = SlotTerms(
            deadline_block=planned.plan.deadline_block,
            fee_budget_wei=planned.max_fee_per_gas_budget_wei,
            gas_limit=planned.plan.gas_limit,
            exit_since=market.block.number if planned.purpose is Purpose.EXIT else 0,
            first_fee_wei=planned.plan.fee_cap.max_fee_per_gas_wei,
            price_impact_bps=planned.price_impact_bps,
        )
        written: list[Written] = []
        for one in (*needed_first(book, intent, stamp), intent):
            reserved = planned.reserved if one is intent else 0
            slot = self.live.transactions.draft(one, reserved, terms)
            slot.nonce += len(written)
            await self.live.transactions.write(tx, slot)
            written.append(Written(one, reserved, slot))
        return written

    def take(self, written: Sequence[Written]) -> None:
        """Memory follows the journal, without a pause after the commit."""
        for one in written:
            self.reservations.hold(one.intent, one.reserved, self.clock.now_ms())
            if one.slot is not None:
                self.live.transactions.adopt(one.slot)
                self.allowances.intended(one.intent)
                if one.intent.plan is not None and not one.intent.plan.native_out:
                    self.live.watch(one.intent.account, one.intent.plan.route.token_out)
