"""Private transactions on their way: given to several relays in one slot, watched, and withdrawn.

Whatever a relay says decides nothing about a slot. Its acceptance means that bytes may come into a block; receipts say
whether they did. Its refusal means that it has to be another relay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any

from dexlane.chain.execution.evidence import Finding
from dexlane.chain.execution.relay_board import TOOK, RelayBoard
from dexlane.chain.execution.slots import Slot
from dexlane.chain.execution.submission import Answer, Once, OnSent, first_settled, weightiest
from dexlane.chain.relays.relay import Parcel, RelayStatus
from dexlane.domain import relay_holds
from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.relay_holds import Hold, RacePolicy
from dexlane.domain.relay_scores import Fault
from dexlane.domain.send_values import AttemptKind, Stage
from dexlane.events.market import BlockApplied

FALSE_CLAIMS = 3
"""Blocks in a row at which a relay may say that something is included and no provider knows of it."""
CANCEL_BLOCKS = 25
"""How long relays are asked to keep a cancel."""


class PrivateSending:
    """What the relays of one chain hold of its open slots. One instance per chain and term."""

    def __init__(self, board: RelayBoard, policy: RacePolicy) -> None:
        self._board = board
        self._policy = policy
        self._chain_id = board.chain_id
        self._holds: dict[str, tuple[Hold, ...]] = {}
        self._claims: dict[tuple[str, str], int] = {}
        self._shown: set[str] = set()
        """Intents that everybody could see: in a pool, or in a block that a reorganisation may have undone."""
        self._tip = self._last_tip = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    def is_due(self, slot: Slot, number: int) -> bool:
        """Whether some relay is to be given this attempt now."""
        return bool(self._next(slot, number))

    async def send(self, slot: Slot, number: int, on_sent: OnSent | None = None) -> PublishAnswer:
        """Give an attempt to the relays whose turn it is. Accepted as soon as one has it; unknown when one may have it;
        else unsent, whatever they said of it."""
        names = self._next(slot, number)
        if not names:
            return PublishAnswer.ALREADY_KNOWN if self._is_held(slot, number) else PublishAnswer.UNSENT
        once = Once(on_sent)
        tasks = {self._begin(self._give(name, slot, number, once), f"relay-{name}") for name in names}
        done = await first_settled(tasks)
        answer, _ = weightiest([task.result() for task in done])
        return answer

    def weigh(self, findings: Sequence[Finding], tip: BlockApplied, *, is_new: bool) -> list[Finding]:
        """What was found, with what the relays hold. Judges the relays by it. ``is_new``: this block was not weighed
        before."""
        self._last_tip, self._tip = self._tip, max(self._tip, tip.block.number)
        self._board.look()
        lowest = _lowest_open(findings)
        weighed = []
        for finding in findings:
            slot = finding.slot
            if slot.intent.id in self._holds or finding.record.state.is_private:
                if is_new:
                    self._judge(finding, tip, is_next=slot.nonce == lowest.get(slot.intent.account))
                held = relay_holds.is_held(self._holds.get(slot.intent.id, ()), self._tip)
                finding = replace(finding, head=replace(finding.head, held=held))  # noqa: PLW2901
            weighed.append(finding)
        return weighed

    def withdraw(self, slot: Slot, number: int) -> None:
        """Ask the relays to forget the trade, and give them the cancel of the same slot; nobody waits for that."""
        holding = {hold.relay for hold in self._holds.get(slot.intent.id, ()) if not hold.ended}
        for name in holding or self._board.names:
            for attempt in slot.state.attempts:
                if attempt.kind is AttemptKind.TRADE:
                    self._begin(self._cancel(name, slot, attempt.number), f"relay-cancel-{name}")
        for name in self._board.usable():
            self._begin(self._give(name, slot, number, Once(None)), f"relay-{name}")

    def forget(self, intent_id: str) -> None:
        """An intent's slot is final and looked at no more."""
        self._holds.pop(intent_id, None)
        self._shown.discard(intent_id)
        self._drop_claims(intent_id)

    async def stop(self) -> None:
        """Wait no longer for anybody."""
        waiting = list(self._tasks)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _next(self, slot: Slot, number: int) -> Sequence[str]:
        tip = self._tip_for(slot)
        if tip + 1 > slot.state.deadline_block:
            return ()
        holds = self._holds.get(slot.intent.id, ())
        return relay_holds.next_relays(holds, number, tip, self._board.usable(), self._policy)

    def _is_held(self, slot: Slot, number: int) -> bool:
        tip = self._tip_for(slot)
        holds = self._holds.get(slot.intent.id, ())
        return any(hold.attempt == number and hold.lasts(tip) for hold in holds)

    def _tip_for(self, slot: Slot) -> int:
        """A slot that was just planned is of the newest block there is."""
        return max(self._tip, slot.intent.block.number)

    async def _give(self, name: str, slot: Slot, number: int, on_sent: Callable[[], None]) -> Answer:
        intent_id, parcel = slot.intent.id, self._parcel(slot, number)
        self._board.moments.sent(self._chain_id, name, intent_id, number)
        said = await self._board[name].send(parcel, on_sent)
        self._board.answered(name, said)
        self._board.moments.answered(self._chain_id, name, intent_id, said.answer, said.text)
        is_trade = slot.state.attempt(number).kind is AttemptKind.TRADE
        if said.answer in TOOK and is_trade and slot.state.stage in {Stage.SIGNED, Stage.SENT}:
            hold = Hold(relay=name, attempt=number, since=parcel.tip, given=parcel.tip, until=said.until)
            self._holds[intent_id] = relay_holds.taken(self._holds.get(intent_id, ()), hold)
        if said.answer in TOOK:
            return PublishAnswer.ACCEPTED, ""
        may_have_it = said.fault is Fault.UNREACHABLE or said.fault is Fault.GARBAGE
        return (PublishAnswer.UNKNOWN if may_have_it else PublishAnswer.UNSENT), said.text

    async def _cancel(self, name: str, slot: Slot, number: int) -> None:
        if await self._board[name].cancel(self._parcel(slot, number)):
            intent_id = slot.intent.id
            if intent_id in self._holds:
                self._holds[intent_id] = relay_holds.let_go(self._holds[intent_id], name, number)
            self._board.moments.ended(self._chain_id, name, intent_id, "cancelled")

    def _parcel(self, slot: Slot, number: int) -> Parcel:
        plan, attempt = slot.intent.plan, slot.state.attempt(number)
        is_trade = attempt.kind is AttemptKind.TRADE
        tip = self._tip_for(slot)
        return Parcel(
            # To let go of a trade its hash is enough: the signer may keep the bytes that a term before this one gave.
            raw=slot.raws.get(number, b""),
            tx_hash=attempt.tx_hash,
            slot_key=f"{self._chain_id}:{slot.intent.account}:{slot.nonce}",
            tip=tip,
            # A cancel is of use as long as the slot is open.
            last_block=slot.state.deadline_block if is_trade else tip + CANCEL_BLOCKS,
            deadline_s=plan.deadline_s if is_trade and plan is not None else None,
        )

    def _judge(self, finding: Finding, tip: BlockApplied, *, is_next: bool) -> None:
        """What a new block says about the relays that hold this slot's attempts."""
        state, head, intent_id = finding.record.state, finding.head, finding.slot.intent.id
        holds = self._holds.get(intent_id, ())
        if head.sightings:
            self._settle(finding)
        elif head.complete and not head.slot_used and state.stage in {Stage.SIGNED, Stage.SENT} and state.attempts:
            newest = state.attempts[-1]
            payable = newest.fee.max_fee_per_gas_wei >= tip.base_fee_per_gas_wei
            if head.pooled and state.is_private and intent_id not in self._shown:
                self._blame_leak(intent_id)
            if state.is_private and is_next and payable and head.hopeless is None:
                self._count_miss(intent_id, newest.number, tip.block.number)
            for hold in holds:
                # A bundle is for one block; that this one passed is its way, and no end.
                if not hold.ended and self._last_tip < hold.until <= self._tip and hold.until > hold.given + 1:
                    self._board.missed(hold.relay)
                    self._board.moments.ended(self._chain_id, hold.relay, intent_id, "expired")
            if state.is_private:
                self._ask_status(finding.slot, holds)

    def _settle(self, finding: Finding) -> None:
        """An attempt is in a block: those who held it then had a part in it."""
        intent_id, seen = finding.slot.intent.id, finding.head.sightings[0]
        number = next((one.number for one in finding.record.state.attempts if one.tx_hash == seen.tx_hash), 0)
        holds = self._holds.pop(intent_id, ())
        before = seen.block.number - 1
        held = [hold for hold in holds if hold.attempt == number and hold.lasts(before)]
        alone = len(held) == 1 and finding.record.state.is_private and intent_id not in self._shown
        # Who let more blocks pass than another had no part in it: it must not live on the others' inclusions.
        least = min((hold.missed for hold in held), default=0)
        holders = [hold for hold in held if hold.missed == least]
        for hold in holders:
            blocks = max(1, seen.block.number - hold.since)
            self._board.included(hold.relay, blocks)
            self._board.moments.included(self._chain_id, hold.relay, intent_id, blocks, alone=alone)
        for name in sorted({hold.relay for hold in holds} - {hold.relay for hold in holders}):
            self._board.missed(name)
            self._board.moments.ended(self._chain_id, name, intent_id, "superseded")
        self._shown.add(intent_id)
        self._drop_claims(intent_id)

    def _drop_claims(self, intent_id: str) -> None:
        for key in [key for key in self._claims if key[0] == intent_id]:
            del self._claims[key]

    def _count_miss(self, intent_id: str, number: int, tip: int) -> None:
        """A block that could have included the attempt did not; who lets that happen too often does not try."""
        holds = self._holds.get(intent_id, ())
        had = tuple(hold for hold in holds if hold.since < tip and hold.lasts(tip - 1))
        rest = tuple(hold for hold in holds if hold not in had)
        holds = (*rest, *relay_holds.passed(had, number))
        for hold in relay_holds.broken(holds, self._policy):
            self._board.faulted(hold.relay, Fault.LIED, f"{hold.missed} blocks without what it said that it has")
            self._board.moments.ended(self._chain_id, hold.relay, intent_id, "lied")
            holds = relay_holds.let_go(holds, hold.relay, hold.attempt)
        if holds:
            self._holds[intent_id] = holds

    def _blame_leak(self, intent_id: str) -> None:
        """What relays alone were given waits in a public pool. Of several nobody knows which it was; all are left alone
        for a while, for what they were given is not private any more."""
        self._shown.add(intent_id)
        for name in sorted({hold.relay for hold in self._holds.get(intent_id, ()) if not hold.ended}):
            self._board.faulted(name, Fault.LEAKED, f"intent {intent_id} was seen in a public pool")
            self._board.moments.ended(self._chain_id, name, intent_id, "leaked")
            for hold in self._holds[intent_id]:
                if hold.relay == name:
                    self._holds[intent_id] = relay_holds.let_go(self._holds[intent_id], name, hold.attempt)

    def _ask_status(self, slot: Slot, holds: Iterable[Hold]) -> None:
        newest = slot.state.attempts[-1].number
        for hold in holds:
            if hold.attempt == newest and hold.lasts(self._tip):
                self._begin(self._look_up(slot, hold), f"relay-status-{hold.relay}")

    async def _look_up(self, slot: Slot, hold: Hold) -> None:
        """A relay that says it has let go of bytes is believed; that they are included it must not say for long when
        the chain does not."""
        intent_id = slot.intent.id
        word = await self._board[hold.relay].status(slot.state.attempt(hold.attempt).tx_hash)
        if intent_id not in self._holds:
            return
        key = (intent_id, hold.relay)
        self._claims[key] = self._claims.get(key, 0) + 1 if word is RelayStatus.INCLUDED else 0
        if word is RelayStatus.GONE:
            self._holds[intent_id] = relay_holds.let_go(self._holds[intent_id], hold.relay, hold.attempt)
            self._board.moments.ended(self._chain_id, hold.relay, intent_id, "expired")
        elif self._claims[key] >= FALSE_CLAIMS:
            self._board.faulted(hold.relay, Fault.LIED, "it says that something is included which is not")
            self._holds[intent_id] = relay_holds.let_go(self._holds[intent_id], hold.relay, hold.attempt)


def _lowest_open(findings: Sequence[Finding]) -> dict[str, int]:
    """The lowest nonce of each account that is in no block: only that one can be included next."""
    lowest: dict[str, int] = {}
    for finding in findings:
        if not finding.head.slot_used and not finding.head.sightings:
            account = finding.slot.intent.account
            lowest[account] = min(finding.slot.nonce, lowest.get(account, finding.slot.nonce))
    return lowest
