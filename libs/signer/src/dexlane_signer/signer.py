"""The signer: policy, then signature, then the durable record, and only then are bytes handed out."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

from dexlane_signer.addresses import normal_address
from dexlane_signer.approval_record import use_approval
from dexlane_signer.approvals import Approval
from dexlane_signer.attempts import Asked, SignedAttempt, SignedBefore, Slot
from dexlane_signer.brake import Brake
from dexlane_signer.decisions import Allowed, charge_for, decide
from dexlane_signer.denials import Denial, DenialReason, SigningDenied
from dexlane_signer.guard import Condition, NonceGuard
from dexlane_signer.guard_file import GuardUnavailableError
from dexlane_signer.key_stores.errors import KeyStoreRefusedError
from dexlane_signer.keys import AccountKey
from dexlane_signer.latch import Latch, Level
from dexlane_signer.levels import check_entry
from dexlane_signer.policy import CheckContext, Kind, Policy
from dexlane_signer.purposes import Purpose, opens_position
from dexlane_signer.router_calls import RouterPermit
from dexlane_signer.transactions import DynamicFeeTransaction


def wall_clock_s() -> int:
    """Unix seconds of this machine."""
    return int(time.time())


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRequest:
    """Sign ``transaction`` from ``sender`` for an intent, as its trade or as the cancel of its slot.

    ``attempt`` is the number of the attempt as the asker counts them from 1; asked again for the same number the signer
    gives back what it signed then. ``epoch`` is the number of the asker's lease; a lower one than the highest seen for
    the account is refused. ``purpose`` says whether the trade opens or closes a position. ``approval`` is what the
    intent was approved with; where the policy names approvers, a trade without one is denied. A permit in the call of a
    router whose signature is ``UNSIGNED`` is signed with the transaction, and never by itself.
    """

    sender: str
    intent_id: str
    kind: Kind
    transaction: DynamicFeeTransaction
    epoch: int = 0
    attempt: int | None = None
    purpose: Purpose = "entry"
    approval: Approval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRequest:
    """What was signed for ``owner`` on one chain: the first attempt at or after a nonce and a number. For an asker
    that begins, or whose own record is older than the signer's. Nothing is signed for an earlier ``epoch`` afterwards.
    """

    owner: str
    chain_id: int
    nonce: int
    number: int
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A transaction that may be signed by all that can be known before it is."""

    sign: Callable[[], SignedAttempt]
    is_local: bool
    policy: Policy
    allowed: Allowed
    context: CheckContext
    asked: Asked
    slot: Slot


