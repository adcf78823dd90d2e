"""Synthetic traders: labelled, seeded, pure. They keep two pools near the leading one, imperfectly.

``noise-1`` trades the V2 pool, ``noise-2`` the V3 0.3 % pool; nobody synthetic trades a recorded pool. On Base nothing
is recorded: there ``flow`` leads, which walks the 0.05 % pool around its starting price. What they intend and when
depends on the seed alone; how much that takes depends on the pool prices of the moment, which is the
only way in which anybody else's trades reach them. After a shock nobody pushes the same gap open again: whoever
closes it first has closed it.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isqrt

from dexlane_devnet.addresses import BASE_CHAIN, V2_POOL, V3_POOL_030, DevnetPool
from dexlane_devnet.v3math import Q96

BPS = 10_000
ROUND_TRIP_FEE_BPS = 35
"""Fees of a two-leg trade between the recorded 0.05 % pool and a 0.3 % pool."""
ETHER = 10**18
MAX_TRADE_WEI = 3_000 * ETHER
"""No synthetic trade sells more than this (or its worth in USDC)."""
TRACK_DEAD_BAND_BPS = 15
HOLD_SLACK_BPS = 8


@dataclass(frozen=True)
class Trader:
    """Habits of one synthetic trader; times are recorded milliseconds (wall time is speed times shorter).

    ``shock_beyond_bps`` is the range of the gap a shock opens beyond fees: wide in the shallow pool, small in the deep
    one, so that either is worth a few to some tens of USD to whoever closes it.
    """

    role: str
    pool: DevnetPool
    shock_beyond_bps: tuple[int, int]
    noise_wei: tuple[int, int]
    track_every_ms: tuple[int, int] = (60_000, 240_000)
    noise_every_ms: tuple[int, int] = (200_000, 800_000)
    shock_every_ms: tuple[int, int] = (3_000_000, 6_000_000)
    revert_after_ms: tuple[int, int] = (700_000, 1_800_000)


TRADERS = (
    Trader("noise-1", V2_POOL, (6, 30), (ETHER // 5, 5 * ETHER)),
    Trader("noise-2", V3_POOL_030, (3, 10), (ETHER // 2, 15 * ETHER)),
)


BASE_TRADERS = (
    replace(TRADERS[0], pool=BASE_CHAIN.pair),
    replace(TRADERS[1], pool=BASE_CHAIN.deep),
)
LEADER = Trader("flow", BASE_CHAIN.leading, (0, 0), (0, 0), track_every_ms=(60_000, 180_000))
"""Leads Base's prices; it only walks."""
WALK_STEP_BPS = 9
"""Standard deviation of one step; some two minutes of a winter day of ETH (about 2 % in 24 hours)."""
WALK_PULL_PERCENT = 1
"""Share of the way back to the starting price that each step takes: the walk stays within some 2 %."""


@dataclass(frozen=True, slots=True)
class Intention:
    """What a trader means to do at a moment of recorded time.

    ``track``, ``shock`` and ``revert`` want the pool's price at ``offset_bps`` from the leading pool's, ``walk`` from
    the starting price. ``hold`` comes between shock and revert: it only stops the gap from growing when the leading
    price runs away from it, and never widens one that somebody narrowed. ``noise`` sells ``size_wei`` worth of WETH or
    of USDC regardless of any price.
    """

    at_ms: int
    trader: Trader
    kind: str
    offset_bps: int = 0
    size_wei: int = 0
    sells_weth: bool = False


@dataclass(frozen=True)
class Order:
    """One swap: sell up to ``amount`` of ``token_in``; ``limit`` is a V3 sqrt price or 0."""

    token_in: str
    amount: int
    limit: int = 0


def intentions(seed: int, trader: Trader) -> Iterator[Intention]:
    """Everything a trader ever intends, in time order, endless; equal for equal seeds."""
    rng = random.Random(f"{seed}/{trader.role}")  # noqa: S311 - reproducible noise, no secret
    held_bps = 0
    due = {kind: rng.randint(*_every(trader, kind)) for kind in ("track", "noise", "shock")}
    while True:
        kind = min(due, key=lambda name: due[name])
        now = due[kind]
        if kind == "revert":
            del due["revert"]
            held_bps = 0
            due["shock"] = now + rng.randint(*trader.shock_every_ms)
            yield Intention(now, trader, "revert", _calm_offset(rng))
            continue
        due[kind] = now + rng.randint(*_every(trader, kind))
        if kind == "noise":
            size = rng.randint(*trader.noise_wei)
            yield Intention(now, trader, "noise", size_wei=size, sells_weth=rng.random() < 0.5)
        elif kind == "track":
            calm = _calm_offset(rng)
            yield Intention(now, trader, "hold", held_bps) if held_bps else Intention(now, trader, "track", calm)
        else:
            del due["shock"]
            due["revert"] = now + rng.randint(*trader.revert_after_ms)
            held_bps = _shock_offset(rng, trader)
            yield Intention(now, trader, "shock", held_bps)


