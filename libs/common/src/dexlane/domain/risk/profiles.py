"""What a book of each profile accepts, beside the risk score and the confidence that its level bounds too.

The thresholds are judgements in the order of those that token screeners publish; they are not fitted to data. They look
at what a verdict measured. What is not known is not accepted where there is a threshold for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from dexlane.domain.risk.canonical import dollar_decimals
from dexlane.domain.risk.factors import percent
from dexlane.events.risk import RiskFactor, VerdictApproved, VerdictFacts
from dexlane.values.books import Book, Mode, Profile

DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileLimits:
    """The thresholds of a profile; None: there is none. Those on tokens hold for tokens of unknown issuers alone."""

    max_category_score: int
    min_depth_usd: int
    max_price_impact_bps: int
    max_tax_bps: int
    min_token_age_s: int | None
    min_lp_locked_bps: int | None
    max_top_holder_bps: int | None
    modes: frozenset[Mode] = frozenset(Mode)


PROFILES: Mapping[Profile, ProfileLimits] = MappingProxyType(
    {
        Profile.CONSERVATIVE: ProfileLimits(
            max_category_score=60,
            min_depth_usd=100_000,
            max_price_impact_bps=50,
            max_tax_bps=200,
            min_token_age_s=30 * DAY_S,
            min_lp_locked_bps=9_000,
            max_top_holder_bps=1_500,
        ),
        Profile.MODERATE: ProfileLimits(
            max_category_score=75,
            min_depth_usd=50_000,
            max_price_impact_bps=100,
            max_tax_bps=500,
            min_token_age_s=7 * DAY_S,
            min_lp_locked_bps=5_000,
            max_top_holder_bps=2_500,
        ),
        Profile.AGGRESSIVE: ProfileLimits(
            max_category_score=90,
            min_depth_usd=25_000,
            max_price_impact_bps=200,
            max_tax_bps=800,
            min_token_age_s=DAY_S,
            min_lp_locked_bps=None,
            max_top_holder_bps=3_500,
        ),
        Profile.EXPERIMENTAL: ProfileLimits(
            max_category_score=100,
            min_depth_usd=10_000,
            max_price_impact_bps=300,
            max_tax_bps=1_000,
            min_token_age_s=None,
            min_lp_locked_bps=None,
            max_top_holder_bps=None,
            modes=frozenset({Mode.PAPER}),
        ),
    }
)


def beyond_profile(verdict: VerdictApproved, book: Book) -> Iterator[str]:
    """Every threshold of the book's profile that a verdict does not keep, each as a sentence."""
    if book.mode not in PROFILES[book.profile].modes:
        yield f"a {book.profile} book trades on paper alone, and this one is {book.mode}"
    yield from beyond_thresholds(book.profile, verdict.chain_id, verdict.factors, verdict.facts)


def beyond_thresholds(
    profile: Profile, chain_id: int, factors: Iterable[RiskFactor], facts: VerdictFacts
) -> Iterator[str]:
    """Every threshold of a profile that scores or measured quantities do not keep."""
    limits, whose = PROFILES[profile], f"a {profile} book"
    for factor in factors:
        if factor.score > limits.max_category_score:
            most = limits.max_category_score
            yield f"the {factor.category} risk of {factor.score} is above {most}, the most for {whose}"
    yield from _market(chain_id, facts, limits, whose)
    if facts.unlisted_tokens is None:
        yield f"whether its tokens are on the allow list is not known, and {whose} asks for it"
    elif facts.unlisted_tokens:
        yield from _tokens(facts, limits, whose)


def _market(chain_id: int, facts: VerdictFacts, limits: ProfileLimits, whose: str) -> Iterator[str]:
    decimals = None if facts.depth_token is None else dollar_decimals(chain_id, facts.depth_token)
    if facts.thinnest_depth is None or decimals is None:
        yield f"how deep its pools are in dollars is not known, and {whose} asks for {limits.min_depth_usd}"
    elif facts.thinnest_depth < limits.min_depth_usd * 10**decimals:
        dollars = facts.thinnest_depth // 10**decimals
        yield f"its thinnest pool gives {dollars} dollars within 2 %, below {limits.min_depth_usd} for {whose}"
    yield from _above("the price impact", facts.price_impact_bps, limits.max_price_impact_bps, whose)


def _tokens(facts: VerdictFacts, limits: ProfileLimits, whose: str) -> Iterator[str]:
    yield from _above("its tax on purchases", facts.buy_tax_bps, limits.max_tax_bps, whose)
    yield from _above("its tax on sales", facts.sell_tax_bps, limits.max_tax_bps, whose)
    yield from _above("its tax on transfers", facts.transfer_tax_bps, limits.max_tax_bps, whose)
    yield from _above("the share of its largest holder", facts.top_holder_bps, limits.max_top_holder_bps, whose)
    if limits.min_lp_locked_bps is not None:
        if facts.lp_locked_bps is None:
            yield f"how much of its liquidity is locked is not known, and {whose} asks for it"
        elif facts.lp_locked_bps < limits.min_lp_locked_bps:
            least = percent(limits.min_lp_locked_bps)
            yield f"{percent(facts.lp_locked_bps)} of its liquidity is locked, below {least} for {whose}"
    yield from _age(facts.token_age_s, limits.min_token_age_s, whose)


def _age(age_s: int | None, least_s: int | None, whose: str) -> Iterator[str]:
    if least_s is None:
        return
    if age_s is None:
        yield f"how old its token is is not known, and {whose} asks for {least_s // DAY_S} days"
    elif age_s < least_s:
        yield f"its token is {age_s} seconds old, fewer than {least_s // DAY_S} days, the least for {whose}"


def _above(what: str, bps: int | None, most_bps: int | None, whose: str) -> Iterator[str]:
    if most_bps is None:
        return
    if bps is None:
        yield f"{what} is not known, and {whose} accepts no more than {percent(most_bps)}"
    elif bps > most_bps:
        yield f"{what} is {percent(bps)}, above {percent(most_bps)}, the most for {whose}"
