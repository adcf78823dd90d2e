"""Which transactions may be signed: deny by default, decoded, and pure (time is an argument)."""

from __future__ import annotations

from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.policy import CheckContext, Policy
from dexlane_signer.revocations import REVOCATIONS, check_revocation
from dexlane_signer.swap_rules import check_swaps, unknown_sender
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
    denial = _check_envelope(policy, transaction, context)
    if denial is not None:
        return denial
    is_self_call = transaction.to == context.sender
    if context.kind == "cancel":
        return None if is_self_call and not transaction.data and transaction.value_wei == 0 else _NOT_A_CANCEL
    if is_self_call:
        return Denial(DenialReason.CANCEL_AS_TRADE, "a transaction to the own address is a cancel, not a trade")
    return _check_call(policy, transaction, context)


_NOT_A_CANCEL = Denial(
    DenialReason.NOT_A_CANCEL, "a cancel is a transaction to the own address with no data and no value"
)


def _check_envelope(policy: Policy, transaction: DynamicFeeTransaction, context: CheckContext) -> Denial | None:
    if transaction.chain_id not in policy.chain_ids:
        return Denial(DenialReason.WRONG_CHAIN, f"chain {transaction.chain_id} is not covered by this policy")
    if context.sender not in policy.own_addresses:
        return unknown_sender(context.sender)
    if transaction.max_fee_per_gas_wei > policy.fee_cap_wei(context.kind):
        return Denial(DenialReason.FEE_OVER_CAP, f"{transaction.max_fee_per_gas_wei} wei per gas is over the cap")
    if transaction.gas_limit > policy.max_gas_limit:
        return Denial(DenialReason.GAS_OVER_CAP, f"{transaction.gas_limit} gas is over {policy.max_gas_limit}")
    if transaction.value_wei > policy.max_value_wei:
        return Denial(DenialReason.VALUE_OVER_CAP, f"{transaction.value_wei} wei is over {policy.max_value_wei}")
    return None


def _check_call(policy: Policy, transaction: DynamicFeeTransaction, context: CheckContext) -> Denial | None:
    selector = "0x" + transaction.data[:4].hex()
    target = transaction.to
    if target == policy.wrapped_native and selector in (WRAP, UNWRAP):
        return _check_wrapping(transaction, selector)
    if selector in policy.routers.get(target, ()):
        return check_swaps(policy, transaction, context)
    if transaction.value_wei:
        return Denial(DenialReason.VALUE_NOT_ALLOWED, "only wrapping may carry value")
    if target == PERMIT2 and selector in REVOCATIONS:
        return check_revocation(transaction.data)
    return _check_token_call(policy, transaction, selector)


def _check_token_call(policy: Policy, transaction: DynamicFeeTransaction, selector: str) -> Denial | None:
    target = transaction.to
    is_token = policy.limit_of(target) is not None and target not in policy.routers
    if is_token and selector == APPROVE:
        return _check_approve(policy, transaction)
    if is_token or target in policy.routers:
        return _unknown_selector(selector, target)
    return Denial(DenialReason.UNKNOWN_TARGET, f"{target} is neither a listed router nor a listed token")


def _unknown_selector(selector: str, target: str) -> Denial:
    return Denial(DenialReason.UNKNOWN_SELECTOR, f"{selector} may not be called on {target}")


def _check_wrapping(transaction: DynamicFeeTransaction, selector: str) -> Denial | None:
    if len(transaction.data) != (4 if selector == WRAP else 36):
        return Denial(DenialReason.MALFORMED_CALLDATA, "wrapping takes no argument and unwrapping one")
    if selector == UNWRAP and transaction.value_wei:
        return Denial(DenialReason.VALUE_NOT_ALLOWED, "unwrapping takes no value")
    return None


def _check_approve(policy: Policy, transaction: DynamicFeeTransaction) -> Denial | None:
    """``approve(spender, amount)`` on a listed token: to Permit2 within the limit, to a router that pulls tokens itself
    for one trade at most, or zero to anyone."""
    data, limit = transaction.data, policy.limit_of(transaction.to)
    if len(data) != 68 or any(data[4:16]):
        return Denial(DenialReason.MALFORMED_CALLDATA, "approve takes an address and an amount")
    spender, amount = "0x" + data[16:36].hex(), int.from_bytes(data[36:], "big")
    if amount == 0:
        return None  # taking an allowance back is always right, whoever holds it
    if spender != PERMIT2 and spender not in policy.direct_spenders:
        return Denial(DenialReason.UNKNOWN_SPENDER, f"{spender} is neither Permit2 nor a listed spender")
    if limit is None or amount > (limit.max_allowance if spender == PERMIT2 else limit.max_trade):
        return Denial(DenialReason.AMOUNT_OVER_CAP, f"the allowance of {amount} exceeds the limit of the token")
    return None
