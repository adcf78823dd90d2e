"""What the chain says about a token beyond its code: who can take its liquidity away, who holds it, how old it is.

Read by :mod:`dexlane.chain.token_background`, judged here. Amounts are in the smallest unit of the token they count;
what was not seen is None or absent, and ``missing`` says so in sentences. Nothing here says what somebody will do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Literal, NamedTuple

from dexlane.domain.risk.factors import percent
from dexlane.values.amounts import BPS_DENOMINATOR

SOON_S, NEAR_S = 30 * 86_400, 90 * 86_400


class Keeper(StrEnum):
    """What kind of account holds something."""

    BURNED = "burned"
    """Nobody can ever move it."""
    LOCKER = "locker"
    """A known locker; it counts as far as its terms were read."""
    LOCK = "lock"
    """A contract that was seen to refuse withdrawal now and to allow it later."""
    KEY = "key"
    """An account without code."""
    CONTRACT = "contract"
    """Code of which nothing shows that it keeps anything."""


class Release(NamedTuple):
    """How much can be taken out after so many seconds, by what was executed or read."""

    after_s: int
    amount: int


def lets_out_parts(releases: Sequence[Release], amount: int) -> bool:
    """Whether the same part of an amount goes out at two times that are near: as with a limit in each block, and not as
    with a share that grows with time."""
    near = [release.amount for release in releases if release.after_s <= NEAR_S]
    return any(first == second and 0 < second < amount for first, second in pairwise(near))


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one account holds. ``releases`` are of locks and lockers, in order of time; ``note``: how it is known."""

    holder: str
    amount: int
    keeper: Keeper
    releases: tuple[Release, ...] = ()
    note: str = ""

    def kept(self, until_s: int) -> int:
        """What nobody can take out within so many seconds. A lock that was never seen to open is none."""
        if self.keeper is Keeper.BURNED:
            return self.amount
        if self.keeper not in {Keeper.LOCK, Keeper.LOCKER} or not self.releases:
            return 0
        out = max((release.amount for release in self.releases if release.after_s <= until_s), default=0)
        return max(0, self.amount - out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Who holds a token, or the LP tokens of a pool: all of it, and the accounts that were looked at.

    Holders were looked for in events since ``from_block``; ``in_pools`` lies in pools, which are no holders.
    """

    total: int
    holdings: tuple[Holding, ...]
    from_block: int
    in_pools: int = 0

    def kept_bps(self, until_s: int) -> int | None:
        """What nobody can take out within so many seconds, rounded down: at least so much."""
        return self._share(sum(each.kept(until_s) for each in self.holdings), up=False)

    def largest_bps(self, until_s: int) -> int | None:
        """The largest part that one account can move within so many seconds, rounded up. None when accounts that nobody
        looked at hold more, so that one of them may be larger."""
        largest = max((each.amount - each.kept(until_s) for each in self.holdings), default=0)
        unseen = self.total - self.in_pools - sum(each.amount for each in self.holdings)
        return self._share(largest, up=True) if unseen <= largest else None

    def _share(self, amount: int, *, up: bool) -> int | None:
        if self.total <= 0:
            return None
        scaled = BPS_DENOMINATOR * max(0, amount)
        return min(BPS_DENOMINATOR, -(-scaled // self.total) if up else scaled // self.total)


@dataclass(frozen=True, slots=True)
class Birth:
    """The first block that has the code of a contract, and its timestamp in Unix seconds, None where the node does not
    tell it; ``exact`` is False where the node has no older states, and the contract may be older."""

    block: int
    at_s: int | None
    exact: bool


@dataclass(frozen=True, slots=True)
class LiquidityPast:
    """Liquidity of a pool now and the most there was since ``from_block``, in the pool's own units."""

    now: int
    most: int
    most_block: int
    from_block: int

    @property
    def pulled_bps(self) -> int:
        """What is gone of the most there was, rounded down."""
        return BPS_DENOMINATOR * max(0, self.most - self.now) // self.most if self.most > 0 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """Everything about one token and one of its pools, as of ``now_s`` (Unix seconds). ``holders`` leaves out the pools
    that the token may be sold in. ``interrupted``: some of ``missing`` may be told when it is asked for again."""

    now_s: int = 0
    birth: Birth | None = None
    liquidity: Shares | None = None
    holders: Shares | None = None
    past: LiquidityPast | None = None
    missing: tuple[str, ...] = ()
    interrupted: bool = False

    @property
    def age_s(self) -> int | None:
        """At least so many seconds old; None when that is not known."""
        return None if self.birth is None or self.birth.at_s is None else max(0, self.now_s - self.birth.at_s)

    def locked_bps(self, until_s: int = SOON_S) -> int | None:
        """The part of the pool's liquidity that stays for so long; None when that is not known."""
        return None if self.liquidity is None else self.liquidity.kept_bps(until_s)

    def top_holder_bps(self, until_s: int = SOON_S) -> int | None:
        """The largest part of the supply that one account can sell within so many seconds; None when not known."""
        return None if self.holders is None else self.holders.largest_bps(until_s)


class BackgroundLimits(NamedTuple):
    """Beyond these a token is unsafe. Those that are None are not asked for; what is asked for must be known, except
    whether liquidity was pulled: that counts where it was seen."""

    max_pulled_bps: int | None = None
    min_locked_bps: int | None = None
    max_holder_bps: int | None = None
    min_age_s: int | None = None


class Remark(NamedTuple):
    """A flag, its reason in a sentence, and what it means for a verdict."""

    flag: str
    reason: str
    means: Literal["unsafe", "unknown"]


def remarks(background: Background | None, limits: BackgroundLimits) -> Iterator[Remark]:
    """What speaks against a token by its surroundings."""
    found = background or Background()
    past = found.past
    if past is not None and limits.max_pulled_bps is not None and past.pulled_bps > limits.max_pulled_bps:
        sentence = f"{percent(past.pulled_bps)} of the liquidity of block {past.most_block} is gone"
        yield Remark("liquidity_pulled", sentence, "unsafe")
    if limits.min_locked_bps is not None:
        yield from _about_liquidity(found, limits.min_locked_bps)
    if limits.max_holder_bps is not None:
        yield from _about_holders(found, limits.max_holder_bps)
    if limits.min_age_s is not None:
        yield from _about_age(found, limits.min_age_s)


def _about_liquidity(found: Background, least_bps: int) -> Iterator[Remark]:
    kept = found.locked_bps()
    if kept is None:
        yield Remark("not_seen", "who can take the liquidity away is not known", "unknown")
    elif kept < least_bps:
        ending = _ending_s(found)
        if ending is not None:
            yield Remark("lock_ends", f"a lock of its liquidity ends within {-(-ending // 86_400)} days", "unsafe")
        sentence = f"only {percent(kept)} of the liquidity is burned or locked for {SOON_S // 86_400} days"
        yield Remark("liquidity_loose", sentence, "unsafe")


def _ending_s(found: Background) -> int | None:
    """After how many seconds at the latest the first lock begins to let liquidity out; None for later than soon."""
    holdings = () if found.liquidity is None else found.liquidity.holdings
    ends = [
        release.after_s
        for each in holdings
        for release in each.releases
        if release.after_s <= SOON_S and release.amount > 0
    ]
    return min(ends, default=None)


def _about_holders(found: Background, most_bps: int) -> Iterator[Remark]:
    top = found.top_holder_bps()
    if top is None:
        yield Remark("not_seen", "who holds most of it is not known", "unknown")
    elif top > most_bps:
        yield Remark("whale", f"one account may sell {percent(top)} of the supply", "unsafe")


def _about_age(found: Background, least: int) -> Iterator[Remark]:
    age = found.age_s
    if age is None:
        yield Remark("not_seen", "its age is not known", "unknown")
    elif age < least:
        exact = found.birth is not None and found.birth.exact
        sentence = f"it is {'' if exact else 'known to be '}{age} seconds old, less than {least}"
        yield Remark("young", sentence, "unsafe" if exact else "unknown")
