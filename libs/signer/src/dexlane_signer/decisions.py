"""The whole decision about a transaction that needs no record: policy, approval, value. Pure; time is an argument."""

from __future__ import annotations

from dataclasses import dataclass

from dexlane_signer.approval_rules import check_approval
from dexlane_signer.approvals import Approval, ApprovedKind, Statement
from dexlane_signer.call_rules import examine
from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.effects import Effect
from dexlane_signer.policy import CheckContext, Policy
from dexlane_signer.spending import Charge, amounts_of, value_of
from dexlane_signer.transactions import DynamicFeeTransaction


@dataclass(frozen=True, slots=True)
class Allowed:
    """A transaction that may be signed once the record agrees: what it does, which approval covers it, and what it pays
    in the policy's unit of account."""

    effect: Effect
    statement: Statement | None
    value: int


def decide(
    policy: Policy, transaction: DynamicFeeTransaction, approval: Approval | None, context: CheckContext
) -> Allowed | Denial:
    """Return what is allowed, or why nothing is."""
    effect = examine(policy, transaction, context)
    if isinstance(effect, Denial):
        return effect
    statement = check_approval(policy, approval, effect, transaction.chain_id, context)
    if isinstance(statement, Denial):
        return statement
    cap, value = policy.caps.value_per_trade, value_of(policy, effect.paid)
    if cap is not None and value > cap and not _is_exit(statement):
        return Denial(DenialReason.TRADE_VALUE_CAP, f"the trade is worth more than the cap of {cap}")
    return Allowed(effect, statement, value)


def charge_for(transaction: DynamicFeeTransaction, allowed: Allowed, context: CheckContext) -> Charge:
    """What signing an allowed transaction counts."""
    return Charge(
        chain_id=transaction.chain_id,
        address=context.sender,
        nonce=transaction.nonce,
        at_s=context.now_s,
        amounts=amounts_of(allowed.effect.paid, allowed.value, cost_wei=transaction.max_cost_wei),
        is_way_out=context.kind == "cancel" or _is_exit(allowed.statement),
    )


def _is_exit(statement: Statement | None) -> bool:
    return statement is not None and statement.kind is ApprovedKind.EXIT
