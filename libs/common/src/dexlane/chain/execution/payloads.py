"""What an intent's slot signs: the trade with its exact permit, the allowance, the cancel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from dexlane.chain.calldata import MAINNET_ROUTER, ExactInput, RouterDeployment, RouterKind, Trade, UnroutableError
from dexlane.chain.direct_calls import router_for, trade_calldata
from dexlane.chain.permit2 import (
    ONLY_THIS_BLOCK,
    PERMIT2,
    PermitCommand,
    PermitSingle,
    approve,
    revoke_in_permit2,
)
from dexlane.domain.fees import fee_parameters
from dexlane.domain.send_values import CANCEL_GAS, AttemptKind
from dexlane.events.base import FeeCap
from dexlane.events.execution import IntentCreated, Plan, Purpose
from dexlane_signer import (
    Approval,
    DynamicFeeTransaction,
    RecordRequest,
    SignedAttempt,
    SignedBefore,
    SignRequest,
)

if TYPE_CHECKING:  # who makes keys and policies needs no database
    from dexlane.chain.execution.slots import Slot

ALLOWANCE_GAS = 90_000
"""Gas limit of an ERC-20 approve; behind USDC's proxy it takes about 56,000."""


class Signer(Protocol):
    """What executors ask of a signer: one in this process, or one that is reached over a socket."""

    async def sign_transaction(self, request: SignRequest) -> SignedAttempt:
        """Sign, record, return what is on record; raises ``SigningDenied`` or ``GuardUnavailableError``."""
        ...

    async def signed_before(self, request: RecordRequest) -> SignedBefore | None:
        """What is on record; raises ``SigningDenied`` or ``GuardUnavailableError``."""
        ...


PermitNonce = Callable[[str, str], int]
"""(account, token) to the nonce of the next Permit2 permit for our router."""


