"""Which transactions may be signed: deny by default, decoded, and pure (time is an argument)."""

from __future__ import annotations

from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.effects import NATIVE, NO_EFFECT, Effect
from dexlane_signer.policy import CheckContext, Kind, Policy
from dexlane_signer.revocations import REVOCATIONS, check_revocation
from dexlane_signer.swap_rules import check_swaps
from dexlane_signer.transactions import DynamicFeeTransaction
from dexlane_signer.typed_data import PERMIT2

APPROVE = "0x095ea7b3"
"""ERC-20 ``approve(address,uint256)``."""
WRAP = "0xd0e30db0"
"""WETH9 ``deposit()``."""
UNWRAP = "0x2e1a7d4d"
"""WETH9 ``withdraw(uint256)``."""


def check(policy: Policy, transaction: DynamicFeeTransaction, context: CheckContext) -> Denial | None:
    """Return why ``transaction`` may not be signed, or ``None`` when it may."""
    found = examine(policy, transaction, context)
    return found if isinstance(found, Denial) else None


def examine(policy: Policy, transaction: DynamicFeeTransaction, context: CheckContext) -> Effect | Denial:
    """Return what ``transaction`` does with our money, or why it may not be signed."""
    denial = _check_envelope(policy, transaction, context)
    if denial is not None:
        return denial
    is_self_call = transaction.to == context.sender
    if context.kind == "cancel":
        is_bare = is_self_call and not transaction.data and transaction.value_wei == 0
        return NO_EFFECT if is_bare else _NOT_A_CANCEL
    if is_self_call:
        return Denial(DenialReason.CANCEL_AS_TRADE, "a transaction to the own address is a cancel, not a trade")
    return _check_call(policy, transaction, context)


_NOT_A_CANCEL = Denial(
    DenialReason.NOT_A_CANCEL, "a cancel is a transaction to the own address with no data and no value"
)


def _check_envelope(policy: Policy, transaction: DynamicFeeTransaction, context: CheckContext) -> Denial | None:
    if transaction.chain_id not in policy.chain_ids:
        return Denial(DenialReason.WRONG_CHAIN, f"chain {transaction.chain_id} is not covered by this policy")
    if transaction.envelope != ("legacy" if transaction.chain_id in policy.legacy_chain_ids else "dynamic_fee"):
        return Denial(
            DenialReason.WRONG_ENVELOPE, f"chain {transaction.chain_id} takes no {transaction.envelope} transactions"
        )
    if context.sender not in policy.own_addresses:
        return Denial(DenialReason.UNKNOWN_SENDER, f"{context.sender} is none of the accounts of this policy")
    if transaction.value_wei > policy.max_value_wei:
        return Denial(DenialReason.VALUE_OVER_CAP, f"{transaction.value_wei} wei is over {policy.max_value_wei}")
    return _check_gas(policy, transaction, context.kind)


def _check_gas(policy: Policy, transaction: DynamicFeeTransaction, kind: Kind) -> Denial | None:
    fee_cap, tip_cap = policy.gas_price_caps_wei(kind)
    if transaction.max_fee_per_gas_wei > fee_cap:
        return Denial(DenialReason.FEE_OVER_CAP, f"{transaction.max_fee_per_gas_wei} wei per gas is over the cap")
    if transaction.gas_limit > policy.max_gas_limit:
        return Denial(DenialReason.GAS_OVER_CAP, f"{transaction.gas_limit} gas is over {policy.max_gas_limit}")
    if transaction.max_priority_fee_per_gas_wei > tip_cap:
        tip = transaction.max_priority_fee_per_gas_wei
        return Denial(DenialReason.TIP_OVER_CAP, f"a tip of {tip} wei per gas is over the cap")
    if policy.max_cost_wei is not None and transaction.max_cost_wei > policy.max_cost_wei:
        cost = transaction.max_cost_wei
        return Denial(DenialReason.COST_OVER_CAP, f"gas for up to {cost} wei is over {policy.max_cost_wei}")
    return None


def _check_call(policy: Policy, transaction: DynamicFeeTransaction, context: CheckContext) -> Effect | Denial:
    selector = "0x" + transaction.data[:4].hex()
    target = transaction.to
    if target == policy.wrapped_native and selector in (WRAP, UNWRAP):
        return _check_wrapping(transaction, selector)
    if selector in policy.routers.get(target, ()):
        return check_swaps(policy, transaction, selector, context)
    if transaction.value_wei:
        return Denial(DenialReason.VALUE_NOT_ALLOWED, "only wrapping may carry value")
    if target == PERMIT2 and selector in REVOCATIONS:
        return check_revocation(transaction.data) or NO_EFFECT
    return _check_token_call(policy, transaction, selector)


def _check_token_call(policy: Policy, transaction: DynamicFeeTransaction, selector: str) -> Effect | Denial:
    target = transaction.to
    is_token = policy.limit_of(target) is not None and target not in policy.routers
    if is_token and selector == APPROVE:
        return _check_approve(policy, transaction)
    if is_token or target in policy.routers:
        return _unknown_selector(selector, target)
    return Denial(DenialReason.UNKNOWN_TARGET, f"{target} is neither a listed router nor a listed token")


def _unknown_selector(selector: str, target: str) -> Denial:
    return Denial(DenialReason.UNKNOWN_SELECTOR, f"{selector} may not be called on {target}")


def _check_wrapping(transaction: DynamicFeeTransaction, selector: str) -> Effect | Denial:
    if len(transaction.data) != (4 if selector == WRAP else 36):
        return Denial(DenialReason.MALFORMED_CALLDATA, "wrapping takes no argument and unwrapping one")
    if selector == UNWRAP and transaction.value_wei:
        return Denial(DenialReason.VALUE_NOT_ALLOWED, "unwrapping takes no value")
    return Effect(paid={NATIVE: transaction.value_wei}) if transaction.value_wei else NO_EFFECT


def _check_approve(policy: Policy, transaction: DynamicFeeTransaction) -> Effect | Denial:
    """``approve(spender, amount)`` on a listed token: to Permit2 within the limit, to a router that pulls tokens itself
    for one trade at most, or zero to anyone."""
    data, limit = transaction.data, policy.limit_of(transaction.to)
    if len(data) != 68 or any(data[4:16]):
        return Denial(DenialReason.MALFORMED_CALLDATA, "approve takes an address and an amount")
    spender, amount = "0x" + data[16:36].hex(), int.from_bytes(data[36:], "big")
    if amount == 0:
        return NO_EFFECT  # taking an allowance back is always right, whoever holds it
    if spender != PERMIT2 and spender not in policy.direct_spenders:
        return Denial(DenialReason.UNKNOWN_SPENDER, f"{spender} is neither Permit2 nor a listed spender")
    if limit is None or amount > (limit.max_allowance if spender == PERMIT2 else limit.max_trade):
        return Denial(DenialReason.AMOUNT_OVER_CAP, f"the allowance of {amount} exceeds the limit of the token")
    return NO_EFFECT
