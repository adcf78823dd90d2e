"""The measured quantities of an opportunity that books set thresholds for, always the worst of its pools and tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dexlane.domain.risk.evidence import Evidence
from dexlane.domain.risk.factors import RiskLimits, pools_of
from dexlane.domain.risk.required import compliance_fault, of_unknown_issuers
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import Ruling, VerdictFacts


def facts_of(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> VerdictFacts:
    """What is known, however old; whether it is fresh is said by the checks of a verdict. Unknown is None."""
    unlisted = of_unknown_issuers(opportunity)
    depths = [evidence.depths.get(pool) for pool in pools_of(opportunity.route)]
    trials = [evidence.trials.get(token) for token in unlisted]
    tried = [None if seen is None else seen.value for seen in trials]
    impact = None if evidence.impact is None else max(0, evidence.impact.value.price_impact_bps)
    return VerdictFacts(
        thinnest_depth=worst([None if seen is None else seen.value.shallow_side for seen in depths], min),
        depth_token=evidence.quote_token,
        price_impact_bps=impact,
        unlisted_tokens=len(unlisted),
        buy_tax_bps=worst([None if facts is None else facts.buy_tax_bps for facts in tried], max),
        sell_tax_bps=worst([None if facts is None else facts.sell_tax_bps for facts in tried], max),
        transfer_tax_bps=worst([None if facts is None else facts.transfer_tax_bps for facts in tried], max),
        token_age_s=worst([None if facts is None else facts.age_s for facts in tried], min),
        lp_locked_bps=worst([None if facts is None else facts.lp_locked_bps for facts in tried], min),
        top_holder_bps=worst([None if facts is None else facts.top_holder_bps for facts in tried], max),
        rulings=_rulings(opportunity, evidence, limits),
    )


def _rulings(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> tuple[Ruling, ...]:
    """Of rules that somebody reviewed in time; of others there is none, and books that need one are refused."""
    if evidence.compliance is None or compliance_fault(opportunity, evidence, limits) is not None:
        return ()
    return evidence.compliance.rulings


def worst(figures: Sequence[int | None], of: Callable[[Iterable[int]], int]) -> int | None:
    """The worst of several figures, by ``min`` or ``max``; None when one is not known, or when there is none."""
    known = [figure for figure in figures if figure is not None]
    return of(known) if known and len(known) == len(figures) else None