def walk(seed: int) -> Iterator[Intention]:
    """Where the leader moves Base's leading pool, in time order, endless; equal for equal seeds."""
    rng = random.Random(f"{seed}/{LEADER.role}")  # noqa: S311 - reproducible noise, no secret
    now, offset_bps = 0, 0.0
    while True:
        now += rng.randint(*LEADER.track_every_ms)
        offset_bps += rng.gauss(0, WALK_STEP_BPS) - offset_bps * WALK_PULL_PERCENT / 100
        yield Intention(now, LEADER, "walk", round(offset_bps))


def order_for(intention: Intention, reference: int, state: tuple[int, int]) -> Order | None:
    """The swap that carries out an intention now, or None if there is nothing to do.

    Args:
        reference: sqrt price of the leading pool (of its start, for a walk), Q64.96.
        state: (reserve0, reserve1) of a V2 pool, or (sqrt price, 0) of a V3 pool.
    """
    pool = intention.trader.pool
    if intention.kind == "noise":
        token = pool.token0 if intention.sells_weth == pool.weth_first else pool.token1
        return Order(token, _worth(pool, token, intention.size_wei, reference))
    # A price that is x bps higher has a square root that is x / 2 bps higher; 2 * BPS keeps that exact.
    wanted = reference * (2 * BPS + intention.offset_bps) // (2 * BPS)
    current = state[0] if state[1] == 0 else isqrt(state[1] * Q96 * Q96 // state[0])
    gap_bps = abs(current - wanted) * 2 * BPS // wanted
    if intention.kind == "track" and gap_bps <= TRACK_DEAD_BAND_BPS:
        return None
    if intention.kind == "hold":
        apart_bps = abs(current - reference) * 2 * BPS // reference
        if apart_bps <= abs(intention.offset_bps) + HOLD_SLACK_BPS:
            return None
    return _v3_order(pool, current, wanted) if state[1] == 0 else _v2_order(pool, state, wanted)


def gap_beyond_fees_bps(reference: int, other: int) -> int:
    """How far two sqrt prices lie apart in bps of price beyond a round trip's fees; negative when within them."""
    return abs(other - reference) * 2 * BPS // reference - ROUND_TRIP_FEE_BPS


def _v2_order(pool: DevnetPool, reserves: tuple[int, int], wanted: int) -> Order | None:
    # x * y = k and y / x = wanted^2 give the reserves to reach; the fee share left in the pool is negligible here.
    root_k = isqrt(reserves[0] * reserves[1])
    target0, target1 = root_k * Q96 // wanted, root_k * wanted // Q96
    if target1 > reserves[1]:
        return Order(pool.token1, min(target1 - reserves[1], _worth(pool, pool.token1, MAX_TRADE_WEI, wanted)))
    if target0 > reserves[0]:
        return Order(pool.token0, min(target0 - reserves[0], _worth(pool, pool.token0, MAX_TRADE_WEI, wanted)))
    return None


def _v3_order(pool: DevnetPool, current: int, wanted: int) -> Order | None:
    if wanted == current:
        return None
    token = pool.token1 if wanted > current else pool.token0
    return Order(token, _worth(pool, token, MAX_TRADE_WEI, wanted), wanted)


def _worth(pool: DevnetPool, token: str, wei: int, sqrt_price: int) -> int:
    """``wei`` of WETH if ``token`` is that, else their worth in USDC."""
    if (token == pool.token0) == pool.weth_first:
        return wei
    if pool.weth_first:
        return wei * sqrt_price // Q96 * sqrt_price // Q96
    return wei * Q96 // sqrt_price * Q96 // sqrt_price


def _every(trader: Trader, kind: str) -> tuple[int, int]:
    spans = {"track": trader.track_every_ms, "noise": trader.noise_every_ms, "shock": trader.shock_every_ms}
    return spans[kind]


def _calm_offset(rng: random.Random) -> int:
    return max(-20, min(20, round(rng.gauss(0, 8))))


def _shock_offset(rng: random.Random, trader: Trader) -> int:
    # Squaring makes small gaps common and large ones rare.
    least, most = trader.shock_beyond_bps
    beyond = least + round((most - least) * rng.random() ** 2)
    return rng.choice((-1, 1)) * (ROUND_TRIP_FEE_BPS + beyond)
