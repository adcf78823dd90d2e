"""Blocks, tokens, pools and routes of the default world."""

from __future__ import annotations

from typing import Any

from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick
from dexlane.values.base import digest
from dexlane.values.chains import BlockRef
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, PoolKey, Protocol, Tick
from dexlane.values.routes import Leg, Route
from dexlane.values.tokens import Token

CHAIN_ID = 1
NOW_MS = 1_700_000_000_000
"""The time at which the default block 100 was applied."""

USDC = Token(address="0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", symbol="USDC", decimals=6)
WETH = Token(address="0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2", symbol="WETH", decimals=18)

V2_POOL = "0xb4e16d0168e52d35cacd2c6185b44281ec28c9dc"
V3_POOL_500 = "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640"
V3_POOL_3000 = "0x8ad599c3a0ff1de082011efddc58f1908eb6e6d8"

_TICK_SPACING = {100: 1, 500: 10, 3000: 60, 10_000: 200}


def an_address(seed: str) -> str:
    """An address that belongs to nobody, the same for the same seed."""
    return "0x" + (digest("address", seed) * 2)[:40]


def a_hash(seed: str) -> str:
    """A 32-byte hash, the same for the same seed."""
    return "0x" + digest("hash", seed) * 2


def a_block_ref(number: int = 100, fork: str = "main") -> BlockRef:
    """A block reference; blocks of the same number on different forks have different hashes."""
    return BlockRef(number=number, hash=a_hash(f"block {number} on {fork}"))


def a_token(symbol: str = "TKN", **fields: Any) -> Token:
    """A token with an address derived from its symbol."""
    return Token(**({"address": an_address(f"token {symbol}"), "symbol": symbol, "decimals": 18} | fields))


def a_pool_v2(**fields: Any) -> Pool:
    """USDC/WETH with 20 million USDC and 10,000 WETH: 2,000 USDC each. Also takes ``reserve0`` and ``reserve1``."""
    reserves = {
        "reserve0": fields.pop("reserve0", 20_000_000 * 10**6),
        "reserve1": fields.pop("reserve1", 10_000 * 10**18),
    }
    key: dict[str, Any] = {"protocol": Protocol.UNISWAP_V2, "token0": USDC, "token1": WETH, "fee_pips": 3000}
    return Pool(key=PoolKey(**(key | {"address": V2_POOL} | fields)), state=ConstantProductState(**reserves))


def a_pool_v3(**fields: Any) -> Pool:
    """USDC/WETH at about 2,000 USDC each (tick 200,311) with three nested positions.

    Also takes ``tick``, ``sqrt_price_x96``, ``liquidity`` (of the active range) and ``ticks``. The default ticks hold
    half of the liquidity in the full range, a third within 6,000 and the rest within 600 ticks of the price.
    """
    fee = int(fields.pop("fee_pips", 500))
    spacing = int(fields.pop("tick_spacing", _TICK_SPACING.get(fee, 60)))
    tick = int(fields.pop("tick", 200_311))
    liquidity = int(fields.pop("liquidity", 6 * 10**18))
    state = ConcentratedState(
        sqrt_price_x96=fields.pop("sqrt_price_x96", sqrt_ratio_at_tick(tick)),
        tick=tick,
        liquidity=liquidity,
        ticks=fields.pop("ticks", _nested_ticks(tick, spacing, liquidity)),
    )
    key: dict[str, Any] = {"protocol": Protocol.UNISWAP_V3, "token0": USDC, "token1": WETH}
    address = V3_POOL_3000 if fee == 3000 else V3_POOL_500
    return Pool(
        key=PoolKey(**(key | {"address": address, "fee_pips": fee, "tick_spacing": spacing} | fields)), state=state
    )


def a_one_tick_pool(tick: int = 200_311, liquidity: int = 5 * 10**17, name: str = "one tick") -> Pool:
    """USDC/WETH with all its money within one tick: some 500 dollars on either side by default, and virtual reserves
    far beyond those of ``a_pool_v2``."""
    return a_pool_v3(
        address=an_address(name),
        fee_pips=100,
        tick_spacing=1,
        tick=tick,
        sqrt_price_x96=(sqrt_ratio_at_tick(tick) + sqrt_ratio_at_tick(tick + 1)) // 2,
        liquidity=liquidity,
        ticks=(Tick(tick, liquidity, liquidity), Tick(tick + 1, liquidity, -liquidity)) if liquidity else (),
    )


def _nested_ticks(tick: int, spacing: int, liquidity: int) -> tuple[Tick, ...]:
    third, half = liquidity // 3, liquidity // 2
    near, widest = tick // spacing * spacing, 887_272 // spacing * spacing
    shares = ((widest, half, 0), (6_000, third, near), (600, liquidity - half - third, near))
    ticks: list[Tick] = []
    for distance, share, centre in shares:
        steps = max(distance // spacing, 1) * spacing
        ticks += [Tick(centre - steps, share, share), Tick(centre + steps, share, -share)]
    return tuple(sorted(ticks))


def a_leg(pool: Pool | None = None, token_in: str = USDC.address) -> Leg:
    """A leg through a pool (default: the V2 pool), selling ``token_in``."""
    key = (pool or a_pool_v2()).key
    return Leg(
        pool=key.address,
        protocol=key.protocol,
        fee_pips=key.fee_pips,
        token_in=token_in,
        token_out=key.other(token_in).address,
    )


def a_route(*pools: Pool, token_in: str = USDC.address) -> Route:
    """A route through the given pools in order (default: buy WETH in the V2 pool)."""
    legs: list[Leg] = []
    for pool in pools or (a_pool_v2(),):
        legs.append(a_leg(pool, legs[-1].token_out if legs else token_in))
    return Route(legs=tuple(legs))


def a_gap_route(buy: Pool | None = None, sell: Pool | None = None) -> Route:
    """A cycle: buy WETH in one pool, sell it in another."""
    return a_route(buy or a_pool_v2(), sell or a_pool_v3())
