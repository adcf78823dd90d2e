"""Whether an approval covers what a transaction does. Pure, like the policy it belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from dexlane_signer.approvals import (
    MAY_APPROVE,
    Approval,
    ApprovedKind,
    MalformedApprovalError,
    Statement,
    UnknownApprovalError,
    is_genuine,
    read_statement,
)
from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.effects import NATIVE, Effect, Trade
from dexlane_signer.policy import CheckContext, Policy


def check_approval(
    policy: Policy, approval: Approval | None, effect: Effect, chain_id: int, context: CheckContext
) -> Statement | Denial | None:
    """Return the statement that covers the trades of ``effect``, why none does, or ``None`` when none is needed."""
    if not policy.approvers or not effect.trades:
        return None
    statement = opened(policy, approval, chain_id, context)
    if isinstance(statement, Denial):
        return statement
    return _check_trades(policy, statement, effect.trades) or statement


def opened(policy: Policy, approval: Approval | None, chain_id: int, context: CheckContext) -> Statement | Denial:
    """Read and verify an approval: the right key for its kind, for this chain and account, at this time."""
    if approval is None:
        return Denial(DenialReason.NOT_APPROVED, "nobody approved this trade")
    try:
        statement = read_statement(approval.statement)
    except MalformedApprovalError as error:
        return Denial(DenialReason.APPROVAL_MALFORMED, str(error))
    except UnknownApprovalError as error:
        return Denial(DenialReason.APPROVAL_UNKNOWN, str(error))
    return (
        _check_seal(policy, approval, statement)
        or _check_time(policy, statement, context.now_s)
        or _check_addressee(policy, statement, chain_id, context.sender)
        or statement
    )


def _check_seal(policy: Policy, approval: Approval, statement: Statement) -> Denial | None:
    approver, kind = statement.approver, statement.kind
    key = policy.approvers.get(approver)
    if approver not in MAY_APPROVE[kind] or key is None:
        who, what = approver.name.lower(), kind.name.lower()
        return Denial(DenialReason.APPROVAL_WRONG_KEY, f"{who} may not approve anything of the kind {what} here")
    if not is_genuine(key, approval.statement, approval.signature):
        return Denial(
            DenialReason.APPROVAL_FORGED, f"the approval was not sealed with the key of {approver.name.lower()}"
        )
    return None


def _check_time(policy: Policy, statement: Statement, now_s: int) -> Denial | None:
    if statement.expires_s < now_s:
        late_s = now_s - statement.expires_s
        return Denial(DenialReason.APPROVAL_EXPIRED, f"the approval expired {late_s} s ago")
    if statement.expires_s > now_s + policy.max_approval_s:
        return Denial(DenialReason.APPROVAL_TOO_LONG, f"an approval may end at most {policy.max_approval_s} s from now")
    return None


def _check_addressee(policy: Policy, statement: Statement, chain_id: int, sender: str) -> Denial | None:
    if statement.chain_id != chain_id:
        return Denial(DenialReason.APPROVAL_WRONG_CHAIN, f"the approval is for chain {statement.chain_id}")
    if statement.account and statement.account != sender:
        return Denial(DenialReason.APPROVAL_WRONG_ACCOUNT, f"the approval is for account {statement.account}")
    if statement.book_id and sender not in policy.book_accounts.get(statement.book_id, frozenset()):
        return Denial(DenialReason.APPROVAL_WRONG_ACCOUNT, f"the approval is for book {statement.book_id}")
    return None


def _check_trades(policy: Policy, statement: Statement, trades: Sequence[Trade]) -> Denial | None:
    """Routers know native coin by its wrapped form only, so an approval of the one is one of the other."""
    approved = statement.tokens
    if NATIVE in approved:
        approved = tuple([policy.wrapped_native or token if token == NATIVE else token for token in approved])
    covers = _is_round_trip if statement.kind is ApprovedKind.GAP else _is_same_pair
    paid, amount = trades[0].tokens[0], 0
    for trade in trades:
        if not covers(approved, trade.tokens):
            return Denial(DenialReason.APPROVAL_WRONG_TOKENS, "the approval is for other tokens")
        if trade.tokens[0] != paid:
            return Denial(DenialReason.APPROVAL_WRONG_TOKENS, "an approved trade pays one token")
        amount += trade.amount_in
    return _check_amount(statement, approved[0] == paid, amount)


def _is_same_pair(approved: tuple[str, ...], traded: tuple[str, ...]) -> bool:
    return traded[0] == approved[0] and traded[-1] == approved[-1] and traded[0] != traded[-1]


def _is_round_trip(approved: tuple[str, ...], traded: tuple[str, ...]) -> bool:
    return traded[0] == traded[-1] and set(traded) == set(approved)


def _check_amount(statement: Statement, is_first_token: bool, amount: int) -> Denial | None:
    """The largest amount is one of the first token; a gap that begins elsewhere is bounded by the policy alone."""
    if statement.max_amount_in and is_first_token and amount > statement.max_amount_in:
        return Denial(
            DenialReason.APPROVAL_AMOUNT, f"{amount} is more than the approved amount of {statement.max_amount_in}"
        )
    return None
