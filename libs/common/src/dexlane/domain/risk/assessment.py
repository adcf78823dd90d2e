"""From an opportunity and the evidence about it to an assessment. What cannot be checked is a veto, never a pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dexlane.domain.risk.canonical import canonical_symbol
from dexlane.domain.risk.evidence import Evidence, Flag
from dexlane.domain.risk.factors import FACTORS, PIPS_PER_BPS, RiskLimits, percent, pools_of, tokens_of
from dexlane.domain.risk.required import compliance_fault, required, sanctions_fault, sureness
from dexlane.domain.risk.verdict_facts import facts_of
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import Check, RiskFactor, VerdictFacts
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.books import Lane

_TOLERATED_OF_KNOWN_ISSUERS = frozenset({Flag.IMPLEMENTATION_CHANGED, Flag.OWNER_CHANGED})
"""Issuers on the allow list upgrade in public; of any other token the same change is a veto."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The judgement of one opportunity. It is approved when ``vetoes`` is empty.

    ``confidence_bps`` says how complete and how fresh the evidence was, not how good the chance is.
    """

    vetoes: tuple[str, ...]
    factors: tuple[RiskFactor, ...]
    risk_score: int
    confidence_bps: int
    lane: Lane
    checks: tuple[Check, ...]
    facts: VerdictFacts

    @property
    def approved(self) -> bool:
        """Whether nothing speaks against it for every book."""
        return not self.vetoes


def assess(opportunity: OpportunityFound, evidence: Evidence, now_block: int, limits: RiskLimits) -> Assessment:
    """Judge an opportunity at block ``now_block``. Pure: the same arguments give the same assessment everywhere."""
    items = required(opportunity, evidence, limits)
    faults = [fault for item in items if (fault := item.fault(now_block, evidence.as_of_ms)) is not None]
    vetoes = (*faults, *_vetoes(opportunity, evidence, now_block, limits))
    factors = tuple(factor(opportunity, evidence, limits) for factor in FACTORS)
    checks, confidence_bps = sureness(items, opportunity, evidence, now_block, limits)
    weighted = sum(factor.score * factor.weight_bps for factor in factors)
    return Assessment(
        vetoes=vetoes,
        factors=factors,
        risk_score=-(-weighted // BPS_DENOMINATOR),
        confidence_bps=confidence_bps,
        lane=_lane(opportunity, evidence, complete=not faults),
        checks=checks,
        facts=facts_of(opportunity, evidence, limits),
    )


def _vetoes(opportunity: OpportunityFound, evidence: Evidence, now_block: int, limits: RiskLimits) -> Iterator[str]:
    if opportunity.block.number > now_block:
        yield f"block {opportunity.block.number} cannot be checked: the newest known block is {now_block}"
    if opportunity.deadline_block <= now_block:
        yield f"the chance ends with block {opportunity.deadline_block} and block {now_block} is already there"
    yield from _market_vetoes(opportunity, evidence, limits)
    yield from _token_vetoes(opportunity, evidence)
    yield from _trial_vetoes(opportunity, evidence)
    yield from _compliance_vetoes(opportunity, evidence, limits)


def _market_vetoes(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> Iterator[str]:
    for pool in pools_of(opportunity.route):
        depth, volatility = evidence.depths.get(pool), evidence.volatilities.get(pool)
        if depth is not None and depth.value.shallow_side < limits.minimum_depth:
            yield f"pool {pool} gives {depth.value.shallow_side} quote units within 2 %, below {limits.minimum_depth}"
        if volatility is None:
            continue
        if volatility.value.samples < limits.minimum_samples:
            yield (
                f"the volatility of pool {pool} cannot be checked: {volatility.value.samples} moves are known, "
                f"{limits.minimum_samples} are needed"
            )
        if volatility.value.mean_move_pips > limits.max_mean_move_bps * PIPS_PER_BPS:
            move = percent(volatility.value.mean_move_pips // PIPS_PER_BPS)
            yield f"pool {pool} moves by {move} a block, more than {percent(limits.max_mean_move_bps)}"
    if evidence.impact is not None:
        yield from _impact_vetoes(opportunity, evidence.impact.value.amount_out, evidence, limits)


def _impact_vetoes(
    opportunity: OpportunityFound, amount_out: int, evidence: Evidence, limits: RiskLimits
) -> Iterator[str]:
    impact_bps = evidence.impact.value.price_impact_bps if evidence.impact else 0
    if impact_bps > limits.max_impact_bps:
        yield f"the price impact is {percent(impact_bps)}, more than {percent(limits.max_impact_bps)}"
    least = opportunity.expected_out * max(0, BPS_DENOMINATOR - limits.max_quote_drop_bps) // BPS_DENOMINATOR
    if amount_out < least:
        yield f"the route now gives {amount_out} instead of {opportunity.expected_out}: the chance has gone"
    elif opportunity.route.is_cycle and amount_out <= opportunity.size_hint:
        yield f"the cycle now gives {amount_out} for {opportunity.size_hint}: there is no gain left"


def _token_vetoes(opportunity: OpportunityFound, evidence: Evidence) -> Iterator[str]:
    for token in tokens_of(opportunity.route):
        flags = evidence.flags.get(token, frozenset())
        if canonical_symbol(opportunity.chain_id, token) is not None:
            flags -= _TOLERATED_OF_KNOWN_ISSUERS
        facts = evidence.tokens.get(token)
        if facts is not None and facts.value.code_hash is None:
            flags |= {Flag.NO_CODE}
        if facts is not None and facts.value.decimals is None:
            flags |= {Flag.NO_DECIMALS}
        for flag in sorted(flags):
            yield f"token {token} is flagged: {flag.replace('_', ' ')}"


def _trial_vetoes(opportunity: OpportunityFound, evidence: Evidence) -> Iterator[str]:
    for token in tokens_of(opportunity.route):
        trial = evidence.trials.get(token)
        if trial is not None and trial.value.verdict != "safe":
            reason = next(iter(trial.value.reasons), "it gave no reason")
            where = "" if trial.value.pool is None else f" in pool {trial.value.pool}"
            yield f"token {token} is {trial.value.verdict} by an executed check{where}: {reason}"


def _compliance_vetoes(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> Iterator[str]:
    for fault in (sanctions_fault, compliance_fault):
        sentence = fault(opportunity, evidence, limits)
        if sentence is not None:
            yield sentence
    if evidence.sanctions is not None:
        for hit in sorted(evidence.sanctions.hits):
            yield f"{hit} is on the sanctions list of {evidence.sanctions.list_date}"
    if evidence.compliance is not None:
        for token in evidence.compliance.unverified:
            yield f"token {token} is not among those that may be traded"


def _lane(opportunity: OpportunityFound, evidence: Evidence, *, complete: bool) -> Lane:
    """Fast only from complete evidence that was already held, and only for what one transaction settles at once."""
    simple = opportunity.route.is_cycle or len(opportunity.route.legs) == 1
    return Lane.FAST if evidence.held and complete and simple else Lane.SMART
