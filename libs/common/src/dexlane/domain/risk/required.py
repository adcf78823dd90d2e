"""What has to be known about an opportunity before it can be approved, and what of it is known and fresh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dexlane.domain.risk.canonical import canonical_symbol
from dexlane.domain.risk.evidence import Evidence, Seen
from dexlane.domain.risk.factors import RiskLimits, list_age_days, pools_of, tokens_of
from dexlane.domain.risk.lp_shares import WITH_LP_TOKENS
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import Check
from dexlane.values.amounts import BPS_DENOMINATOR


@dataclass(frozen=True, slots=True)
class Item:
    """One required piece of evidence: what it is called, what is known, and how old it may be."""

    check: Check
    name: str
    seen: Seen[object] | None
    max_age_blocks: int
    max_age_ms: int

    def fault(self, now_block: int, as_of_ms: int) -> str | None:
        """Why this cannot be relied on; None when it can."""
        if self.seen is None:
            return f"{self.name} cannot be checked: there is no evidence"
        blocks, age_ms = now_block - self.seen.block, as_of_ms - self.seen.at_ms
        if blocks > self.max_age_blocks or age_ms > self.max_age_ms:
            return f"{self.name} cannot be checked: the evidence is {blocks} blocks and {age_ms} ms old"
        return None

    def freshness_bps(self, now_block: int, as_of_ms: int) -> int:
        """10,000 for evidence of this block and moment, falling to 5,000 at the greatest age; 0 when unusable."""
        if self.seen is None or self.fault(now_block, as_of_ms) is not None:
            return 0
        blocks_bps = BPS_DENOMINATOR * max(0, now_block - self.seen.block) // max(1, self.max_age_blocks)
        ms_bps = BPS_DENOMINATOR * max(0, as_of_ms - self.seen.at_ms) // self.max_age_ms
        return BPS_DENOMINATOR - min(BPS_DENOMINATOR, max(blocks_bps, ms_bps)) // 2


def required(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> tuple[Item, ...]:
    """Everything without which an opportunity is vetoed, except the sanctions list, which has a rule of its own."""
    return tuple(_required(opportunity, evidence, limits))


def tokens_to_gather(
    opportunity: OpportunityFound, evidence: Evidence, now_block: int, limits: RiskLimits
) -> tuple[str, ...]:
    """Tokens of the route whose facts are missing or stale, so that asking the node could help."""
    return tuple(
        token
        for token in tokens_of(opportunity.route)
        if _token_item(token, evidence, limits).fault(now_block, evidence.as_of_ms) is not None
    )


def trials_to_gather(
    opportunity: OpportunityFound, evidence: Evidence, now_block: int, limits: RiskLimits
) -> tuple[str, ...]:
    """Tokens of the route whose executed check is needed and missing or stale."""
    return tuple(
        token
        for token in of_unknown_issuers(opportunity)
        if _trial_item(token, evidence, limits).fault(now_block, evidence.as_of_ms) is not None
    )


def of_unknown_issuers(opportunity: OpportunityFound) -> tuple[str, ...]:
    """Tokens of the route that are not on the allow list, each once."""
    return tuple(
        token for token in tokens_of(opportunity.route) if canonical_symbol(opportunity.chain_id, token) is None
    )


def sanctions_fault(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> str | None:
    """Why the look-up in the sanctions list cannot be relied on; None when it can."""
    check = evidence.sanctions
    needed = {*pools_of(opportunity.route), *tokens_of(opportunity.route)}
    if check is None or not needed <= check.checked:
        return "sanctions cannot be checked: not every address was looked up"
    age = list_age_days(check.list_date, evidence.as_of_ms)
    if age > limits.max_sanctions_age_days:
        return f"sanctions cannot be checked: the list of {check.list_date} is {age} days old"
    return None


def checks_made(
    opportunity: OpportunityFound, evidence: Evidence, now_block: int, limits: RiskLimits
) -> tuple[Check, ...]:
    """The checks that were made of all they apply to and are fresh, in the order of the closed list."""
    items = (*required(opportunity, evidence, limits), *_informing(opportunity, evidence, limits))
    failed = {item.check for item in items if item.fault(now_block, evidence.as_of_ms) is not None}
    if sanctions_fault(opportunity, evidence, limits) is not None:
        failed.add(Check.SANCTIONS)
    if any(seen.value.samples < limits.minimum_samples for seen in evidence.volatilities.values()):
        failed.add(Check.VOLATILITY)
    for token in of_unknown_issuers(opportunity):
        trial, code = evidence.trials.get(token), evidence.codes.get(token)
        if trial is not None and trial.value.verdict == "unknown":
            failed.add(Check.EXECUTED_CHECK)
        if code is None or not code.complete:
            failed.add(Check.BYTECODE)
    return tuple(check for check in Check if check not in failed)


def _required(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> Iterator[Item]:
    state_age = (limits.max_state_age_blocks, limits.max_state_age_ms)
    for pool in pools_of(opportunity.route):
        yield Item(Check.DEPTH, f"the depth of pool {pool}", evidence.depths.get(pool), *state_age)
        yield Item(Check.VOLATILITY, f"the volatility of pool {pool}", evidence.volatilities.get(pool), *state_age)
    yield Item(Check.IMPACT, "the price impact", evidence.impact, *state_age)
    for token in tokens_of(opportunity.route):
        yield _token_item(token, evidence, limits)
    for token in of_unknown_issuers(opportunity):
        yield _trial_item(token, evidence, limits)


def _informing(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> Iterator[Item]:
    """What is told where it is known, and no veto where it is not."""
    token_age = (limits.max_token_age_blocks, limits.max_token_age_ms)
    for leg in opportunity.route.legs:
        if leg.protocol in WITH_LP_TOKENS:
            yield Item(Check.LP_SHARES, f"the LP shares of {leg.pool}", evidence.lp_shares.get(leg.pool), *token_age)


def _trial_item(token: str, evidence: Evidence, limits: RiskLimits) -> Item:
    name = f"the executed check of token {token}"
    ages = (limits.max_trial_age_blocks, limits.max_trial_age_ms)
    return Item(Check.EXECUTED_CHECK, name, evidence.trials.get(token), *ages)


def _token_item(token: str, evidence: Evidence, limits: RiskLimits) -> Item:
    ages = (limits.max_token_age_blocks, limits.max_token_age_ms)
    return Item(Check.TOKEN_FACTS, f"token {token}", evidence.tokens.get(token), *ages)
