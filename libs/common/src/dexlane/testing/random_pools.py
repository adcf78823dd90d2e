"""Markets of many pools, drawn from a generator that the caller seeds: the same seed, the same market."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from random import Random

from dexlane.domain.amm.tick_math import tick_at_sqrt_ratio
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, PoolKey, PoolState, Protocol, Tick
from dexlane.values.tokens import Token

_SPACINGS = {100: 1, 500: 10, 3000: 60, 10_000: 200}
_WIDEST = 887_272


@dataclass(frozen=True)
class MarketShape:
    """How a market is drawn. Hubs are the first tokens; without any, pairs are drawn evenly.

    Prices of pools differ from those of their tokens by up to ``noise``. ``size`` is a pool's median worth, and pools
    are up to thirty times larger or smaller. Without ``full_range`` V3 pools may run out of liquidity.
    """

    tokens: int
    pools: int
    hubs: int = 0
    v3_share: float = 0.5
    noise: float = 0.01
    size: int = 10**21
    full_range: bool = True
    v2_fees: tuple[int, ...] = (3000,)


def seeded(seed: int) -> Random:
    """A generator for tests and benchmarks, where the same draws must come again."""
    return Random(seed)  # noqa: S311 - repeatable on purpose


def numbered_token(number: int) -> Token:
    """A token whose address sorts by its number."""
    return Token(address=f"0x{number + 1:040x}", symbol=f"T{number}", decimals=18)


def random_pools(rng: Random, shape: MarketShape) -> list[Pool]:
    """The pools of a market, each token of a market with hubs in at least one."""
    prices = [10 ** rng.uniform(-1, 1) for _ in range(shape.tokens)]
    pools = []
    for number in range(shape.pools):
        one, other = sorted(_pair(rng, shape, number))
        worth = shape.size * 10 ** rng.uniform(-1.5, 1.5)
        amount0 = max(1, int(worth / prices[one]))
        amount1 = max(1, int(worth / prices[other] * rng.uniform(1 - shape.noise, 1 + shape.noise)))
        is_v3 = rng.random() < shape.v3_share
        fee_pips = rng.choice(tuple(_SPACINGS) if is_v3 else shape.v2_fees)
        key = PoolKey(
            address=f"0x{number + 0x1000:040x}",
            protocol=Protocol.UNISWAP_V3 if is_v3 else Protocol.UNISWAP_V2,
            token0=numbered_token(one),
            token1=numbered_token(other),
            fee_pips=fee_pips,
            tick_spacing=_SPACINGS[fee_pips] if is_v3 else 0,
        )
        if is_v3:
            state: PoolState = _positions(rng, key.tick_spacing, (amount0, amount1), full_range=shape.full_range)
        else:
            state = ConstantProductState(reserve0=amount0, reserve1=amount1)
        pools.append(Pool(key=key, state=state))
    return pools


def _positions(rng: Random, spacing: int, amounts: tuple[int, int], *, full_range: bool) -> ConcentratedState:
    """Two to twelve positions around the price of the amounts, some narrow, some wide."""
    amount0, amount1 = amounts
    price = isqrt((amount1 << 192) // amount0)
    tick, unit = tick_at_sqrt_ratio(price), max(1, isqrt(amount0 * amount1))
    nets: dict[int, int] = {}
    for _ in range(rng.randint(2, 12)):
        width = spacing * (rng.randint(2, 20) if rng.random() < 0.5 else rng.randint(10, 300))
        low = (tick + rng.randint(-width, width) - width) // spacing * spacing
        _add(nets, low, low + 2 * width + spacing, max(1, int(unit * rng.uniform(0.2, 4))))
    if full_range:
        widest = _WIDEST // spacing * spacing
        _add(nets, -widest, widest, unit)
    ticks = tuple(Tick(at, abs(net), net) for at, net in sorted(nets.items()) if net)
    active = sum(one.liquidity_net for one in ticks if one.tick <= tick)
    return ConcentratedState(sqrt_price_x96=price, tick=tick, liquidity=active, ticks=ticks)


def _add(nets: dict[int, int], low: int, high: int, liquidity: int) -> None:
    nets[low] = nets.get(low, 0) + liquidity
    nets[high] = nets.get(high, 0) - liquidity


def _pair(rng: Random, shape: MarketShape, number: int) -> list[int]:
    if not shape.hubs:
        return rng.sample(range(shape.tokens), 2)
    if number < shape.tokens - shape.hubs:
        return [number + shape.hubs, rng.randrange(shape.hubs)]
    first = rng.randrange(shape.hubs if rng.random() < 0.7 else shape.tokens)
    return [first, rng.choice([token for token in range(shape.tokens) if token != first])]
