"""What has to be known about an opportunity before it can be approved, and what of it is known and fresh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dexlane.domain.risk.canonical import canonical_symbol
from dexlane.domain.risk.evidence import Evidence, Seen, TokenFacts
from dexlane.domain.risk.factors import RiskLimits, list_age_days, pools_of, tokens_of
from dexlane.domain.risk.lp_shares import WITH_LP_TOKENS
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import Check
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.routes import Route


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of evidence: what it is called, what is known, how old it may be, and how whole it is (10,000: all)."""

    check: Check
    name: str
    seen: Seen[object] | None
    max_age_blocks: int
    max_age_ms: int
    whole_bps: int = BPS_DENOMINATOR

    def fault(self, now_block: int, as_of_ms: int) -> str | None:
        """Why this cannot be relied on; None when it can.

        Evidence from the future is of clocks that differ, or was had before this one went back: further off than it
        may be old, nobody knows its age.
        """
        if self.seen is None:
            return f"{self.name} cannot be checked: there is no evidence"
        blocks, age_ms = now_block - self.seen.block, as_of_ms - self.seen.at_ms
        if blocks > self.max_age_blocks or abs(age_ms) > self.max_age_ms:
            return f"{self.name} cannot be checked: the evidence is {blocks} blocks and {age_ms} ms old"
        return None

    def worth_bps(self, now_block: int, as_of_ms: int) -> int:
        """10,000 for whole evidence of this block and moment, half at the greatest age; 0 when unusable."""
        if self.seen is None or self.fault(now_block, as_of_ms) is not None:
            return 0
        blocks, age_ms = now_block - self.seen.block, as_of_ms - self.seen.at_ms
        blocks_bps = BPS_DENOMINATOR * max(0, blocks) // max(1, self.max_age_blocks)
        ms_bps = BPS_DENOMINATOR * max(0, age_ms) // self.max_age_ms
        fresh_bps = BPS_DENOMINATOR - min(BPS_DENOMINATOR, max(blocks_bps, ms_bps)) // 2
        return fresh_bps * self.whole_bps // BPS_DENOMINATOR


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


def to_screen(route: Route, tokens: Mapping[str, Seen[TokenFacts]]) -> tuple[str, ...]:
    """What a route's own addresses are that must be looked up in the sanctions list: pools and tokens, and who the
    facts about the tokens name as owner and implementation. What every trade calls comes besides
    (:func:`dexlane.chain.deployments.counterparties`)."""
    facts = [tokens[token].value for token in tokens_of(route) if token in tokens]
    behind = [address for each in facts for address in (each.owner, each.implementation) if address is not None]
    return (*pools_of(route), *tokens_of(route), *behind)


def sanctions_fault(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> str | None:
    """Why the look-up in the sanctions list cannot be relied on; None when it can."""
    check = evidence.sanctions
    if check is None or not check.checked.issuperset(to_screen(opportunity.route, evidence.tokens)):
        return "sanctions cannot be checked: not every address was looked up"
    age = list_age_days(check.list_date, evidence.as_of_ms)
    if age > limits.max_sanctions_age_days:
        return f"sanctions cannot be checked: the list of {check.list_date} is {age} days old"
    return None


def compliance_fault(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> str | None:
    """Why the compliance rules cannot be relied on; None when they can."""
    check = evidence.compliance
    if check is None or not check.checked.issuperset(tokens_of(opportunity.route)):
        return "the compliance rules cannot be checked: not every token was looked up"
    age = list_age_days(check.reviewed, evidence.as_of_ms)
    if age > limits.max_rules_age_days:
        return f"the compliance rules cannot be checked: they were reviewed {age} days ago"
    return None


def sureness(
    needed: tuple[Item, ...], opportunity: OpportunityFound, evidence: Evidence, now_block: int, limits: RiskLimits
) -> tuple[tuple[Check, ...], int]:
    """The checks that were made of all they apply to and are fresh, in the order of the closed list; and how sure that
    makes, in bps: the mean worth of everything that a route like this calls for, the sanctions list being one item.

    ``needed`` is what :func:`required` said. How many items there are depends on the route alone, so what is missing
    always lowers the mean.
    """
    items = (*needed, *informing(opportunity, evidence, limits))
    failed, total = set(), 0
    for item in items:
        worth = item.worth_bps(now_block, evidence.as_of_ms)
        total += worth
        if worth == 0 or item.whole_bps < BPS_DENOMINATOR:
            failed.add(item.check)
    if evidence.sanctions is None or sanctions_fault(opportunity, evidence, limits) is not None:
        failed.add(Check.SANCTIONS)
    else:
        age = list_age_days(evidence.sanctions.list_date, evidence.as_of_ms)
        total += BPS_DENOMINATOR - BPS_DENOMINATOR * age // limits.max_sanctions_age_days // 2
    return tuple(check for check in Check if check not in failed), total // (len(items) + 1)


def _required(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> Iterator[Item]:
    state_age = (limits.max_state_age_blocks, limits.max_state_age_ms)
    for pool in pools_of(opportunity.route):
        yield Item(Check.DEPTH, f"the depth of pool {pool}", evidence.depths.get(pool), *state_age)
        moves = evidence.volatilities.get(pool)
        samples = limits.minimum_samples if moves is None else min(moves.value.samples, limits.minimum_samples)
        whole_bps = BPS_DENOMINATOR * samples // limits.minimum_samples
        yield Item(Check.VOLATILITY, f"the volatility of pool {pool}", moves, *state_age, whole_bps)
    yield Item(Check.IMPACT, "the price impact", evidence.impact, *state_age)
    for token in tokens_of(opportunity.route):
        yield _token_item(token, evidence, limits)
    for token in of_unknown_issuers(opportunity):
        yield _trial_item(token, evidence, limits)


def informing(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> tuple[Item, ...]:
    """What is told, and makes sure, where it is known, and is no veto where it is not."""
    ages = (limits.max_token_age_blocks, limits.max_token_age_ms)
    shares = [
        Item(Check.LP_SHARES, f"the LP shares of pool {leg.pool}", evidence.lp_shares.get(leg.pool), *ages)
        for leg in opportunity.route.legs
        if leg.protocol in WITH_LP_TOKENS
    ]
    codes = []
    for token in of_unknown_issuers(opportunity):
        code = evidence.codes.get(token)
        seen = None if code is None else evidence.tokens.get(token)
        whole_bps = BPS_DENOMINATOR if code is None or code.complete else BPS_DENOMINATOR // 2
        codes.append(Item(Check.BYTECODE, f"the code of token {token}", seen, *ages, whole_bps))
    return (*shares, *codes)


def _trial_item(token: str, evidence: Evidence, limits: RiskLimits) -> Item:
    trial = evidence.trials.get(token)
    whole_bps = 0 if trial is not None and trial.value.verdict == "unknown" else BPS_DENOMINATOR
    ages = (limits.max_trial_age_blocks, limits.max_trial_age_ms)
    return Item(Check.EXECUTED_CHECK, f"the executed check of token {token}", trial, *ages, whole_bps)


def _token_item(token: str, evidence: Evidence, limits: RiskLimits) -> Item:
    ages = (limits.max_token_age_blocks, limits.max_token_age_ms)
    return Item(Check.TOKEN_FACTS, f"token {token}", evidence.tokens.get(token), *ages)
