"""A dated list of sanctioned Ethereum addresses with its history, and the look-up in it.

A list is data with a date. An address that was listed and delisted since is judged by the day of the decision, so every
check states that day and the date of the list it used. Letter case never matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

from dexlane.domain.risk.evidence import SanctionsCheck

MS_PER_DAY = 86_400_000
_ADDRESS = re.compile("0x[0-9a-f]{40}")


def day_of(at_ms: int) -> str:
    """The day (UTC, ISO 8601) of a moment in Unix milliseconds."""
    return (date(1970, 1, 1) + timedelta(days=at_ms // MS_PER_DAY)).isoformat()


class Period(NamedTuple):
    """From when and until before when an address is listed (ISO 8601); None: from the beginning, to this day."""

    listed: str | None = None
    delisted: str | None = None

    def holds(self, on: str) -> bool:
        """Whether the address is listed on that day."""
        return (self.listed is None or self.listed <= on) and (self.delisted is None or on < self.delisted)


@dataclass(frozen=True, slots=True)
class SanctionsList:
    """Addresses in lower-case hex, and the day (ISO 8601) the list was taken.

    ``addresses`` are listed from the beginning to this day; ``periods`` are those that were not, or are no longer.
    """

    date: str
    addresses: frozenset[str]
    periods: Mapping[str, tuple[Period, ...]] = field(default_factory=dict)

    def check(self, addresses: Iterable[str], on: str) -> SanctionsCheck:
        """Look the given addresses up as of a day (ISO 8601)."""
        checked = frozenset(address.lower() for address in addresses)
        hits = checked & self.addresses
        if not self.periods.keys().isdisjoint(checked):
            hits |= {address for address in checked & self.periods.keys() if self._holds(address, on)}
        return SanctionsCheck(list_date=self.date, on=on, checked=checked, hits=hits)

    def periods_of(self, address: str) -> tuple[Period, ...]:
        """When an address was or is listed; empty for one that never was."""
        address = address.lower()
        return (Period(),) if address in self.addresses else self.periods.get(address, ())

    def _holds(self, address: str, on: str) -> bool:
        return any(period.holds(on) for period in self.periods[address])

    @classmethod
    def parse(cls, text: str) -> SanctionsList:
        """Read a list: its date (ISO 8601) first, then a line for each address with the days of its listing and of its
        delisting, where they are known; ``-`` stands for a day that is not, ``#`` begins a comment.

        An address may come again with another period. Raises ``ValueError`` naming the line of anything else, because
        a list that is read in part would let addresses pass.
        """
        lines = [(number, line.partition("#")[0].split()) for number, line in enumerate(text.splitlines(), 1)]
        lines = [(number, words) for number, words in lines if words]
        if not lines:
            raise ValueError("it is empty")
        (number, first), *rest = lines
        taken = _day(number, " ".join(first))
        if not rest:
            raise ValueError("it names no address")
        found: dict[str, tuple[Period, ...]] = {}
        for number, words in rest:
            address, period = _entry(number, words)
            found[address] = (*found.get(address, ()), period)
        always = frozenset(address for address, periods in found.items() if Period() in periods)
        return cls(taken, always, {address: periods for address, periods in found.items() if address not in always})


def _entry(number: int, words: list[str]) -> tuple[str, Period]:
    address, *days = words
    if not _ADDRESS.fullmatch(address.lower()) or len(days) > 2:
        raise ValueError(f"line {number} is no address with at most two days: {' '.join(words)!r}")
    listed, delisted = (None if day == "-" else _day(number, day) for day in (*days, *("-" for _ in range(2)))[:2])
    if listed is not None and delisted is not None and delisted <= listed:
        raise ValueError(f"line {number} says that the address was delisted before it was listed")
    return address.lower(), Period(listed, delisted)


def _day(number: int, text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"line {number} has no day like 2026-06-25 where one belongs: {text!r}") from None
