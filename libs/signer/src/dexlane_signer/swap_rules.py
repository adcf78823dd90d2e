"""Which Universal Router programs and Permit2 permits are safe to sign.

A program is one chain of swaps or several (a split order). A chain starts with an amount from our account,
passes everything on inside the router, and ends in our account with a minimum out. Any other shape could
leave tokens in the router, where the next caller may take them.
"""

from __future__ import annotations

from collections.abc import Sequence

from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.effects import Effect, Trade
from dexlane_signer.policy import CheckContext, Policy
from dexlane_signer.router_calls import (
    ADDRESS_THIS,
    CONTRACT_BALANCE,
    MSG_SENDER,
    MalformedCalldataError,
    RouterPermit,
    RouterSwap,
    UnknownCommandError,
    decode_execute,
)
from dexlane_signer.transactions import DynamicFeeTransaction
from dexlane_signer.typed_data import PermitSingle


def check_execute(policy: Policy, transaction: DynamicFeeTransaction, context: CheckContext) -> Effect | Denial:
    """Return what this ``execute`` call does, or why it may not be signed."""
    try:
        call = decode_execute(transaction.data)
    except MalformedCalldataError as error:
        return Denial(DenialReason.MALFORMED_CALLDATA, str(error))
    except UnknownCommandError as error:
        return Denial(DenialReason.UNKNOWN_COMMAND, str(error))
    swaps = [step for step in call.steps if isinstance(step, RouterSwap)]
    permits = [step for step in call.steps if isinstance(step, RouterPermit)]
    denial = (
        _check_deadline(policy, call.deadline_s, context.now_s)
        or _check_chains(swaps, context.sender)
        or _check_inputs(policy, swaps)
        or _check_permits(policy, transaction.to, context, permits=permits, swaps=swaps)
    )
    return denial or Effect(trades=_trades(swaps), paid=_inputs(swaps))


def check_permit(policy: Policy, permit: PermitSingle, context: CheckContext) -> Denial | None:
    """Return why a Permit2 permit may not be signed, or ``None`` when it may."""
    if context.sender not in policy.own_addresses:
        return unknown_sender(context.sender)
    if permit.spender not in policy.permit_spenders:
        return Denial(DenialReason.UNKNOWN_SPENDER, f"{permit.spender} may not be named in a permit")
    limit = policy.limit_of(permit.token)
    if limit is None:
        return _unknown_token(permit.token)
    if permit.amount > limit.max_trade:
        return Denial(DenialReason.AMOUNT_OVER_CAP, f"the permit of {permit.amount} exceeds {limit.max_trade}")
    latest = context.now_s + policy.max_permit_s
    if permit.expiration_s > latest or permit.sig_deadline_s > latest:
        return Denial(DenialReason.PERMIT_TOO_LONG, f"a permit may end at most {policy.max_permit_s} s from now")
    return None


def unknown_sender(sender: str) -> Denial:
    """The denial for an account that the policy does not name."""
    return Denial(DenialReason.UNKNOWN_SENDER, f"{sender} is none of the accounts of this policy")


def _unknown_token(token: str) -> Denial:
    return Denial(DenialReason.UNKNOWN_TOKEN, f"{token} has no limit, so it may not be touched")


def _check_deadline(policy: Policy, deadline_s: int, now_s: int) -> Denial | None:
    if deadline_s < now_s:
        return Denial(DenialReason.DEADLINE_PASSED, f"the deadline {deadline_s} is {now_s - deadline_s} s in the past")
    if deadline_s > now_s + policy.max_deadline_s:
        return Denial(DenialReason.DEADLINE_TOO_FAR, f"a deadline may lie at most {policy.max_deadline_s} s ahead")
    return None


def _check_chains(swaps: Sequence[RouterSwap], sender: str) -> Denial | None:
    if not swaps:
        return Denial(DenialReason.NO_SWAP, "the program swaps nothing")
    first: RouterSwap | None = None  # of the chain that is still open
    last: RouterSwap | None = None
    for swap in swaps:
        broken = _check_link(last, swap)
        if broken is not None:
            return broken
        first = first or swap
        if swap.recipient == ADDRESS_THIS:
            last = swap
            continue
        denial = _check_end(first, swap, sender)
        if denial is not None:
            return denial
        first = last = None
    if last is not None:
        return Denial(DenialReason.WRONG_RECIPIENT, "the last swap leaves its output in the router")
    return None


def _check_link(previous: RouterSwap | None, swap: RouterSwap) -> Denial | None:
    """A chain starts with our money and a stated amount; later swaps take all that the router was given."""
    if previous is None:
        # Zero means "already paid" to the V2 command, and 2**255 "all that the router holds".
        if swap.payer_is_user and 0 < swap.amount_in < CONTRACT_BALANCE:
            return None
        return Denial(DenialReason.BROKEN_CHAIN, "the first swap of a chain must be paid by us with a stated amount")
    if swap.payer_is_user or swap.amount_in != CONTRACT_BALANCE or swap.token_in != previous.token_out:
        return Denial(DenialReason.BROKEN_CHAIN, "a later swap must spend all that the swap before it gave")
    return None


def _check_end(first: RouterSwap, swap: RouterSwap, sender: str) -> Denial | None:
    if swap.recipient not in (MSG_SENDER, sender):
        return Denial(DenialReason.WRONG_RECIPIENT, f"the output would go to {swap.recipient}")
    if swap.minimum_out <= 0:
        return Denial(DenialReason.NO_MINIMUM_OUT, "the final swap accepts any output, even none")
    if first.token_in == swap.token_out and swap.minimum_out < first.amount_in:
        return Denial(DenialReason.LOSING_ROUND_TRIP, "a round trip must return at least what it took")
    return None


def _check_inputs(policy: Policy, swaps: Sequence[RouterSwap]) -> Denial | None:
    for token, amount in _inputs(swaps).items():
        limit = policy.limit_of(token)
        if limit is None:
            return _unknown_token(token)
        if amount > limit.max_trade:
            return Denial(DenialReason.AMOUNT_OVER_CAP, f"the swap of {amount} exceeds {limit.max_trade}")
    return None


def _check_permits(
    policy: Policy,
    router: str,
    context: CheckContext,
    *,
    permits: Sequence[RouterPermit],
    swaps: Sequence[RouterSwap],
) -> Denial | None:
    inputs = _inputs(swaps)
    for step in permits:
        permit = step.permit
        if permit.spender != router:
            return Denial(DenialReason.UNKNOWN_SPENDER, "the permit names another contract than the router called")
        denial = check_permit(policy, permit, context)
        if denial is not None:
            return denial
        if permit.amount > inputs.get(permit.token, 0):
            return Denial(DenialReason.PERMIT_EXCEEDS_INPUT, "the permit allows more than the program takes")
    return None


def _trades(swaps: Sequence[RouterSwap]) -> tuple[Trade, ...]:
    """The chains of a checked program."""
    found: list[Trade] = []
    for swap in swaps:
        if swap.payer_is_user:
            found.append(Trade(swap.tokens, swap.amount_in))
        else:
            found[-1] = Trade(found[-1].tokens + swap.tokens[1:], found[-1].amount_in)
    return tuple(found)


def _inputs(swaps: Sequence[RouterSwap]) -> dict[str, int]:
    """How much of each token the program takes from our account."""
    totals: dict[str, int] = {}
    for swap in swaps:
        if swap.payer_is_user:
            totals[swap.token_in] = totals.get(swap.token_in, 0) + swap.amount_in
    return totals
