"""What a signature does for a position: opens one, closes one, or neither. The asker's word alone is not enough."""

from __future__ import annotations

from typing import Literal, TypeAlias

from dexlane_signer.call_rules import APPROVE, UNWRAP
from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.policy import Kind, Policy
from dexlane_signer.router_calls import (
    ADDRESS_THIS,
    MalformedCalldataError,
    RouterSwap,
    UnknownCommandError,
    decode_execute,
)
from dexlane_signer.transactions import DynamicFeeTransaction

Purpose: TypeAlias = Literal["entry", "exit"]
"""What the asker says. ``entry`` is always believed, because it is the stricter one."""

_NOT_AN_EXIT = Denial(
    DenialReason.NOT_AN_EXIT, "an exit ends in a token that positions are paid with, and not in the one it began with"
)


def opens_position(policy: Policy, transaction: DynamicFeeTransaction, kind: Kind, purpose: Purpose) -> bool | Denial:
    """Whether an allowed transaction opens a position; a ``Denial`` when it is called an exit and cannot be one.

    Allowances and unwrapping open nothing. An exit must end in listed tokens: those that positions are paid with.
    """
    if kind == "cancel" or "0x" + transaction.data[:4].hex() in (APPROVE, UNWRAP):
        return False
    if purpose == "entry":
        return True
    try:
        swaps = [step for step in decode_execute(transaction.data).steps if isinstance(step, RouterSwap)]
    except (MalformedCalldataError, UnknownCommandError):
        return _NOT_AN_EXIT
    taken = {swap.token_in for swap in swaps if swap.payer_is_user}
    given = {swap.token_out for swap in swaps if swap.recipient != ADDRESS_THIS}
    return False if given and given <= policy.tokens.keys() and not given & taken else _NOT_AN_EXIT
