"""What a signature does for a position: opens one, closes one, or neither. The asker's word alone is not enough."""

from __future__ import annotations

from typing import Literal, TypeAlias

from dexlane_signer.call_rules import APPROVE, UNWRAP
from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.policy import Kind, Policy
from dexlane_signer.revocations import REVOCATIONS
from dexlane_signer.router_calls import (
    ADDRESS_THIS,
    MalformedCalldataError,
    RouterCall,
    RouterSwap,
    RouterUnwrap,
    RouterWrap,
    UnknownCommandError,
)
from dexlane_signer.swap_rules import decode_swaps
from dexlane_signer.transactions import DynamicFeeTransaction

Purpose: TypeAlias = Literal["entry", "exit"]
"""What the asker says. ``entry`` is always believed, because it is the stricter one."""

NATIVE = "0x" + "e" * 40
"""The name under which a policy lists the native coin among the tokens that positions are paid with."""

_NOT_AN_EXIT = Denial(
    DenialReason.NOT_AN_EXIT, "an exit ends in a token that positions are paid with, and not in the one it began with"
)


def opens_position(policy: Policy, transaction: DynamicFeeTransaction, kind: Kind, purpose: Purpose) -> bool | Denial:
    """Whether an allowed transaction opens a position; a ``Denial`` when it is called an exit and cannot be one.

    Allowances, taking them back and unwrapping open nothing. An exit must end in listed tokens: those that positions
    are paid with.
    """
    if kind == "cancel" or "0x" + transaction.data[:4].hex() in {APPROVE, UNWRAP, *REVOCATIONS}:
        return False
    if purpose == "entry":
        return True
    try:
        call = decode_swaps(policy, transaction)
    except (MalformedCalldataError, UnknownCommandError):
        return _NOT_AN_EXIT
    taken, given = _ends(call, policy.wrapped_native)
    return False if given and given <= policy.tokens.keys() and not given & taken else _NOT_AN_EXIT


def _ends(call: RouterCall, wrapped_native: str | None) -> tuple[set[str], set[str]]:
    """What a call takes from us and what it gives us; what is wrapped or unwrapped counts as the native coin."""
    swaps = [step for step in call.steps if isinstance(step, RouterSwap)]
    wraps = any(isinstance(step, RouterWrap) for step in call.steps)
    unwraps = any(isinstance(step, RouterUnwrap) for step in call.steps)
    taken = {swap.token_in for swap in swaps if swap.payer_is_user} | ({NATIVE} if wraps else set())
    given = {swap.token_out for swap in swaps if swap.recipient != ADDRESS_THIS} | ({NATIVE} if unwraps else set())
    # A round trip from the wrapped coin to the native one, or back, closes no position.
    taken |= {NATIVE} if wrapped_native in taken else set()
    taken |= {wrapped_native} if wrapped_native is not None and NATIVE in taken else set()
    return taken, given
