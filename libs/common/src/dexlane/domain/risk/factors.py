"""The five scored categories of risk. Each is a pure function of the opportunity and the evidence.

=============  ======  =======================================================================================
category       weight  what is scored
=============  ======  =======================================================================================
liquidity       2,500  shallowest pool of the route against the least depth that is accepted
volatility      2,000  mean and peak price move per block of the most restless pool
slippage        2,000  our own price impact, and the drift until the deadline unless the trade is atomic
contract        2,500  worst token of the route: known issuer, proxy, owner, code, executed check, taxes, changes
regulatory      1,000  sanctions hits, age of the list, kind of asset, jurisdictions that refuse, unknown issuers
=============  ======  =======================================================================================

The weights add up to 10,000. Deeper liquidity never raises a score; more volatility, impact or tax never lowers one.
What cannot be checked scores 100, and is never left out of the mean. The points of the scales are judgements, stated
here once; they are not fitted to data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from functools import lru_cache

from pydantic import Field

from dexlane.domain.risk.canonical import canonical_symbol
from dexlane.domain.risk.compliance import AssetFlag, ComplianceCheck
from dexlane.domain.risk.evidence import CodeFacts, Evidence, Flag, Seen, TokenFacts, TrialFacts
from dexlane.domain.risk.sanctions import MS_PER_DAY
from dexlane.domain.risk.scales import Points, score
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import Category, RiskFactor
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.base import Value
from dexlane.values.routes import Route

WEIGHTS_BPS: Mapping[Category, int] = {
    Category.LIQUIDITY: 2_500,
    Category.VOLATILITY: 2_000,
    Category.SLIPPAGE: 2_000,
    Category.CONTRACT: 2_500,
    Category.REGULATORY: 1_000,
}
WORST = 100
PIPS_PER_BPS = 100

_DEPTH_BPS_OF_MINIMUM: Points = (
    (10_000, 90), (20_000, 75), (50_000, 60), (100_000, 45), (500_000, 25), (1_000_000, 15), (10_000_000, 0),
)  # fmt: skip
_MEAN_MOVE_PIPS: Points = ((0, 0), (500, 20), (1_000, 35), (2_500, 60), (5_000, 80), (10_000, 100))
_PEAK_MOVE_PIPS: Points = ((0, 0), (2_000, 10), (5_000, 30), (10_000, 50), (30_000, 80), (50_000, 100))
_ADVERSE_PIPS: Points = ((0, 0), (1_000, 10), (3_000, 30), (10_000, 60), (30_000, 85), (50_000, 100))
_TAX_BPS: Points = ((0, 0), (100, 10), (300, 25), (500, 40), (1_000, 70), (2_500, 100))
_LIST_AGE_DAYS: Points = ((30, 0), (90, 10), (365, 40), (730, 80))

_ASSET_POINTS: Mapping[AssetFlag, int] = {
    AssetFlag.SECURITY: 40, AssetFlag.LEVERAGED: 30, AssetFlag.GAMBLING: 40, AssetFlag.PRIVACY: 30,
}  # fmt: skip
_UNCLASSIFIED = 10
_PER_JURISDICTION = 5

CHANGES = frozenset({Flag.CODE_CHANGED, Flag.DECIMALS_CHANGED, Flag.IMPLEMENTATION_CHANGED, Flag.OWNER_CHANGED})


class RiskLimits(Value):
    """Beyond these an opportunity is vetoed for every book. Depth in the smallest unit of the quote token."""

    minimum_depth: int = Field(gt=0, description="least that either side of a pool gives within two per cent")
    max_impact_bps: int = Field(default=300, ge=1, le=10_000)
    max_mean_move_bps: int = Field(default=100, ge=1, description="mean price move per block")
    max_quote_drop_bps: int = Field(default=100, ge=0, description="how much less the route may give by now")
    minimum_samples: int = Field(default=4, ge=1, description="block-to-block moves that volatility needs")
    max_state_age_blocks: int = Field(default=1, ge=0)
    max_state_age_ms: int = Field(default=30_000, ge=1)
    max_token_age_blocks: int = Field(default=1_800, ge=1)
    max_token_age_ms: int = Field(default=1_800_000, ge=1)
    max_trial_age_blocks: int = Field(default=600, ge=1, description="of executed checks of tokens of unknown issuers")
    max_trial_age_ms: int = Field(default=7_200_000, ge=1)
    max_sanctions_age_days: int = Field(default=730, ge=1)
    max_rules_age_days: int = Field(default=730, ge=1, description="since somebody reviewed the compliance rules")


def list_age_days(list_date: str, as_of_ms: int) -> int:
    """Whole days between the date of a list and a moment; never negative."""
    return max(0, as_of_ms // MS_PER_DAY - _days_since_1970(list_date))


@lru_cache(maxsize=64)
def _days_since_1970(day: str) -> int:
    return (date.fromisoformat(day) - date(1970, 1, 1)).days


def tokens_of(route: Route) -> tuple[str, ...]:
    """Every token that the route touches, each once, in the order of the route."""
    return tuple(dict.fromkeys([route.token_in, *(leg.token_out for leg in route.legs)]))


def pools_of(route: Route) -> tuple[str, ...]:
    """Every pool that the route uses, each once, in the order of the route."""
    return tuple(dict.fromkeys(leg.pool for leg in route.legs))


USUAL_LIMITS = RiskLimits(minimum_depth=10_000 * 10**6)
"""Of risk-scorer and ``dexlane assess`` where nothing else is said; the depth for quote tokens of six decimals."""


def percent(bps: int) -> str:
    """Basis points as a percentage with two places."""
    return f"{bps // 100}.{bps % 100:02d} %"


def _factor(category: Category, value: int, reasons: Iterable[str], block: int | None) -> RiskFactor:
    return RiskFactor(
        category=category,
        score=min(WORST, value),
        weight_bps=WEIGHTS_BPS[category],
        reasons=tuple(reasons),
        evidence_block=block,
    )


def _unknown(category: Category, what: str) -> RiskFactor:
    return _factor(category, WORST, [f"{what} cannot be checked: there is no evidence"], None)


def _oldest(seen: Iterable[Seen[object]]) -> int:
    return min(item.block for item in seen)


def liquidity(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> RiskFactor:
    """How little the shallowest pool gives within two per cent."""
    depths = [evidence.depths.get(pool) for pool in pools_of(opportunity.route)]
    known = [depth for depth in depths if depth is not None]
    if len(known) < len(depths):
        return _unknown(Category.LIQUIDITY, "the depth of a pool")
    shallowest = min(depth.value.shallow_side for depth in known)
    if shallowest < limits.minimum_depth:
        reason = f"the shallowest pool gives {shallowest} quote units within 2 %, below {limits.minimum_depth}"
        return _factor(Category.LIQUIDITY, WORST, [reason], _oldest(known))
    multiple_bps = shallowest * BPS_DENOMINATOR // limits.minimum_depth
    reasons = [f"the shallowest pool gives {shallowest} quote units within 2 %", *_kept_liquidity(evidence)]
    return _factor(Category.LIQUIDITY, score(_DEPTH_BPS_OF_MINIMUM, multiple_bps), reasons, _oldest(known))


def _kept_liquidity(evidence: Evidence) -> Iterator[str]:
    """How much of the liquidity cannot be taken out at once, where that is known. It is told and not scored."""
    for pool, seen in sorted(evidence.lp_shares.items()):
        burned, locked = seen.value.burned_bps, seen.value.locked_bps
        if burned is not None and locked is not None:
            yield f"of the liquidity of pool {pool} {percent(burned)} is burned, {percent(locked)} with lockers"


def volatility(opportunity: OpportunityFound, evidence: Evidence, _limits: RiskLimits) -> RiskFactor:
    """How far the most restless pool moves from block to block."""
    found = [evidence.volatilities.get(pool) for pool in pools_of(opportunity.route)]
    known = [item for item in found if item is not None]
    if len(known) < len(found):
        return _unknown(Category.VOLATILITY, "the volatility of a pool")
    mean = max(item.value.mean_move_pips for item in known)
    peak = max(item.value.peak_move_pips for item in known)
    samples = min(item.value.samples for item in known)
    value = max(score(_MEAN_MOVE_PIPS, mean), score(_PEAK_MOVE_PIPS, peak))
    reasons = [
        f"prices moved by {percent(mean // PIPS_PER_BPS)} a block on average over {samples} moves",
        f"the largest of these moves was {percent(peak // PIPS_PER_BPS)}",
    ]
    return _factor(Category.VOLATILITY, value, reasons, _oldest(known))


def slippage(opportunity: OpportunityFound, evidence: Evidence, _limits: RiskLimits) -> RiskFactor:
    """What our own size costs, and what others may move the price by until the deadline."""
    if evidence.impact is None:
        return _unknown(Category.SLIPPAGE, "the price impact")
    impact_bps = max(0, evidence.impact.value.price_impact_bps)
    reasons = [f"the size moves the price against itself by {percent(impact_bps)}"]
    if opportunity.route.is_cycle:
        reasons.append("the trade is atomic: if prices drift it reverts and costs only gas")
        drift_pips = 0
    else:
        found = [evidence.volatilities.get(pool) for pool in pools_of(opportunity.route)]
        if any(item is None for item in found):
            return _unknown(Category.SLIPPAGE, "the drift of prices until the deadline")
        blocks = max(1, opportunity.deadline_block - opportunity.block.number)
        drift_pips = max(item.value.mean_move_pips for item in found if item is not None) * blocks
        reasons.append(f"prices may drift by {percent(drift_pips // PIPS_PER_BPS)} in {blocks} blocks")
    value = score(_ADVERSE_PIPS, impact_bps * PIPS_PER_BPS + drift_pips)
    return _factor(Category.SLIPPAGE, value, reasons, evidence.impact.block)


def contract(opportunity: OpportunityFound, evidence: Evidence, _limits: RiskLimits) -> RiskFactor:
    """What the worst token contract of the route allows its owner to do."""
    judged: list[tuple[int, str]] = []
    seen: list[Seen[TokenFacts]] = []
    for token in tokens_of(opportunity.route):
        facts = evidence.tokens.get(token)
        if facts is None:
            return _unknown(Category.CONTRACT, f"the contract of {token}")
        seen.append(facts)
        flags = evidence.flags.get(token, frozenset())
        symbol = canonical_symbol(opportunity.chain_id, token)
        points, reason = _judge_token(symbol, facts.value, flags, evidence.codes.get(token))
        if symbol is None:
            more, note = _judge_trial(evidence.trials.get(token))
            points, reason = min(WORST, points + more), f"{reason}; {note}"
        judged.append((points, reason))
    value = max(points for points, _ in judged)
    return _factor(Category.CONTRACT, value, [reason for _, reason in judged], _oldest(seen))


def _judge_token(
    symbol: str | None, facts: TokenFacts, flags: frozenset[Flag], code: CodeFacts | None
) -> tuple[int, str]:
    known = symbol is not None
    points, notes = (5, ["its issuer is known"]) if known else (30, ["its issuer is not on the allow list"])
    if facts.code_hash is None or facts.decimals is None:
        return WORST, f"{facts.address} does not behave as a token contract"
    if facts.implementation is not None:
        points += 5 if known else 25
        notes.append("its code can be exchanged through a proxy")
    if facts.owner is not None and int(facts.owner, 16) != 0:
        points += 0 if known else 15
        notes.append("it has an owner")
    elif facts.owner is None and not known:
        points += 10
        notes.append("it does not say who owns it")
    code_points, code_note = _judge_code(code, known)
    points += code_points
    notes.append(code_note)
    changes = sorted(flags & CHANGES)
    if changes:
        points += 25 if known else WORST
        notes.append("since it was first seen: " + ", ".join(change.replace("_", " ") for change in changes))
    return min(WORST, points), f"{symbol or facts.symbol or facts.address}: {'; '.join(notes)}"


def _judge_trial(trial: Seen[TrialFacts] | None) -> tuple[int, str]:
    """What it cost to buy, give and sell the token. Not tried, or not measured, counts like the worst."""
    if trial is None:
        return WORST, "it was never tried"
    if trial.value.verdict != "safe":
        return WORST, f"an executed check says {trial.value.verdict}"
    taxes = (trial.value.buy_tax_bps, trial.value.sell_tax_bps, trial.value.transfer_tax_bps)
    known = [tax for tax in taxes if tax is not None]
    if len(known) < len(taxes):
        return WORST, "not all of its taxes were measured"
    return score(_TAX_BPS, max(known)), f"its highest tax is {percent(max(known))}"


def _judge_code(code: CodeFacts | None, known: bool) -> tuple[int, str]:
    """Half the score of the code, the same for code that nobody judged as for code that scores 100."""
    if code is None:
        return 0 if known else WORST // 2, "its code was not judged"
    points = 0 if known else -(-code.score // 2)
    if not code.flags:
        return points, "its code allows nothing unusual" if code.complete else f"its code: {'; '.join(code.reasons)}"
    return points, f"its code allows {', '.join(flag.replace('_', ' ') for flag in code.flags)}"


def regulatory(opportunity: OpportunityFound, evidence: Evidence, limits: RiskLimits) -> RiskFactor:
    """Sanctioned addresses, the age of the list, what kind of asset the tokens are, and who forbids them."""
    check, rules = evidence.sanctions, evidence.compliance
    if check is None:
        return _unknown(Category.REGULATORY, "the sanctions list")
    if check.hits:
        reason = f"sanctioned on the list of {check.list_date}: {', '.join(sorted(check.hits))}"
        return _factor(Category.REGULATORY, WORST, [reason], None)
    if rules is None or list_age_days(rules.reviewed, evidence.as_of_ms) > limits.max_rules_age_days:
        return _unknown(Category.REGULATORY, "what the tokens are, and who forbids them,")
    age = list_age_days(check.list_date, evidence.as_of_ms)
    unknown = [t for t in tokens_of(opportunity.route) if canonical_symbol(opportunity.chain_id, t) is None]
    reasons = [f"no address is on the sanctions list of {check.list_date}, {age} days old"]
    if unknown:
        reasons.append(f"{len(unknown)} token(s) of unknown issuers")
    points, notes = _judge_assets(tokens_of(opportunity.route), rules)
    value = score(_LIST_AGE_DAYS, age) + (20 if unknown else 0) + points
    return _factor(Category.REGULATORY, value, (*reasons, *notes), opportunity.block.number)


def _judge_assets(tokens: Iterable[str], rules: ComplianceCheck) -> tuple[int, list[str]]:
    """The points of the most troublesome token, and some for every jurisdiction that refuses."""
    worst, notes = 0, []
    for token in tokens:
        flags = rules.flags.get(token)
        points = _UNCLASSIFIED if flags is None else sum(_ASSET_POINTS.get(flag, 0) for flag in flags)
        worst = max(worst, points)
        if points:
            notes.append(f"{token} is {', '.join(sorted(flags)) if flags else 'not classified'}")
    refusing = [ruling.jurisdiction for ruling in rules.rulings if ruling.refused]
    if refusing:
        notes.append(f"refused in {', '.join(refusing)} by the rules of {rules.reviewed}")
    return worst + _PER_JURISDICTION * len(refusing), notes


FACTORS: tuple[Callable[[OpportunityFound, Evidence, RiskLimits], RiskFactor], ...] = (
    liquidity,
    volatility,
    slippage,
    contract,
    regulatory,
)