class LocalSigner:
    """Signs behind the policy and the record, with keys in this process or elsewhere.

    There is no method that signs a hash, a message or foreign typed data.
    """

    def __init__(
        self,
        keys: Sequence[AccountKey],
        policies: Sequence[Policy],
        guard: NonceGuard,
        *,
        clock_s: Callable[[], int] = wall_clock_s,
        brake: Brake | None = None,
    ) -> None:
        """Bring keys, rules, record and brake together.

        ``clock_s`` gives Unix seconds by the clock that deadlines are written in; on a chain whose time is not
        ours, pass one that follows the chain. Without a ``brake`` only the record itself can be halted. Raises
        ``ValueError`` when two policies cover one chain.
        """
        self._keys = {key.address: key for key in keys}
        self._policies: dict[int, Policy] = {}
        self._guard = guard
        self.clock_s = clock_s
        self._brake = brake or Brake(guard)
        self.counts = self._brake.counts
        for policy in policies:
            for chain_id in policy.chain_ids:
                if chain_id in self._policies:
                    raise ValueError(f"two policies cover chain {chain_id}")
                self._policies[chain_id] = policy

    @property
    def addresses(self) -> tuple[str, ...]:
        """The accounts this signer holds keys of."""
        return tuple(self._keys)

    def sign_transaction(self, request: SignRequest) -> SignedAttempt:
        """Return what is on record for the attempt, signed now or before.

        Raises ``SigningDenied``, or ``GuardUnavailableError`` when the record cannot be written or a key store does not
        answer; in both cases no signature leaves. Blocks for as long as the key does.
        """
        with self.counted("transaction"):
            wanted = self.begin_transaction(request)
            if isinstance(wanted, SignedAttempt):
                return wanted
            return self.end_transaction(request, wanted.sign(), wanted)

    @contextmanager
    def counted(self, name: str) -> Iterator[None]:
        """Count what comes out of the block; what a key store or a value refuses becomes ``SigningDenied``."""
        try:
            yield
        except SigningDenied as denied:
            self.counts.denied[denied.reason] += 1
            raise
        except KeyStoreRefusedError as error:
            self.counts.denied[error.reason] += 1
            raise SigningDenied(Denial(error.reason, str(error))) from None
        except ValueError as error:
            # A nonce, an id or an address outside of what can be recorded.
            self.counts.denied[DenialReason.MALFORMED_REQUEST] += 1
            raise SigningDenied(Denial(DenialReason.MALFORMED_REQUEST, str(error))) from None
        except GuardUnavailableError:
            self.counts.unavailable += 1
            raise
        self.counts.signed[name] += 1

    def begin_transaction(self, request: SignRequest) -> SignedAttempt | Wanted:
        """Everything that can refuse before a signature is there. A key that lies elsewhere is not asked for what is on
        record already: its next signature would be another one."""
        wanted = self._examined(request)
        if wanted.is_local:
            return wanted
        recorded = self._guard.recorded(wanted.slot, wanted.asked, request.transaction)
        if isinstance(recorded, Denial):
            raise SigningDenied(recorded)
        return wanted if recorded is None else self._given_back(request, recorded, request.transaction)

    def end_transaction(self, request: SignRequest, signed: SignedAttempt, wanted: Wanted) -> SignedAttempt:
        """Record a signature, and return what may be handed out. Where it took its time everything is examined again:
        meanwhile there may be a halt, or a deadline or an approval may have passed."""
        wanted = wanted if wanted.is_local else self._examined(request)
        outcome = self._guard.admit(wanted.slot, wanted.asked, signed, self._conditions(request, wanted))
        if isinstance(outcome, Denial):
            raise SigningDenied(outcome)
        return self._given_back(request, outcome, signed.transaction)

    def _given_back(self, request: SignRequest, attempt: SignedAttempt, judged: DynamicFeeTransaction) -> SignedAttempt:
        """A number may give another transaction than was asked for and judged. That one must be allowed now, too: as an
        exit nobody is given back an entry, and after a policy became tighter nothing that it refuses."""
        if attempt.kind == "trade" and attempt.transaction != judged:
            self._examined(replace(request, transaction=attempt.transaction))
        return attempt

    def _examined(self, request: SignRequest) -> Wanted:
        transaction, sender = request.transaction, normal_address(request.sender)
        policy, key = self._find(transaction.chain_id, sender)
        context = CheckContext(sender=sender, kind=request.kind, now_s=self.clock_s())
        allowed = decide(policy, transaction, request.approval, context)
        if isinstance(allowed, Denial):
            raise SigningDenied(allowed)
        is_entry = opens_position(policy, allowed.effect, allowed.statement, request.purpose)
        if isinstance(is_entry, Denial):
            raise SigningDenied(is_entry)
        _require(self._brake.refusal(is_cancel=request.kind == "cancel", is_entry=is_entry))
        if is_entry and allowed.effect.trades:
            _require(check_entry(policy.entry_caps.get(sender), allowed.effect.paid, policy.wrapped_native))
        asked = Asked(
            intent_id=request.intent_id,
            kind=request.kind,
            number=request.attempt,
            epoch=request.epoch,
            is_entry=is_entry,
        )
        slot = Slot(transaction.chain_id, sender, transaction.nonce)
        sign = partial(_signed, key, request, allowed.effect.unsigned)
        return Wanted(sign, key.is_local, policy, allowed, context, asked, slot)

    def _conditions(self, request: SignRequest, wanted: Wanted) -> list[Condition]:
        """What the record must still agree to: the approval is used by no other intent, and no cap is exceeded."""
        policy, allowed, context = wanted.policy, wanted.allowed, wanted.context
        chain_id, statement = request.transaction.chain_id, allowed.statement
        charge = charge_for(request.transaction, allowed, context)

        def is_within_caps(db: sqlite3.Connection) -> Denial | None:
            return self._guard.spending.charge(db, policy, charge)

        if statement is None:
            return [is_within_caps]
        return [
            lambda db: use_approval(db, statement, chain_id, context.sender, request.intent_id),
            is_within_caps,
        ]

    def signed_before(self, request: RecordRequest) -> SignedBefore | None:
        """What the record has; ``None`` when there is nothing more. Bytes that were signed are given back only while
        entries may be signed, whatever they are: nobody judges them anew. What was signed is told at any time, because
        it may be on the chain. Raises as ``sign_transaction``."""
        with self.counted("record"):
            first = Slot(request.chain_id, request.owner, request.nonce)
            if not (0 <= request.number < 1 << 63 and 0 <= request.epoch < 1 << 63):
                raise ValueError("number and epoch must not be negative, and fit 63 bits")
            self._find(first.chain_id, first.address)
            found = self._guard.signed_from(first, request.number, request.epoch)
            if isinstance(found, Denial):
                raise SigningDenied(found)
            if found is None or not self._holds_back(first, request.epoch):
                return found
            return found.without_bytes()

    def _holds_back(self, slot: Slot, epoch: int) -> bool:
        return (
            self._brake.refusal(is_cancel=False, is_entry=True) is not None
            or self._guard.refusal(slot.chain_id, slot.address, epoch, is_entry=True) is not None
        )

    def is_local(self, address: str) -> bool:
        """Whether asking for this account's signature never blocks; so it is for accounts that nobody has a key of."""
        key = self._keys.get(address.lower())
        return key is None or key.is_local

    def highest_nonces(self, chain_id: int) -> dict[str, int | None]:
        """Each account of this signer, and the highest nonce ever signed for it on a chain."""
        return {address: self._guard.highest_nonce(chain_id, address) for address in self._keys}

    def halt(self, reason: str, *, level: Level = Level.HALTED, source: str = "operator") -> None:
        """Sign only what ``level`` allows, until ``resume``; outlives a restart."""
        self._brake.pull(level, source, reason)

    def resume(self, reason: str) -> None:
        """End a halt; the reason is kept."""
        self._guard.resume(reason)

    def latch(self) -> Latch:
        """Whether and why the signer is halted."""
        return self._guard.latch()

    def _find(self, chain_id: int, sender: str) -> tuple[Policy, AccountKey]:
        policy = self._policies.get(chain_id)
        if policy is None:
            _deny(DenialReason.WRONG_CHAIN, f"no policy covers chain {chain_id}")
        key = self._keys.get(sender)
        if key is None:
            _deny(DenialReason.UNKNOWN_SENDER, f"this signer holds no key of {sender}")
        return policy, key


def _signed(key: AccountKey, request: SignRequest, unsigned: Sequence[RouterPermit]) -> SignedAttempt:
    """Sign a judged transaction, and before that the permits in it; nothing else of it changes. Blocks for as long as
    the key does, once for each."""
    transaction = request.transaction
    for one in unsigned:
        signature = key.sign_permit(one.permit, chain_id=transaction.chain_id)
        data = transaction.data[: one.at] + signature + transaction.data[one.at + len(signature) :]
        transaction = replace(transaction, data=data)
    signed = key.sign_transaction(transaction)
    return SignedAttempt(
        raw=signed.raw,
        hash=signed.hash,
        number=request.attempt or 1,
        kind=request.kind,
        transaction=transaction,
    )


def _require(denial: Denial | None) -> None:
    if denial is not None:
        raise SigningDenied(denial)


def _deny(reason: DenialReason, sentence: str) -> NoReturn:
    raise SigningDenied(Denial(reason, sentence))