@dataclass(frozen=True, kw_only=True)
class Payloads:
    """Builds and signs the payloads of one chain. ``signer`` is asked anew each time: its policy follows the books.
    ``epoch`` is the number of the executor's lease at that moment; 0 where there is none."""

    chain_id: int
    signer: Callable[[], Signer]
    permit_nonce: PermitNonce
    deployment: RouterDeployment = MAINNET_ROUTER
    """The Universal Router, which takes what it can."""
    others: tuple[RouterDeployment, ...] = ()
    """Further routers in order, for what it cannot reach; they need allowances of their own."""
    epoch: Callable[[], int] = lambda: 0

    @property
    def routers(self) -> tuple[RouterDeployment, ...]:
        """All of them, the usual one first."""
        return (self.deployment, *self.others)

    def calldata(self, intent: IntentCreated) -> bytes:
        """The calldata of an intent's trade or allowance. The permit of a trade lacks its signature, which the signer
        puts in; that call is then the one of all attempts.

        Raises ``Transient``, ``UnroutableError`` or ``AbiError``.
        """
        plan = intent.plan
        if plan is None:
            return _allowance_call(intent)
        deployment, trade = self.router_of(plan), trade_of(plan, intent.account)
        takes_permits = deployment.kind is RouterKind.UNIVERSAL and not plan.native_in
        return trade_calldata(trade, deployment, [PermitCommand(self._permit(intent, plan))] if takes_permits else ())

    def router_of(self, plan: Plan) -> RouterDeployment:
        """The router that a plan names. Raises ``UnroutableError`` for one that is not known here."""
        if plan.router is None:
            return self.deployment
        for deployment in self.routers:
            if deployment.router == plan.router:
                return deployment
        raise UnroutableError(f"the router {plan.router} of the plan is not known on this chain")

    def routed(self, plan: Plan, account: str) -> Plan:
        """The plan with the first router that would trade exactly what it says; ``UnroutableError`` when none would."""
        deployment = router_for(trade_of(plan, account), self.routers)
        is_usual = deployment.kind is RouterKind.UNIVERSAL
        return plan if is_usual else plan.model_copy(update={"router": deployment.router})

    async def sign(
        self, slot: Slot, kind: AttemptKind, fee: FeeCap, calldata: bytes | None, number: int | None = None
    ) -> SignedAttempt:
        """Sign the slot's next attempt, or get back what the signer has on record for it, or for another ``number``.

        A process that stopped between the signature and its journal asks again, perhaps with another fee; what was
        signed then holds. Raises ``SigningDenied`` or ``GuardUnavailableError``.
        """
        intent = slot.intent
        is_cancel, is_legacy = kind is AttemptKind.CANCEL, fee_parameters(self.chain_id).is_legacy
        transaction = DynamicFeeTransaction(
            chain_id=self.chain_id,
            nonce=slot.nonce,
            # Without EIP-1559 all of the gas price goes to the producer: cap and tip are one.
            max_priority_fee_per_gas_wei=fee.max_fee_per_gas_wei if is_legacy else fee.max_priority_fee_per_gas_wei,
            max_fee_per_gas_wei=fee.max_fee_per_gas_wei,
            gas_limit=CANCEL_GAS if is_cancel else _gas_limit(intent),
            to=intent.account if is_cancel else self._target(intent),
            value_wei=0 if is_cancel else _value_wei(intent.plan),
            data=b"" if is_cancel else calldata or b"",
            envelope="legacy" if is_legacy else "dynamic_fee",
        )
        request = SignRequest(
            sender=intent.account,
            intent_id=intent.id,
            kind="cancel" if is_cancel else "trade",
            transaction=transaction,
            epoch=self.epoch(),
            attempt=number or slot.state.next_number,
            purpose=_purpose(intent),
            approval=_approval(intent),
        )
        return await self.signer().sign_transaction(request)

    def _target(self, intent: IntentCreated) -> str:
        if intent.plan is not None:
            return self.router_of(intent.plan).router
        return PERMIT2 if intent.allowance_in_permit2 else str(intent.allowance_token)

    def _permit(self, intent: IntentCreated, plan: Plan) -> PermitSingle:
        return PermitSingle(
            token=plan.route.token_in,
            amount=plan.amount_in,
            expiration_s=ONLY_THIS_BLOCK,
            nonce=self.permit_nonce(intent.account, plan.route.token_in),
            spender=self.deployment.router,
            sig_deadline_s=plan.deadline_s,
        )


def trade_of(plan: Plan, account: str) -> Trade:
    """What a router is asked for."""
    return Trade(
        orders=[
            ExactInput(legs=path.route.legs, amount_in=path.amount_in, minimum_out=path.minimum_out)
            for path in plan.paths
        ],
        account=account,
        deadline_s=plan.deadline_s,
        native_in=plan.native_in,
        native_out=plan.native_out,
        taxed=bool(plan.taxes),
    )


def _value_wei(plan: Plan | None) -> int:
    return plan.amount_in if plan is not None and plan.native_in else 0


def _allowance_call(intent: IntentCreated) -> bytes:
    spender = intent.allowance_spender or PERMIT2
    if intent.allowance_in_permit2:
        return revoke_in_permit2(str(intent.allowance_token), spender)
    return approve(spender, intent.allowance_amount or 0)


def _approval(intent: IntentCreated) -> Approval | None:
    """What the intent was approved with, as its verdict or exit carries it; None for allowances."""
    cause = intent.exit or intent.verdict
    if cause is None or cause.seal is None:
        return None
    return Approval(bytes.fromhex(cause.seal.statement), bytes.fromhex(cause.seal.signature))


def _purpose(intent: IntentCreated) -> Literal["entry", "exit"]:
    return "exit" if intent.purpose is Purpose.EXIT else "entry"


def _gas_limit(intent: IntentCreated) -> int:
    return ALLOWANCE_GAS if intent.plan is None else intent.plan.gas_limit
