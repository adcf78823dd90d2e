"""What our books hold, so that no pool is let go by which it can be sold.

Portfolio tells what lies in the books, executors what is about to be bought. Both speak of trades of our own only: what
strangers send to an account is in neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dexlane.chain.factories import NewPool
from dexlane.events.execution import IntentCreated, Purpose
from dexlane.events.portfolio import ExposureChanged
from dexlane.values.books import Lane
from market_feed.discovery.candidates import Candidate

SETTLING_BLOCKS = 128
"""After so many blocks what was on its way is told: an entry waits for 25 at most, portfolio tells exposures every few,
and no deeper reorganisation is followed, which could bring a sold token back."""

POOLS_PER_TOKEN = 8
"""So many of the deepest pools of a held token are kept: anybody can make one more, fill it for a block and leave."""


class Held(NamedTuple):
    """Tokens that are held or about to be. Unless that is ``complete`` there may be others: nothing may be let go."""

    tokens: frozenset[str]
    complete: bool

    def may_be(self, new: NewPool) -> bool:
        """Whether a pool may trade what is held."""
        return not self.complete or new.token0 in self.tokens or new.token1 in self.tokens


class Holdings:
    """What the books hold on one chain, as far as the bus has told."""

    def __init__(self) -> None:
        self._exposures: dict[tuple[str, Lane], ExposureChanged] = {}
        self._until: dict[str, int] = {}
        self._told: int | None = None
        self._listening_since: int | None = None

    def note_exposure(self, event: ExposureChanged) -> None:
        """What an account has at work, in whatever order it is told."""
        key = (event.book_id, event.lane)
        self._exposures[key] = event.joined(self._exposures.get(key))
        if event.block is not None:
            self._told = event.block.number
            self._hold((part.token for part in event.parts or ()), event.block.number)

    def note_intent(self, event: IntentCreated) -> None:
        """An entry may be filled up to its deadline, and is in an exposure some time later."""
        if event.purpose is Purpose.ENTRY and event.plan is not None:
            self._hold([event.plan.route.token_out], event.plan.deadline_block)

    def at(self, number: int) -> Held:
        """What is held at a block. Not complete for some time after the start, because entries that were open then are
        not known, nor while portfolio is silent."""
        if self._listening_since is None:
            self._listening_since = number
        self._until = {token: until for token, until in self._until.items() if until >= number}
        parts = [exposure.parts for exposure in self._exposures.values()]
        told = self._told is not None and abs(number - self._told) <= SETTLING_BLOCKS
        complete = told and number - self._listening_since >= SETTLING_BLOCKS and None not in parts
        tokens = {part.token for some in parts for part in some or ()}
        return Held(frozenset(tokens | self._until.keys()), complete)

    def _hold(self, tokens: Iterable[str], number: int) -> None:
        for token in tokens:
            self._until[token] = max(self._until.get(token, 0), number + SETTLING_BLOCKS)


class _Places:
    """The places that are left for pools of each held token."""

    def __init__(self, held: Held) -> None:
        self._left = dict.fromkeys(held.tokens, POOLS_PER_TOKEN)

    def take(self, new: NewPool) -> bool:
        """Whether a pool trades a held token and there was a place left for it."""
        tokens = {new.token0, new.token1} & self._left.keys()
        for token in tokens:
            self._left[token] -= 1
        return any(self._left[token] >= 0 for token in tokens)


def pools_to_keep(held: Held, by_depth: Iterable[str], origins: Mapping[str, NewPool]) -> frozenset[str]:
    """The deepest of the watched pools by which something held can be sold; all while that is not known."""
    if not held.complete:
        return frozenset(origins)
    places = _Places(held)
    return frozenset(address for address in by_depth if places.take(origins[address])) if held.tokens else frozenset()


def to_bring_back(held: Held, candidates: Iterable[Candidate], kept: Iterable[NewPool], room: int) -> list[Candidate]:
    """Pools that were watched before and by which something held can be sold: they come back whatever their depth.

    While it is not known what is held, the others may be such, and come back as far as there is room.
    """
    places = _Places(held)
    for new in kept:
        places.take(new)
    wanted = sorted(
        (each for each in candidates if each.followed and held.may_be(each.new)), key=lambda one: one.failed
    )
    surely = {each.new.address: each for each in wanted if places.take(each.new)}
    others = [] if held.complete else [each for each in wanted if each.new.address not in surely]
    return [*surely.values(), *others[:room]]
