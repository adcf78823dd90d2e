"""From a deciding call and its result to the decision that is published. Pure, so that a re-run says the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dexlane.domain.circumstances import Market, Planned, Refused
from dexlane.domain.exits import ExitSignal, HeldPosition
from dexlane.domain.risk.assessment import Assessment
from dexlane.domain.risk.profiles import PROFILES
from dexlane.domain.thoughts.calls import Thought
from dexlane.domain.thoughts.counterfactual import would_trade_if
from dexlane.domain.thoughts.visible import tokens_about
from dexlane.domain.tried import Tried
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.portfolio import ExitTriggered
from dexlane.events.risk import DecisionRecorded, RiskFactor, VerdictApproved
from dexlane.events.thoughts import Alternative, Stance, Weighed
from dexlane.values.amounts import decimal_text
from dexlane.values.books import Book

TRADED = "traded"
APPROVED = "approved"
REJECTED = "rejected"
EXIT_TRIGGERED = "exit_triggered"
ACCEPTED_SCORE = 49
"""A category that scores more speaks against a trade where no book says how much it accepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What one kind of call says of itself."""

    outcome: str
    reasons: tuple[str, ...]
    strategy: str | None = None
    tokens: tuple[str, ...] = ()
    factors: tuple[Weighed, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    would_if: tuple[str, ...] = ()
    inputs: Mapping[str, str]


def decision_of(thought: Thought, inputs_id: str) -> DecisionRecorded:
    """The decision as it is published. ``inputs_id`` names the document of the call."""
    occasion, said = thought.occasion, _SAYING[thought.call](thought)
    subject = occasion.facts.get("decided_about", occasion.subject_id)
    inputs = {**said.inputs, **occasion.facts, "code": occasion.code}
    return DecisionRecorded(
        id=DecisionRecorded.make_id(occasion.service, subject, occasion.book_id, said.outcome),
        chain_id=occasion.chain_id,
        occurred_at_ms=occasion.at_ms,
        service=occasion.service,
        subject_id=occasion.subject_id,
        book_id=occasion.book_id,
        lane=occasion.lane,
        strategy=said.strategy,
        tokens=said.tokens,
        outcome=said.outcome,
        reasons=said.reasons,
        factors=said.factors,
        alternatives=said.alternatives,
        would_if=said.would_if,
        inputs=dict(sorted(inputs.items())),
        inputs_id=inputs_id,
    )


def _plan_said(thought: Thought) -> _Said:
    arguments, result = thought.arguments, thought.result
    cause: VerdictApproved | ExitTriggered = arguments["cause"]
    book: Book = arguments["book"]
    market: Market = arguments["market"]
    refused: Refused | None = thought.occasion.overruled or (result if isinstance(result, Refused) else None)
    inputs = {
        "block": f"{market.block.number} {market.block.hash}",
        "status": market.status.value,
        "profile": f"{book.profile.value}, level {book.level}",
        "next_base_fee_wei": str(market.next_base_fee_wei),
    }
    if market.fee_quote is not None:
        inputs["fee_quote"] = market.fee_quote.id
        inputs["fee_quote_block"] = str(market.fee_quote.block.number)
    if isinstance(result, Planned):
        inputs["pools"] = result.plan.pool_digest
    return _Said(
        outcome=TRADED if refused is None else refused.outcome,
        reasons=_why_traded(cause, book, result) if refused is None else refused.reasons,
        strategy=cause.strategy if isinstance(cause, ExitTriggered) else cause.opportunity.strategy,
        tokens=tokens_about(cause),
        factors=(*_of_cause(cause, book), *_of_plan(result), *(() if refused is None else _against(refused))),
        alternatives=tuple(map(_alternative, result.tried)),
        would_if=() if refused is None else tuple(would_trade_if(thought, refused)),
        inputs=inputs,
    )


def _why_traded(cause: VerdictApproved | ExitTriggered, book: Book, planned: Planned) -> tuple[str, ...]:
    """In one sentence what is paid and the least it brings, in units of the quote token where that is meant."""
    trade, quote = planned.plan, book.quote
    paid, brought = str(trade.amount_in), str(trade.minimum_out)
    if isinstance(cause, ExitTriggered):
        paid = f"{decimal_text(trade.amount_in, cause.token.decimals)} {cause.token.symbol}"
        if trade.amount_in < cause.quantity:
            paid += f" of {decimal_text(cause.quantity, cause.token.decimals)}"
        brought = f"{decimal_text(trade.minimum_out, quote.decimals)} {quote.symbol}"
    else:
        paid = f"{decimal_text(trade.amount_in, quote.decimals)} {quote.symbol}"
        if trade.route.is_cycle:
            brought = f"{decimal_text(trade.minimum_out, quote.decimals)} {quote.symbol}"
        else:
            brought = f"{brought} units of {trade.route.token_out}"
    sentence = f"nothing speaks against this {planned.purpose.value}: {paid} for at least {brought}"
    return (f"{sentence}, until block {trade.deadline_block}",)


def _of_cause(cause: VerdictApproved | ExitTriggered, book: Book) -> Iterator[Weighed]:
    if isinstance(cause, ExitTriggered):
        yield Weighed(name=cause.reason.value.replace("_", " "), stance=Stance.FOR, sentence=cause.detail)
        return
    yield from _of_opportunity(cause.opportunity)
    accepted = PROFILES[book.profile].max_category_score
    yield from (_of_category(factor, accepted) for factor in cause.factors)


def _of_opportunity(opportunity: OpportunityFound) -> Iterator[Weighed]:
    for name, sentence in sorted(opportunity.signals.items()):
        yield Weighed(name=_short_name(name), stance=Stance.FOR, sentence=sentence)
    sentence = f"the strategy expects {opportunity.edge_bps} bps before gas"
    yield Weighed(name="edge", stance=Stance.FOR if opportunity.edge_bps > 0 else Stance.AGAINST, sentence=sentence)


def _of_category(factor: RiskFactor, accepted: int = ACCEPTED_SCORE) -> Weighed:
    stance = Stance.AGAINST if factor.score > accepted else Stance.FOR
    sentence = f"{factor.score} of 100 with a weight of {factor.weight_bps} bps: {'; '.join(factor.reasons)}"
    return Weighed(name=factor.category.value, stance=stance, sentence=sentence)


def _of_plan(result: Planned | Refused) -> Iterator[Weighed]:
    if isinstance(result, Refused):
        return
    impact = f"the trade moves the price by {result.price_impact_bps} bps"
    yield Weighed(name="price impact", stance=Stance.AGAINST, sentence=impact)
    fee = result.plan.fee_cap.max_fee_per_gas_wei
    cost = f"at most {result.plan.gas_limit * fee} wei of gas at the first fee cap of {fee} wei"
    yield Weighed(name="gas", stance=Stance.AGAINST, sentence=cost)


def _against(refused: Refused) -> Iterator[Weighed]:
    for sentence in refused.reasons:
        yield Weighed(name=refused.outcome.replace("_", " "), stance=Stance.AGAINST, sentence=sentence)


def _alternative(tried: Tried) -> Alternative:
    return Alternative(
        pools=tried.pools,
        amount_in=tried.amount_in,
        amount_out=tried.amount_out,
        outcome=tried.outcome,
        sentence=tried.sentence,
    )


def _assessment_said(thought: Thought) -> _Said:
    opportunity: OpportunityFound = thought.arguments["opportunity"]
    assessment: Assessment = thought.result
    tokens = dict.fromkeys([opportunity.route.token_in, *(leg.token_out for leg in opportunity.route.legs)])
    vetoes = [Weighed(name="veto", stance=Stance.AGAINST, sentence=veto) for veto in assessment.vetoes]
    approved = f"no veto, and the evidence is complete: it may be traded in the {assessment.lane.value} lane"
    return _Said(
        outcome=APPROVED if assessment.approved else REJECTED,
        reasons=(approved,) if assessment.approved else assessment.vetoes,
        strategy=opportunity.strategy,
        tokens=tuple(tokens),
        factors=(*_of_opportunity(opportunity), *map(_of_category, assessment.factors), *vetoes),
        would_if=tuple(f"it did not hold that {veto}" for veto in assessment.vetoes),
        inputs={
            "block": str(thought.arguments["now_block"]),
            "risk_score": str(assessment.risk_score),
            "confidence_bps": str(assessment.confidence_bps),
        },
    )


def _exit_said(thought: Thought) -> _Said:
    held: HeldPosition = thought.arguments["held"]
    signal: ExitSignal = thought.result
    inputs = {"quantity": str(held.quantity), "cost": str(held.cost), "reason": signal.reason.value}
    return _Said(
        outcome=EXIT_TRIGGERED,
        reasons=(signal.detail,),
        strategy=thought.occasion.facts.get("strategy"),
        tokens=(held.token.address, held.quote.address),
        factors=(Weighed(name=_short_name(signal.reason.value), stance=Stance.FOR, sentence=signal.detail),),
        inputs=inputs,
    )


def _short_name(text: str) -> str:
    kept = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in text.lower())
    return kept[:48].strip() or "signal"


_SAYING: Mapping[str, Callable[[Thought], _Said]] = MappingProxyType(
    {"plan": _plan_said, "assess": _assessment_said, "judge_exit": _exit_said}
)
