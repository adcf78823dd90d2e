"""Pools of Uniswap V2 and V3 and of their forks, each a contract of its own."""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.chain.deployments import pair_fee_pips
from dexlane.chain.pool_loading.base import (
    ChainReader,
    PoolUnreadable,
    WatchedPool,
    load_token,
    signed,
    signed_word,
)
from dexlane.domain.amm.tick_math import MAX_TICK, MIN_TICK
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, PoolKey, Tick

_TOKEN0 = bytes.fromhex("0dfe1681")
_TOKEN1 = bytes.fromhex("d21220a7")
_FACTORY = bytes.fromhex("c45a0155")
_GET_RESERVES = bytes.fromhex("0902f1ac")
_FEE = bytes.fromhex("ddca3f43")
_TICK_SPACING = bytes.fromhex("d0c93a7c")
_SLOT0 = bytes.fromhex("3850c7bd")
_LIQUIDITY = bytes.fromhex("1a686502")
_TICK_BITMAP = bytes.fromhex("5339c296")
_TICKS = bytes.fromhex("f30dba93")


async def load_v2(reader: ChainReader, watched: WatchedPool) -> Pool:
    """A pair of Uniswap V2 or of a fork. Its fee is not on chain: the factory tells, unless ``watched`` does.

    Raises ``PoolUnreadable`` for a factory that is not among the known deployments.
    """
    pool = watched.address
    token0, token1, reserves = await reader.words([(pool, _TOKEN0), (pool, _TOKEN1), (pool, _GET_RESERVES)])
    fee_pips = watched.fee_pips
    if fee_pips is None:
        [factory] = await reader.words([(pool, _FACTORY)])
        fee_pips = pair_fee_pips(factory.address(0))
        if fee_pips is None:
            raise PoolUnreadable(f"{pool} is of the unknown factory {factory.address(0)}: name its fee_pips")
    key = PoolKey(
        address=pool,
        protocol=watched.protocol,
        token0=await load_token(reader, token0.address(0)),
        token1=await load_token(reader, token1.address(0)),
        fee_pips=fee_pips,
    )
    return Pool(key=key, state=ConstantProductState(reserve0=reserves.uint(0, 112), reserve1=reserves.uint(1, 112)))


async def load_v3(reader: ChainReader, watched: WatchedPool) -> Pool:
    """A pool of Uniswap V3 or PancakeSwap V3, which have the same view functions."""
    pool = watched.address
    calls = [(pool, _TOKEN0), (pool, _TOKEN1), (pool, _FEE), (pool, _TICK_SPACING)]
    token0, token1, fee, spacing = await reader.words(calls)
    key = PoolKey(
        address=pool,
        protocol=watched.protocol,
        token0=await load_token(reader, token0.address(0)),
        token1=await load_token(reader, token1.address(0)),
        fee_pips=fee.uint(0, 24),
        tick_spacing=spacing.uint(0, 24),
    )
    return Pool(key=key, state=await _concentrated_state(reader, key))


async def _concentrated_state(reader: ChainReader, key: PoolKey) -> ConcentratedState:
    """Price, liquidity and every initialised tick."""
    pool = key.address
    slot0, liquidity = await reader.words([(pool, _SLOT0), (pool, _LIQUIDITY)])
    return checked_state(
        key,
        sqrt_price_x96=slot0.uint(0, 160),
        tick=signed(slot0.uint(1)),
        liquidity=liquidity.uint(0, 128),
        ticks=await _load_ticks(reader, key),
    )


def checked_state(
    key: PoolKey, *, sqrt_price_x96: int, tick: int, liquidity: int, ticks: tuple[Tick, ...]
) -> ConcentratedState:
    """The state of these parts. Raises ``PoolUnreadable`` when the ticks do not add up to the active liquidity."""
    below = sum(known.liquidity_net for known in ticks if known.tick <= tick)
    if below != liquidity:
        raise PoolUnreadable(f"the ticks of {key.address} add up to {below} liquidity, the pool says {liquidity}")
    return ConcentratedState(sqrt_price_x96=sqrt_price_x96, tick=tick, liquidity=liquidity, ticks=ticks)


def bitmap_words(spacing: int) -> range:
    """The positions of all words of a tick bitmap: compressed ticks round toward minus infinity, 256 share a word."""
    return range((MIN_TICK // spacing) >> 8, ((MAX_TICK // spacing) >> 8) + 1)


def initialised(spacing: int, words: Sequence[tuple[int, int]]) -> list[int]:
    """The ticks whose bits are set in the (position, word) pairs of a bitmap."""
    return [
        (position * 256 + bit) * spacing for position, bits in words if bits for bit in range(256) if bits >> bit & 1
    ]


async def _load_ticks(reader: ChainReader, key: PoolKey) -> tuple[Tick, ...]:
    pool, positions = key.address, bitmap_words(key.tick_spacing)
    bitmap = await reader.words([(pool, _TICK_BITMAP + signed_word(position)) for position in positions])
    words = [(position, frame.uint(0)) for position, frame in zip(positions, bitmap, strict=True)]
    indices = initialised(key.tick_spacing, words)
    answers = await reader.words([(pool, _TICKS + signed_word(index)) for index in indices])
    return tuple(
        Tick(index, frame.uint(0, 128), signed(frame.uint(1))) for index, frame in zip(indices, answers, strict=True)
    )
