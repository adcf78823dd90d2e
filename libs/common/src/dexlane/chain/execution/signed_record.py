"""What the signer has on record of an account: the first place where anything that was signed is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from dexlane.chain.calldata import UnroutableError
from dexlane.chain.execution.fencing import FencedJournal
from dexlane.chain.execution.payloads import Payloads
from dexlane.chain.execution.slots import Slot
from dexlane.domain.send_values import AttemptKind
from dexlane.events.execution import Purpose
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Transient
from dexlane_signer import DenialReason, GuardUnavailableError, RecordRequest, SignedBefore, SigningDenied

NOT_ITS_ACCOUNT = frozenset({DenialReason.UNKNOWN_SENDER, DenialReason.WRONG_CHAIN})
"""Why a signer tells nothing of an account, and signs nothing for it either."""


@dataclass(frozen=True, slots=True)
class SignedRecord:
    """Asks the signer, for the executor's term. Once it was asked nothing is signed for an earlier term."""

    payloads: Payloads
    journal: FencedJournal
    clock: Clock

    async def since(self, account: str, nonce: int) -> list[SignedBefore]:
        """Everything on record from a nonce on, in order. ``Transient`` while the signer does not answer, or when
        another executor took over; ``SigningDenied`` when it holds no key of the account."""
        found: list[SignedBefore] = []
        number = 0
        while True:
            at = {"nonce": nonce, "number": number, "epoch": self.payloads.epoch()}
            request = RecordRequest(owner=account, chain_id=self.payloads.chain_id, **at)
            try:
                one = await self.payloads.signer().signed_before(request)
            except (SigningDenied, GuardUnavailableError) as error:
                if isinstance(error, SigningDenied) and error.reason is DenialReason.STALE_EPOCH:
                    raise self.journal.term.followed() from error
                if isinstance(error, SigningDenied) and error.reason in NOT_ITS_ACCOUNT:
                    raise
                raise Transient(f"the signer does not tell what it signed for account {account}: {error}") from error
            if one is None:
                return found
            found.append(one)
            nonce, number = one.attempt.transaction.nonce, one.attempt.number + 1

    async def complete(self, slots: Iterable[Slot]) -> None:
        """Bring up open slots to what was signed for them: bytes may have left before the journal had them. Of a slot
        whose account the signer has no key of, the journal alone tells. Raises ``Transient``."""
        by_account: dict[str, dict[str, Slot]] = {}
        for slot in slots:
            by_account.setdefault(slot.intent.account, {})[slot.intent.id] = slot
        for account, of_intent in by_account.items():
            try:
                signed = await self.since(account, min(slot.nonce for slot in of_intent.values()))
            except SigningDenied:
                continue
            for one in signed:
                if one.intent_id in of_intent:
                    slot = of_intent[one.intent_id]
                    slot.signed(one.attempt, slot.intent.block.number, self.clock.now_ns())

    async def get_back(self, slot: Slot, number: int) -> None:
        """Get the bytes of an exit or a cancel by asking for its signature again: the signer gives back what it may
        sign now. Those of an entry come with what is told, once entries are signed."""
        attempt = slot.state.attempt(number)
        may_be_signed = attempt.kind is AttemptKind.CANCEL or slot.intent.purpose is Purpose.EXIT
        if number in slot.raws or not may_be_signed:
            return
        with contextlib.suppress(SigningDenied, GuardUnavailableError, UnroutableError):
            signed = await self.payloads.sign(slot, attempt.kind, attempt.fee, slot.calldata, number)
            if signed.hash == attempt.tx_hash:
                slot.signed(signed, attempt.block, self.clock.now_ns())

    def more_than_known(self, slot: Slot) -> Transient:
        """More was signed for a slot than is known here, so the term ends, and the next one asks."""
        self.journal.term.end()
        return Transient(f"more is on the signer's record for intent {slot.intent.id} than is known; it is read anew")
