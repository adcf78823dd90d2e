"""Which router programs are safe to sign, with the Permit2 permits in them.

A program is one chain of swaps or several (a split order). A chain starts with a stated amount from our account, or
from native coin that came with the call and was wrapped first; it passes everything on inside the router, and ends in
our account, or is unwrapped to it, with a minimum out. Any other shape could leave tokens in the router, where the next
caller may take them. Each chain has a minimum of its own, so the least that a split may bring is their sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.direct_calls import DIRECT_SELECTORS, decode_direct
from dexlane_signer.effects import Effect, Trade
from dexlane_signer.policy import CheckContext, Policy
from dexlane_signer.router_calls import (
    ADDRESS_THIS,
    CONTRACT_BALANCE,
    EXECUTE,
    MSG_SENDER,
    UNSIGNED,
    MalformedCalldataError,
    RouterCall,
    RouterPermit,
    RouterSwap,
    RouterUnwrap,
    RouterWrap,
    UnknownCommandError,
    decode_execute,
)
from dexlane_signer.transactions import DynamicFeeTransaction
from dexlane_signer.typed_data import PermitSingle


def check_swaps(
    policy: Policy, transaction: DynamicFeeTransaction, selector: str, context: CheckContext
) -> Effect | Denial:
    """Return what this call of a listed router does, or why it may not be signed."""
    try:
        call = _decoded(policy, transaction, selector)
    except MalformedCalldataError as error:
        return Denial(DenialReason.MALFORMED_CALLDATA, str(error))
    except UnknownCommandError as error:
        return Denial(DenialReason.UNKNOWN_COMMAND, str(error))
    program = _Program(call)
    denial = (
        _check_deadline(policy, call.deadline_s, context.now_s)
        or _check_wrapping(policy, program, transaction.value_wei, context.sender)
        or _check_chains(program, policy.wrapped_native, context.sender)
    )
    if denial is not None:
        return denial
    effect = _effect(program)
    return _check_inputs(policy, transaction.to, context, program.permits, effect) or effect


def _decoded(policy: Policy, transaction: DynamicFeeTransaction, selector: str) -> RouterCall:
    if selector == EXECUTE:
        return decode_execute(transaction.data)
    if selector in DIRECT_SELECTORS:
        return decode_direct(transaction.data, transaction.value_wei, policy.wrapped_native)
    raise UnknownCommandError(f"{selector} is no call of a router that is read here")


class _Program:
    """The steps of a call by kind."""

    __slots__ = ("_steps", "permits", "swaps", "unwraps", "wraps")

    def __init__(self, call: RouterCall) -> None:
        self._steps = call.steps
        self.permits: list[RouterPermit] = []
        self.wraps: list[RouterWrap] = []
        self.swaps: list[RouterSwap] = []
        self.unwraps: list[RouterUnwrap] = []
        for step in call.steps:
            if isinstance(step, RouterSwap):
                self.swaps.append(step)
            elif isinstance(step, RouterPermit):
                self.permits.append(step)
            elif isinstance(step, RouterWrap):
                self.wraps.append(step)
            else:
                self.unwraps.append(step)

    @property
    def in_order(self) -> bool:
        """Whether the steps come as permits, wrap, swaps, unwrap."""
        return self._steps == (*self.permits, *self.wraps, *self.swaps, *self.unwraps)


def _unknown_token(token: str) -> Denial:
    return Denial(DenialReason.UNKNOWN_TOKEN, f"{token} has no limit, so it may not be touched")


def _check_deadline(policy: Policy, deadline_s: int, now_s: int) -> Denial | None:
    if deadline_s < now_s:
        return Denial(DenialReason.DEADLINE_PASSED, f"the deadline {deadline_s} is {now_s - deadline_s} s in the past")
    if deadline_s > now_s + policy.max_deadline_s:
        return Denial(DenialReason.DEADLINE_TOO_FAR, f"a deadline may lie at most {policy.max_deadline_s} s ahead")
    return None


def _check_wrapping(policy: Policy, program: _Program, value_wei: int, sender: str) -> Denial | None:
    wraps, unwraps = program.wraps, program.unwraps
    if not (wraps or unwraps or value_wei):
        return None
    sound = policy.wrapped_native is not None and program.in_order and len(wraps) <= 1 and len(unwraps) <= 1
    if (wraps or unwraps) and not sound:
        return Denial(DenialReason.BROKEN_CHAIN, "a program wraps first and unwraps last, and each once at most")
    return _check_value(policy, program, value_wei) or _check_unwraps(program, sender)


def _check_value(policy: Policy, program: _Program, value_wei: int) -> Denial | None:
    """Value comes along only to be wrapped whole, and is spent whole by the swaps."""
    if not program.wraps and value_wei == 0:
        return None
    if sum(wrap.amount_wei for wrap in program.wraps) != value_wei or value_wei == 0:
        return Denial(DenialReason.VALUE_NOT_ALLOWED, "a swap carries exactly the value that it wraps")
    if any(wrap.recipient != ADDRESS_THIS for wrap in program.wraps):
        return Denial(DenialReason.WRONG_RECIPIENT, "what is wrapped must stay in the router for the swaps")
    if _spent_by_router(program.swaps) != {policy.wrapped_native: value_wei}:
        return Denial(DenialReason.BROKEN_CHAIN, "the swaps must spend exactly what was wrapped")
    wrapped = policy.tokens.get(policy.wrapped_native or "")
    if wrapped is not None and value_wei > wrapped.max_trade:
        return Denial(DenialReason.AMOUNT_OVER_CAP, f"the swap of {value_wei} exceeds {wrapped.max_trade}")
    return None


def _check_unwraps(program: _Program, sender: str) -> Denial | None:
    """What is unwrapped goes to us, and is no less than the swaps must bring."""
    if not program.unwraps:
        return None
    least = max(1, sum(swap.minimum_out for swap in program.swaps))
    for unwrap in program.unwraps:
        if unwrap.recipient not in (MSG_SENDER, sender):
            return Denial(DenialReason.WRONG_RECIPIENT, "the native coin would go to somebody else")
        if program.swaps and unwrap.minimum_wei < least:
            return Denial(DenialReason.NO_MINIMUM_OUT, "less may be unwrapped than the swaps must bring")
    return None


def _check_chains(program: _Program, wrapped_native: str | None, sender: str) -> Denial | None:
    if not program.swaps:
        return Denial(DenialReason.NO_SWAP, "the program swaps nothing")
    first: RouterSwap | None = None  # of the chain that is still open
    last: RouterSwap | None = None
    for swap in program.swaps:
        broken = _check_link(program, last, swap, wrapped_native)
        if broken is not None:
            return broken
        first = first or swap
        kept = bool(program.unwraps) and swap.token_out == wrapped_native and swap.minimum_out > 0
        if swap.recipient == ADDRESS_THIS and not kept:
            last = swap
            continue
        denial = _check_end(first, swap, (ADDRESS_THIS,) if program.unwraps else (MSG_SENDER, sender))
        if denial is not None:
            return denial
        first = last = None
    if last is not None:
        return Denial(DenialReason.WRONG_RECIPIENT, "the last swap leaves its output in the router")
    return None


def _check_link(
    program: _Program, previous: RouterSwap | None, swap: RouterSwap, wrapped_native: str | None
) -> Denial | None:
    """A chain starts with our money and a stated amount; later swaps take all that the router was given."""
    if previous is None:
        # Zero means "already paid" to the V2 command, and 2**255 "all that the router holds".
        if swap.payer_is_user is not bool(program.wraps) and 0 < swap.amount_in < CONTRACT_BALANCE:
            return None
        return Denial(DenialReason.BROKEN_CHAIN, "the first swap of a chain must be paid by us with a stated amount")
    if swap.payer_is_user or swap.amount_in != CONTRACT_BALANCE or swap.token_in != previous.token_out:
        return Denial(DenialReason.BROKEN_CHAIN, "a later swap must spend all that the swap before it gave")
    if swap.token_in == wrapped_native and (program.wraps or program.unwraps):
        return Denial(DenialReason.BROKEN_CHAIN, "a later swap would also spend what other chains wrapped or unwrap")
    return None


def _check_end(first: RouterSwap, swap: RouterSwap, recipients: Sequence[str]) -> Denial | None:
    if swap.recipient not in recipients:
        return Denial(DenialReason.WRONG_RECIPIENT, f"the output would go to {swap.recipient}")
    if swap.minimum_out <= 0:
        return Denial(DenialReason.NO_MINIMUM_OUT, "the final swap accepts any output, even none")
    if first.path[0] == swap.path[-1] and swap.minimum_out < first.amount_in:
        return Denial(DenialReason.LOSING_ROUND_TRIP, "a round trip must return at least what it took")
    return None


def _check_inputs(
    policy: Policy, router: str, context: CheckContext, permits: Sequence[RouterPermit], effect: Effect
) -> Denial | None:
    """What is taken from us is within its limits, and a permit allows no more than that. Where native coin is wrapped
    it pays for all chains, and no token is taken."""
    inputs: Mapping[str, int] = {} if effect.wraps else effect.paid
    for token, amount in inputs.items():
        limit = policy.limit_of(token)
        if limit is None:
            return _unknown_token(token)
        if amount > limit.max_trade:
            return Denial(DenialReason.AMOUNT_OVER_CAP, f"the swap of {amount} exceeds {limit.max_trade}")
    for step in permits:
        permit = step.permit
        if permit.spender != router:
            return Denial(DenialReason.UNKNOWN_SPENDER, "the permit names another contract than the router called")
        denial = _check_permit(policy, permit, context)
        if denial is not None:
            return denial
        if permit.amount > inputs.get(permit.token, 0):
            return Denial(DenialReason.PERMIT_EXCEEDS_INPUT, "the permit allows more than the program takes")
    return None


def _check_permit(policy: Policy, permit: PermitSingle, context: CheckContext) -> Denial | None:
    """Its own limits, whatever the program does with it."""
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


def _effect(program: _Program) -> Effect:
    """The chains of a checked program, and what they pay with: our tokens, or native coin wrapped on the way."""
    trades: list[Trade] = []
    paid: dict[str, int] = {}
    for swap in program.swaps:
        if trades and swap.amount_in == CONTRACT_BALANCE:
            trades[-1] = Trade(trades[-1].tokens + swap.path[1:], trades[-1].amount_in)
        else:
            token = swap.path[0]
            trades.append(Trade(swap.path, swap.amount_in))
            paid[token] = paid.get(token, 0) + swap.amount_in
    return Effect(
        trades=tuple(trades),
        paid=paid,
        wraps=bool(program.wraps),
        unwraps=bool(program.unwraps),
        unsigned=tuple([one for one in program.permits if one.signature == UNSIGNED]),
    )


def _spent_by_router(swaps: Sequence[RouterSwap]) -> dict[str, int]:
    """How much of each token the program takes from what the router was given in this call, by stated amounts."""
    totals: dict[str, int] = {}
    for swap in swaps:
        if not swap.payer_is_user and swap.amount_in != CONTRACT_BALANCE:
            totals[swap.token_in] = totals.get(swap.token_in, 0) + swap.amount_in
    return totals
