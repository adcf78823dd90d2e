"""Risk verdicts, token flags and recorded decisions."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

import orjson
from pydantic import Field

from dexlane.events.base import Event
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.seals import Seal
from dexlane.events.thoughts import Alternative, ContentId, Weighed, content_id
from dexlane.values.amounts import Amount
from dexlane.values.base import Value, digest
from dexlane.values.books import Lane
from dexlane.values.chains import Address, BlockRef


class Category(StrEnum):
    """The five scored categories of risk."""

    LIQUIDITY = "liquidity"
    VOLATILITY = "volatility"
    SLIPPAGE = "slippage"
    CONTRACT = "contract"
    REGULATORY = "regulatory"


class Check(StrEnum):
    """What can be looked at before a verdict; a closed list.

    A check counts as made when everything it applies to was looked at and is fresh. Executed checks and bytecode apply
    to tokens of unknown issuers, LP shares to pools that have LP tokens: where a route has none, nothing was left out.
    """

    DEPTH = "depth"
    VOLATILITY = "volatility"
    IMPACT = "impact"
    TOKEN_FACTS = "token_facts"  # noqa: S105 - no password
    EXECUTED_CHECK = "executed_check"
    SANCTIONS = "sanctions"
    LP_SHARES = "lp_shares"
    BYTECODE = "bytecode"


Jurisdiction = Annotated[str, Field(pattern="^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2, and EU for the European Union."""


class Ruling(Value):
    """What the rules of one jurisdiction say about the tokens of a route; nothing refused is an answer too."""

    jurisdiction: Jurisdiction
    refused: tuple[str, ...] = Field(default=(), description="why it is forbidden; empty: it is not")


class VerdictFacts(Value):
    """Measured quantities that books set thresholds for, each the worst of the route; None means not known.

    From ``buy_tax_bps`` to ``top_holder_bps`` they are about tokens whose issuer is not on the allow list, and about
    the pools of such tokens; where ``unlisted_tokens`` is 0 there is nothing to know.
    """

    thinnest_depth: Amount | None = Field(
        default=None, description="least that a side of a pool gives within two per cent, smallest units of depth_token"
    )
    depth_token: Address | None = Field(default=None, description="the token that depth is counted in")
    price_impact_bps: int | None = Field(default=None, ge=0, description="of the size that was judged")
    unlisted_tokens: int | None = Field(default=None, ge=0, description="tokens of unknown issuers on the route")
    buy_tax_bps: int | None = Field(default=None, ge=0, le=10_000)
    sell_tax_bps: int | None = Field(default=None, ge=0, le=10_000)
    transfer_tax_bps: int | None = Field(default=None, ge=0, le=10_000)
    token_age_s: int | None = Field(default=None, ge=0, description="of the youngest token, at least so many seconds")
    lp_locked_bps: int | None = Field(
        default=None, ge=0, le=10_000, description="burned or locked, of the least locked"
    )
    top_holder_bps: int | None = Field(default=None, ge=0, le=10_000, description="the largest single holder's share")
    rulings: tuple[Ruling, ...] = Field(default=(), description="one of every jurisdiction that was judged")


NO_FACTS = VerdictFacts()


def _no_checks(checks: tuple[Check, ...]) -> bool:
    """Verdicts from before there were checks look as they did then."""
    return not checks


def _no_facts(facts: VerdictFacts) -> bool:
    """The same for facts: none was ever given. Comparing field by field would cost more than all the rest."""
    return not facts.model_fields_set


class RiskFactor(Value):
    """One scored category: 0 is no risk that was found, 100 the most. Weights add up to 10,000 over a verdict."""

    category: Category
    score: int = Field(ge=0, le=100)
    weight_bps: int = Field(ge=0, le=10_000)
    reasons: tuple[str, ...] = Field(min_length=1)
    evidence_block: int | None = Field(default=None, ge=0, description="block of the evidence; None when there is none")


class _Verdict(Event):
    opportunity: OpportunityFound
    risk_score: int = Field(ge=0, le=100)
    confidence_bps: int = Field(ge=0, le=10_000)
    factors: tuple[RiskFactor, ...]
    checks: tuple[Check, ...] = Field(
        default=(), exclude_if=_no_checks, description="the checks that were made and are fresh"
    )
    facts: VerdictFacts = Field(default=NO_FACTS, exclude_if=_no_facts)


