"""The signer: policy, then signature, then the durable record, and only then are bytes handed out."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from dexlane_signer.addresses import normal_address
from dexlane_signer.approval_record import use_approval
from dexlane_signer.approval_rules import check_permit_approval
from dexlane_signer.approvals import Approval
from dexlane_signer.decisions import Allowed, charge_for, decide
from dexlane_signer.denials import Denial, DenialReason, SigningDenied
from dexlane_signer.guard import Condition, NonceGuard, Slot
from dexlane_signer.keys import PrivateKey
from dexlane_signer.policy import CheckContext, Kind, Policy
from dexlane_signer.swap_rules import check_permit
from dexlane_signer.transactions import DynamicFeeTransaction, SignedTransaction
from dexlane_signer.typed_data import PermitSingle


def _wall_clock_s() -> int:
    return int(time.time())


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRequest:
    """Sign ``transaction`` from ``sender`` for an intent, as its trade or as the cancel of its slot.

    ``approval`` is what the intent was approved with; where the policy names approvers, a trade without one is denied.
    """

    sender: str
    intent_id: str
    kind: Kind
    transaction: DynamicFeeTransaction
    approval: Approval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitRequest:
    """Sign a Permit2 permit of ``owner`` on one chain, for a trade with this approval."""

    owner: str
    chain_id: int
    permit: PermitSingle
    approval: Approval | None = None


class LocalSigner:
    """Signs in this process. There is no method that signs a hash, a message or foreign typed data."""

    def __init__(
        self,
        keys: Sequence[PrivateKey],
        policies: Sequence[Policy],
        guard: NonceGuard,
        *,
        clock_s: Callable[[], int] = _wall_clock_s,
    ) -> None:
        """Bring keys, rules and record together.

        ``clock_s`` gives Unix seconds by the clock that deadlines are written in; on a chain whose time is not
        ours, pass one that follows the chain. Raises ``ValueError`` when two policies cover one chain.
        """
        self._keys = {key.address: key for key in keys}
        self._policies: dict[int, Policy] = {}
        self._guard = guard
        self._clock_s = clock_s
        for policy in policies:
            for chain_id in policy.chain_ids:
                if chain_id in self._policies:
                    raise ValueError(f"two policies cover chain {chain_id}")
                self._policies[chain_id] = policy

    @property
    def addresses(self) -> tuple[str, ...]:
        """The accounts this signer holds keys of."""
        return tuple(self._keys)

    def sign_transaction(self, request: SignRequest) -> SignedTransaction:
        """Return the signed bytes, recorded on disk.

        The same request gives the same bytes. Raises ``SigningDenied``, or ``GuardUnavailableError`` when the
        record cannot be written; in both cases no signature leaves.
        """
        transaction, sender = request.transaction, normal_address(request.sender)
        policy, key = self._find(transaction.chain_id, sender)
        context = CheckContext(sender=sender, kind=request.kind, now_s=self._clock_s())
        allowed = decide(policy, transaction, request.approval, context)
        if isinstance(allowed, Denial):
            raise SigningDenied(allowed)
        signed = key.sign_transaction(transaction)
        slot = Slot(transaction.chain_id, sender, transaction.nonce)
        conditions = self._conditions(policy, request, allowed, context)
        denial = self._guard.admit(
            slot, request.intent_id, request.kind, signed_hash=signed.hash, conditions=conditions
        )
        if denial is not None:
            raise SigningDenied(denial)
        return signed

    def sign_permit(self, request: PermitRequest) -> bytes:
        """Return the 65-byte signature (``v`` 27 or 28) of a permit. Raises ``SigningDenied``."""
        owner = normal_address(request.owner)
        policy, key = self._find(request.chain_id, owner)
        context = CheckContext(sender=owner, kind="trade", now_s=self._clock_s())
        denial = check_permit(policy, request.permit, context)
        if denial is None:
            denial = check_permit_approval(policy, request.approval, request.permit, request.chain_id, context)
        if denial is not None:
            raise SigningDenied(denial)
        reason = self._guard.halt_reason()
        if reason is not None:
            _deny(DenialReason.HALTED, f"the signer is halted: {reason}")
        return key.sign_permit(request.permit, chain_id=request.chain_id)

    def halt(self, reason: str) -> None:
        """Sign cancels only, until ``resume``; outlives a restart."""
        self._guard.halt(reason)

    def resume(self, reason: str) -> None:
        """End a halt; the reason is kept."""
        self._guard.resume(reason)

    def halt_reason(self) -> str | None:
        """Why the signer is halted, or ``None``."""
        return self._guard.halt_reason()

    def _conditions(
        self, policy: Policy, request: SignRequest, allowed: Allowed, context: CheckContext
    ) -> list[Condition]:
        """What the record must still agree to: the approval is used by no other intent, and no cap is exceeded."""
        chain_id, statement = request.transaction.chain_id, allowed.statement
        charge = charge_for(policy, request.transaction, allowed, context)

        def is_within_caps(db: sqlite3.Connection) -> Denial | None:
            return self._guard.spending.charge(db, policy, charge)

        if statement is None:
            return [is_within_caps]
        return [
            lambda db: use_approval(db, statement, chain_id, context.sender, request.intent_id),
            is_within_caps,
        ]

    def _find(self, chain_id: int, sender: str) -> tuple[Policy, PrivateKey]:
        policy = self._policies.get(chain_id)
        if policy is None:
            _deny(DenialReason.WRONG_CHAIN, f"no policy covers chain {chain_id}")
        key = self._keys.get(sender)
        if key is None:
            _deny(DenialReason.UNKNOWN_SENDER, f"this signer holds no key of {sender}")
        return policy, key


def _deny(reason: DenialReason, sentence: str) -> NoReturn:
    raise SigningDenied(Denial(reason, sentence))
