"""Which liquidity the recorded pool must have held at the start of the day (pure).

The active liquidity after each recorded swap, minus what the day's mints and burns had added there until then, is the
starting liquidity of that tick-spacing range. For the shipped tape every range gives one and the same value however
often it was visited, so nothing is fitted. Ranges the price only crossed take the mean of their neighbours; beyond
the visited ticks the edge value goes on.
"""

from collections import defaultdict
from dataclasses import dataclass

from dexlane_devnet.errors import DevnetError
from dexlane_devnet.tape import Tape, TapeEvent
from dexlane_devnet.v3math import MAX_TICK, Q96, sqrt_price_before

FEE_PIPS = 500
SPACING = 10


@dataclass(frozen=True)
class Range:
    """``liquidity`` in ticks [lower, upper)."""

    lower: int
    upper: int
    liquidity: int


@dataclass(frozen=True)
class StartingPool:
    """How the recorded pool stood before the first event.

    Attributes:
        sqrt_price_x96: price before the first recorded swap.
        base: disjoint ranges that together hold everything nobody withdraws during the day.
        withdrawn: older positions (or parts of them) that the day's burns take away.
    """

    sqrt_price_x96: int
    base: tuple[Range, ...]
    withdrawn: tuple[Range, ...]


def starting_pool(tape: Tape) -> StartingPool:
    """Rebuild the start of the day from the tape.

    Raises:
        DevnetError: the tape contradicts itself, so no starting liquidity explains it.
    """
    first = tape.events[0]
    if first.kind != "swap":
        raise DevnetError("a tape must begin with a swap.")
    price = sqrt_price_before(first.sqrt_price_x96, first.liquidity, first.amount0, first.amount1, FEE_PIPS)
    withdrawn = _withdrawn(tape.events)
    profile = _fill_gaps(_visited(tape.events))
    base = []
    for lower, total in sorted(profile.items()):
        rest = total - sum(r.liquidity for r in withdrawn if r.lower <= lower < r.upper)
        if rest < 0:
            raise DevnetError(f"the tape burns more liquidity at tick {lower} than it shows.")
        base.append(Range(lower, lower + SPACING, rest))
    return StartingPool(price, _extend(_merge(base)), withdrawn)


def mirrored(start: StartingPool) -> StartingPool:
    """The same pool with its tokens the other way round: prices become their inverses, ticks change sign.

    Liquidity is the root of the product of both amounts, so it stays as it is.
    """

    def turned(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
        return tuple(Range(-item.upper, -item.lower, item.liquidity) for item in reversed(ranges))

    return StartingPool(Q96 * Q96 // start.sqrt_price_x96, turned(start.base), turned(start.withdrawn))


def net_change(events: tuple[TapeEvent, ...]) -> dict[tuple[int, int], int]:
    """Net liquidity added per (lower, upper) by the mints and burns among ``events``."""
    net: dict[tuple[int, int], int] = defaultdict(int)
    for event in events:
        if event.kind in ("mint", "burn"):
            net[event.tick_lower, event.tick_upper] += event.liquidity * (1 if event.kind == "mint" else -1)
    return net


def _withdrawn(events: tuple[TapeEvent, ...]) -> tuple[Range, ...]:
    """What must exist beforehand so that no burn of the day exceeds its range's liquidity."""
    running: dict[tuple[int, int], int] = defaultdict(int)
    lowest: dict[tuple[int, int], int] = defaultdict(int)
    for event in events:
        if event.kind in ("mint", "burn"):
            key = (event.tick_lower, event.tick_upper)
            running[key] += event.liquidity * (1 if event.kind == "mint" else -1)
            lowest[key] = min(lowest[key], running[key])
    return tuple(Range(*key, -low) for key, low in sorted(lowest.items()) if low < 0)


def _visited(events: tuple[TapeEvent, ...]) -> dict[int, int]:
    """Starting liquidity of each tick-spacing range in which a swap ended, keyed by its lower tick."""
    changes: list[tuple[int, int, int]] = []
    found: dict[int, int] = {}
    for event in events:
        if event.kind in ("mint", "burn"):
            sign = 1 if event.kind == "mint" else -1
            changes.append((event.tick_lower, event.tick_upper, sign * event.liquidity))
        elif event.kind == "swap":
            since = sum(change for lower, upper, change in changes if lower <= event.tick < upper)
            bucket = event.tick // SPACING * SPACING
            start = event.liquidity - since
            if found.setdefault(bucket, start) != start:
                raise DevnetError(f"the tape shows two starting liquidities at tick {bucket}.")
    return found


def _fill_gaps(found: dict[int, int]) -> dict[int, int]:
    full = {}
    for tick in range(min(found), max(found) + SPACING, SPACING):
        below = max(t for t in found if t <= tick)
        above = min(t for t in found if t >= tick)
        full[tick] = (found[below] + found[above]) // 2
    return full


def _merge(ranges: list[Range]) -> list[Range]:
    merged = [ranges[0]]
    for item in ranges[1:]:
        last = merged[-1]
        if item.liquidity == last.liquidity:
            merged[-1] = Range(last.lower, item.upper, last.liquidity)
        else:
            merged.append(item)
    return merged


def _extend(ranges: list[Range]) -> tuple[Range, ...]:
    widest = MAX_TICK // SPACING * SPACING
    first, last = ranges[0], ranges[-1]
    below = Range(-widest, first.upper, first.liquidity)
    above = Range(last.lower, widest, last.liquidity)
    return (below, *ranges[1:-1], above)