class VerdictApproved(_Verdict):
    """No veto and complete evidence. Whether a book trades it is decided in planning by its profile and level."""

    NAME: ClassVar[str] = "verdict.approved"
    lane: Lane
    seal: Seal | None = Field(default=None, description="for signers; None where the risk-scorer has no key")

    @classmethod
    def tails(cls) -> tuple[str, ...]:
        """One subject per lane."""
        return tuple(Lane)

    def tail(self) -> str:
        """The lane."""
        return self.lane

    @staticmethod
    def make_id(opportunity_id: str) -> str:
        """One verdict per opportunity, whichever way it goes."""
        return digest("verdict", opportunity_id)


class VerdictRejected(_Verdict):
    """At least one veto. ``vetoes`` says why, in plain words."""

    NAME: ClassVar[str] = "verdict.rejected"
    vetoes: tuple[str, ...] = Field(min_length=1)

    @staticmethod
    def make_id(opportunity_id: str) -> str:
        """One verdict per opportunity, whichever way it goes."""
        return VerdictApproved.make_id(opportunity_id)


class TokenFlagged(Event):
    """Evidence against a token was found."""

    NAME: ClassVar[str] = "token.flagged"
    token: Address
    flag: str = Field(pattern="^[a-z_]{1,48}$")
    reason: str
    block: BlockRef
    pool: Address | None = Field(default=None, description="where an executed check found it; None: it is in the token")
    sell_tax_bps: int | None = Field(
        default=None, ge=0, le=10_000, description="what a sale lost in that check, 10,000 where none succeeded"
    )

    @staticmethod
    def make_id(chain_id: int, token: str, flag: str, block_number: int, pool: str | None = None) -> str:
        """One id per token, flag, block and pool: what was lifted may be found again, and in two pools at once."""
        return digest("token.flagged", chain_id, token, flag, block_number, pool)


class DecisionRecorded(Event):
    """What a service decided about one subject and why: approvals and trades as well as refusals.

    ``outcome`` is one word, ``reasons`` are sentences, ``inputs`` names in short what the decision was computed from.
    ``inputs_id`` is the document that holds all of it, so that the decision can be computed again; None where a person
    decided. ``content_hash`` is the SHA-256 of everything else here: it is set where it is missing, and a decision that
    it does not fit is refused.
    """

    NAME: ClassVar[str] = "decision.recorded"

    service: str
    subject_id: str = Field(description="id of the verdict, exit or intent that was decided about")
    book_id: str | None = None
    lane: Lane | None = None
    strategy: str | None = None
    tokens: tuple[Address, ...] = Field(default=(), description="what would be paid, passed and bought")
    outcome: str = Field(pattern="^[a-z_]{1,32}$")
    reasons: tuple[str, ...]
    factors: tuple[Weighed, ...] = Field(default=(), description="what spoke for a trade and against it")
    alternatives: tuple[Alternative, ...] = Field(default=(), description="sizes and ways looked at")
    would_if: tuple[str, ...] = Field(default=(), description="what would have had to be otherwise, each a clause")
    inputs: dict[str, str] = Field(default_factory=dict)
    inputs_id: ContentId | None = None
    content_hash: str = Field(default="", pattern="^([0-9a-f]{64})?$")

    def model_post_init(self, context: object, /) -> None:
        """Stamp the version and the content hash; refuse a hash that does not fit."""
        super().model_post_init(context)
        computed = content_id(self.canonical())
        if not self.content_hash:
            object.__setattr__(self, "content_hash", computed)
        elif self.content_hash != computed:
            raise ValueError(f"decision {self.id} has other contents than its hash says")

    def canonical(self) -> bytes:
        """What the content hash is taken of: the wire form without the hash, keys sorted, no spaces."""
        wire = self.__pydantic_serializer__.to_json(self, exclude={"content_hash"})
        return orjson.dumps(orjson.loads(wire), option=orjson.OPT_SORT_KEYS)

    @staticmethod
    def make_id(service: str, subject_id: str, book_id: str | None, outcome: str) -> str:
        """One id per decided subject, book and outcome."""
        return digest("decision.recorded", service, subject_id, book_id, outcome)
