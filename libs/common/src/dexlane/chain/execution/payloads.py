"""What an intent's slot signs: the trade with its exact permit, the allowance, the cancel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dexlane.chain.calldata import MAINNET_ROUTER, ExactInput, RouterDeployment, check_order, execute
from dexlane.chain.execution.slots import Slot
from dexlane.chain.permit2 import ONLY_THIS_BLOCK, PERMIT2, PermitSingle, SignedPermit, approve
from dexlane.domain.send_state import AttemptKind
from dexlane.events.base import FeeCap
from dexlane.events.execution import IntentCreated, Plan
from dexlane_signer import DynamicFeeTransaction, PermitRequest, SignedTransaction, SignRequest

ALLOWANCE_GAS = 90_000
"""Gas limit of an ERC-20 approve; behind USDC's proxy it takes about 56,000."""
CANCEL_GAS = 21_000


class Signer(Protocol):
    """What executors ask of a signer: one in this process, or one that is reached over a socket."""

    async def sign_transaction(self, request: SignRequest) -> SignedTransaction:
        """Sign, record, return the bytes; raises ``SigningDenied`` or ``GuardUnavailableError``."""
        ...

    async def sign_permit(self, request: PermitRequest) -> bytes:
        """Sign a Permit2 permit; raises ``SigningDenied``."""
        ...


PermitNonce = Callable[[str, str], int]
"""(account, token) to the nonce of the next Permit2 permit for our router."""


@dataclass(frozen=True, kw_only=True)
class Payloads:
    """Builds and signs the payloads of one chain. ``signer`` is asked anew each time: its policy follows the books."""

    chain_id: int
    signer: Callable[[], Signer]
    permit_nonce: PermitNonce
    deployment: RouterDeployment = MAINNET_ROUTER

    async def calldata(self, intent: IntentCreated) -> bytes:
        """The calldata of an intent's trade or allowance, the same for all its attempts.

        Signs the permit of a trade. Raises ``SigningDenied``, ``UnroutableError`` or ``AbiError``.
        """
        if intent.plan is None:
            return approve(PERMIT2, intent.allowance_amount or 0)
        permit = self._permit(intent, intent.plan)
        request = PermitRequest(owner=intent.account, chain_id=self.chain_id, permit=permit)
        signature = await self.signer().sign_permit(request)
        return self._call(intent.plan, SignedPermit(permit, signature))

    def _call(self, plan: Plan, permit: SignedPermit) -> bytes:
        return execute([_order(plan)], deadline_s=plan.deadline_s, permits=[permit], deployment=self.deployment)

    def check_routable(self, plan: Plan) -> None:
        """Raise ``UnroutableError`` when the router would not trade exactly where the plan says."""
        check_order(_order(plan), self.deployment)

    async def sign(self, slot: Slot, kind: AttemptKind, fee: FeeCap, calldata: bytes | None) -> SignedTransaction:
        """Sign one attempt of a slot. Raises ``SigningDenied`` or ``GuardUnavailableError``."""
        intent = slot.intent
        is_cancel = kind is AttemptKind.CANCEL
        transaction = DynamicFeeTransaction(
            chain_id=self.chain_id,
            nonce=slot.nonce,
            max_priority_fee_per_gas_wei=fee.max_priority_fee_per_gas_wei,
            max_fee_per_gas_wei=fee.max_fee_per_gas_wei,
            gas_limit=CANCEL_GAS if is_cancel else _gas_limit(intent),
            to=intent.account if is_cancel else self._target(intent),
            value_wei=0,
            data=b"" if is_cancel else calldata or b"",
        )
        request = SignRequest(
            sender=intent.account,
            intent_id=intent.id,
            kind="cancel" if is_cancel else "trade",
            transaction=transaction,
        )
        return await self.signer().sign_transaction(request)

    def _target(self, intent: IntentCreated) -> str:
        return self.deployment.router if intent.allowance_token is None else intent.allowance_token

    def _permit(self, intent: IntentCreated, plan: Plan) -> PermitSingle:
        return PermitSingle(
            token=plan.route.token_in,
            amount=plan.amount_in,
            expiration_s=ONLY_THIS_BLOCK,
            nonce=self.permit_nonce(intent.account, plan.route.token_in),
            spender=self.deployment.router,
            sig_deadline_s=plan.deadline_s,
        )


def _order(plan: Plan) -> ExactInput:
    return ExactInput(legs=plan.route.legs, amount_in=plan.amount_in, minimum_out=plan.minimum_out)


def _gas_limit(intent: IntentCreated) -> int:
    return ALLOWANCE_GAS if intent.plan is None else intent.plan.gas_limit
