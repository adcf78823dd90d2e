"""Handing signed bytes over: to every provider, or to private relays, as the slot says."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from dexlane.chain.execution.evidence import Finding
from dexlane.chain.execution.private_sending import PrivateSending
from dexlane.chain.execution.sending_moments import SendingMoments
from dexlane.chain.execution.slots import Slot
from dexlane.chain.execution.submission import Broadcast, submit
from dexlane.chain.execution.testimony import Witness
from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.send_values import AttemptKind
from dexlane.events.execution import SendPath
from dexlane.events.market import BlockApplied


class Handover:
    """Which way bytes leave. Without relays nothing is asked of anybody but the providers."""

    def __init__(self, providers: Sequence[Witness], private: PrivateSending | None, moments: SendingMoments) -> None:
        self._providers = providers
        self._private = private
        self._moments = moments
        self._broadcast = Broadcast(providers)

    async def submit(self, slot: Slot, number: int, on_sent: Callable[[], None]) -> PublishAnswer:
        """Hand an attempt over; the answer that counts.

        A private trade never goes to a provider, whatever became of the relays. A cancel goes everywhere.
        """
        if is_for_relays(slot, number):
            return await self._privately(slot, number, on_sent)
        if slot.state.path is SendPath.PRIVATE and self._private is not None:
            self._private.withdraw(slot, number)
        note = functools.partial(self._moments.answered, slot.intent.id)
        if len(self._providers) > 1:
            answer, _ = await self._broadcast.send(slot.raws[number], note, on_sent)
            return answer
        answer, text = await submit(self._providers[0].rpc, slot.raws[number], on_sent=on_sent)
        note(self._providers[0].name, answer, text)
        return answer

    async def _privately(self, slot: Slot, number: int, on_sent: Callable[[], None]) -> PublishAnswer:
        return PublishAnswer.UNSENT if self._private is None else await self._private.send(slot, number, on_sent)

    def is_due(self, slot: Slot, number: int, now_ms: int, *, hurried: bool) -> bool:
        """Whether an attempt is to go out again now: by the patience with nodes, or by what relays hold."""
        if self._private is not None and slot.state.is_private:
            return self._private.is_due(slot, number)
        patience = slot.patience.get(number)
        return patience is None or patience.is_over(now_ms, hurried=hurried)

    def weigh(self, findings: list[Finding], tip: BlockApplied, *, is_new: bool) -> list[Finding]:
        """The findings with what relays hold."""
        return findings if self._private is None else self._private.weigh(findings, tip, is_new=is_new)

    def forget(self, intent_id: str) -> None:
        """An intent's slot is looked at no more."""
        if self._private is not None:
            self._private.forget(intent_id)


def is_for_relays(slot: Slot, number: int) -> bool:
    """Whether an attempt goes to relays alone, so that no node is asked and none has answered."""
    return slot.state.path is SendPath.PRIVATE and slot.state.attempt(number).kind is AttemptKind.TRADE
