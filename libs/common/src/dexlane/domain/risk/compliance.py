"""What is forbidden where and when: flags of assets, rules of jurisdictions, and lists of who may trade; data by date.

No legal advice and no completeness: the rules are the operator's, this module only applies them. A token that nobody
classified, a jurisdiction without rules and rules that nobody reviewed for long are refused, not passed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from dexlane.events.risk import Jurisdiction, Ruling
from dexlane.values.base import Value
from dexlane.values.chains import Address, ChainId


class AssetFlag(StrEnum):
    """What kind of asset a token is; a closed list. ``plain``: somebody looked, and nothing of the others holds."""

    PLAIN = "plain"
    STABLECOIN = "stablecoin"
    EU_AUTHORISED = "eu_authorised"
    SECURITY = "security"
    LEVERAGED = "leveraged"
    GAMBLING = "gambling"
    PRIVACY = "privacy"


Sentence = Annotated[str, Field(min_length=1, max_length=400)]


class _Dated(Value):
    since: date | None = Field(default=None, description="first day; None: from the beginning")
    until: date | None = Field(
        default=None, description="first day on which it does not hold any more; None: to this day"
    )

    @model_validator(mode="after")
    def _ordered(self) -> _Dated:
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError("until lies after since")
        return self

    def holds(self, on: date) -> bool:
        """Whether it holds on that day."""
        return (self.since is None or self.since <= on) and (self.until is None or on < self.until)


class Asset(_Dated):
    """What a token is, and who says so."""

    chain_id: ChainId
    address: Address
    symbol: str = Field(min_length=1, max_length=64)
    flags: tuple[AssetFlag, ...] = Field(min_length=1)
    source: Sentence


class Rule(_Dated):
    """A jurisdiction refuses tokens with any of ``flags`` unless they have one of ``unless``."""

    jurisdiction: Jurisdiction
    flags: tuple[AssetFlag, ...] = Field(min_length=1)
    unless: tuple[AssetFlag, ...] = ()
    reason: Sentence
    source: Sentence


class AllowedToken(_Dated):
    """A token that may be traded, where only listed ones may."""

    chain_id: ChainId
    address: Address


class AllowedAccount(_Dated):
    """An account whose owner was verified, where only such may trade. ``note``: where the proof lies."""

    address: Address
    note: str = Field(default="", max_length=200)


class ComplianceRules(Value):
    """The whole file. Without ``allowed_tokens`` every token may trade, without ``allowed_accounts`` every account."""

    reviewed: date = Field(description="the day on which somebody last compared this with the law")
    jurisdictions: tuple[Jurisdiction, ...] = Field(default=(), description="those that were looked at")
    assets: tuple[Asset, ...] = ()
    rules: tuple[Rule, ...] = ()
    allowed_tokens: tuple[AllowedToken, ...] | None = None
    allowed_accounts: tuple[AllowedAccount, ...] | None = None

    @model_validator(mode="after")
    def _rules_are_of_known_jurisdictions(self) -> ComplianceRules:
        unknown = {rule.jurisdiction for rule in self.rules} - set(self.jurisdictions)
        if unknown:
            raise ValueError(f"a rule is of {min(unknown)}, which jurisdictions does not name")
        return self

    @classmethod
    def parse(cls, text: str) -> ComplianceRules:
        """Read a TOML text; ``ValueError`` with a line for everything that is wrong."""
        try:
            return cls.model_validate(tomllib.loads(text))
        except ValidationError as error:
            raise ValueError("\n".join(_problems(error))) from None

    def account_allowed(self, account: str, on: date) -> bool:
        """Whether an account may trade on that day."""
        if self.allowed_accounts is None:
            return True
        return any(each.address == account.lower() and each.holds(on) for each in self.allowed_accounts)


@dataclass(frozen=True, slots=True)
class ComplianceCheck:
    """What the rules of ``reviewed`` (ISO 8601) say about tokens on the day ``on``.

    ``flags`` holds the classified tokens; ``unverified`` are those that an allow list does not have.
    """

    reviewed: str
    on: str
    checked: frozenset[str]
    flags: Mapping[str, frozenset[AssetFlag]]
    rulings: tuple[Ruling, ...]
    unverified: tuple[str, ...]


def check_tokens(rules: ComplianceRules, chain_id: int, tokens: Iterable[str], on: date) -> ComplianceCheck:
    """Classify tokens and ask every jurisdiction."""
    asked = tuple(dict.fromkeys(token.lower() for token in tokens))
    flags = {token: found for token in asked if (found := _flags(rules, chain_id, token, on))}
    in_force = [rule for rule in rules.rules if rule.holds(on)]
    rulings = tuple(
        Ruling(
            jurisdiction=each, refused=tuple(_refusals([r for r in in_force if r.jurisdiction == each], asked, flags))
        )
        for each in rules.jurisdictions
    )
    allowed = {each.address for each in rules.allowed_tokens or () if each.chain_id == chain_id and each.holds(on)}
    unverified = () if rules.allowed_tokens is None else tuple(token for token in asked if token not in allowed)
    return ComplianceCheck(rules.reviewed.isoformat(), on.isoformat(), frozenset(asked), flags, rulings, unverified)


def forbidden(rulings: Iterable[Ruling], jurisdiction: str) -> tuple[str, ...]:
    """Why a jurisdiction refuses; empty when it does not. One that was not judged refuses."""
    for ruling in rulings:
        if ruling.jurisdiction == jurisdiction:
            return ruling.refused
    return (f"what {jurisdiction} forbids was not judged; name it in the compliance file, or review that",)


def _flags(rules: ComplianceRules, chain_id: int, token: str, on: date) -> frozenset[AssetFlag]:
    entries = [a for a in rules.assets if (a.chain_id, a.address) == (chain_id, token) and a.holds(on)]
    return frozenset(flag for entry in entries for flag in entry.flags)


def _refusals(rules: list[Rule], tokens: Iterable[str], flags: Mapping[str, frozenset[AssetFlag]]) -> Iterator[str]:
    for token in tokens:
        if token not in flags:
            yield f"nobody classified token {token}"
            continue
        for rule in rules:
            if flags[token].intersection(rule.flags) and flags[token].isdisjoint(rule.unless):
                yield f"token {token}: {rule.reason}"


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"])
        yield f"{place}: {problem['msg']}" if place else str(problem["msg"]).removeprefix("Value error, ")
