"""What a signature does for a position: opens one, closes one, or neither. The asker's word alone is not enough."""

from __future__ import annotations

from typing import Literal, TypeAlias

from dexlane_signer.approvals import ApprovedKind, Statement
from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.effects import NATIVE, Effect
from dexlane_signer.policy import Policy

Purpose: TypeAlias = Literal["entry", "exit"]
"""What the asker says. ``entry`` is always believed, because it is the stricter one."""


_NOT_AN_EXIT = Denial(
    DenialReason.NOT_AN_EXIT, "an exit ends in a token that positions are paid with, and not in the one it began with"
)
_NOT_APPROVED_AS_EXIT = Denial(DenialReason.NOT_AN_EXIT, "what this is approved with is no approval of an exit")


def opens_position(policy: Policy, effect: Effect, statement: Statement | None, purpose: Purpose) -> bool | Denial:
    """Whether an allowed transaction opens a position; a ``Denial`` when it is called an exit and cannot be one.

    Cancels, allowances and unwrapping open nothing. An exit must end in listed tokens, those that positions are paid
    with; and where it needs an approval, that must be one of an exit.
    """
    if not effect.paid and not effect.trades:
        return False
    if purpose == "entry":
        return True
    if statement is not None and statement.kind is not ApprovedKind.EXIT:
        return _NOT_APPROVED_AS_EXIT
    taken, given = _ends(effect, policy.wrapped_native)
    return False if given and given <= policy.tokens.keys() and not given & taken else _NOT_AN_EXIT


def _ends(effect: Effect, wrapped_native: str | None) -> tuple[set[str], set[str]]:
    """What a call takes from us and what it gives us; what is wrapped or unwrapped counts as the native coin."""
    taken = {trade.tokens[0] for trade in effect.trades} | ({NATIVE} if effect.wraps else set())
    given = {NATIVE} if effect.unwraps else {trade.tokens[-1] for trade in effect.trades}
    # A round trip from the wrapped coin to the native one, or back, closes no position.
    taken |= {NATIVE} if wrapped_native in taken else set()
    taken |= {wrapped_native} if wrapped_native is not None and NATIVE in taken else set()
    return taken, given
