"""What a verdict or an exit approves: the statement that its service seals."""

from __future__ import annotations

from dataclasses import dataclass

from dexlane.events.portfolio import ExitTriggered
from dexlane.events.risk import VerdictApproved
from dexlane.events.seals import ApprovedKind, Approver, Statement


@dataclass(frozen=True, slots=True)
class Moment:
    """The block that was decided on (its number and its time, Unix seconds), and how long the decision is good for."""

    block_number: int
    block_time_s: int
    valid_s: int

    @property
    def expires_s(self) -> int:
        """The last second by the chain's clock."""
        return self.block_time_s + self.valid_s


def of_verdict(verdict: VerdictApproved, moment: Moment) -> Statement:
    """An entry for the pair of the route's ends, or a gap through all its tokens, up to the size that was judged."""
    opportunity = verdict.opportunity
    route = opportunity.route
    return Statement(
        approver=Approver.RISK_SCORER,
        kind=ApprovedKind.GAP if route.is_cycle else ApprovedKind.ENTRY,
        id=verdict.id,
        chain_id=verdict.chain_id,
        block_number=moment.block_number,
        block_time_s=moment.block_time_s,
        expires_s=moment.expires_s,
        tokens=(route.token_in, *(leg.token_out for leg in route.legs)),
        max_amount_in=opportunity.size_hint,
        book_id=opportunity.addressee or "",
    )


def of_exit(exit_: ExitTriggered, approver: Approver, moment: Moment) -> Statement:
    """The sale of a quantity of a token for the quote token of its book, from the account that holds it."""
    return Statement(
        approver=approver,
        kind=ApprovedKind.EXIT,
        id=exit_.id,
        chain_id=exit_.chain_id,
        block_number=moment.block_number,
        block_time_s=moment.block_time_s,
        expires_s=moment.expires_s,
        tokens=(exit_.token.address, exit_.quote.address),
        max_amount_in=exit_.quantity,
        account=exit_.account,
    )
