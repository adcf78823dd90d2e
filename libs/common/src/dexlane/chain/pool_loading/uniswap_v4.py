"""Pools of Uniswap V4 without hooks, from the storage of the ``PoolManager`` that holds them all.

``extsload`` needs no further contract. Layout: ``PoolManager._pools`` lies in slot 6 (``StateLibrary`` of v4-core
1.0.2); of a ``Pool.State`` the first word is slot 0 (price, tick, protocol fee, LP fee), the fourth the liquidity, the
fifth the mapping of ticks and the sixth the tick bitmap.
"""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.chain import abi
from dexlane.chain.keccak import keccak256
from dexlane.chain.multicall import Call
from dexlane.chain.pool_loading.base import (
    ChainReader,
    PoolUnreadable,
    V4Key,
    WatchedPool,
    load_token,
    signed_word,
)
from dexlane.chain.pool_loading.uniswap import bitmap_words, checked_state, initialised
from dexlane.values.chains import ZERO_ADDRESS
from dexlane.values.pools import Pool, PoolKey, Tick
from dexlane.values.tokens import Token

_EXTSLOAD = bytes.fromhex("1e2eaeaf")
_POOLS_SLOT = 6
_LIQUIDITY_OFFSET = 3
_TICKS_OFFSET = 4
_BITMAP_OFFSET = 5
NATIVE = Token(address=ZERO_ADDRESS, symbol="NATIVE", decimals=18)
"""The chain's coin, as pools of Uniswap V4 name it."""


async def load(reader: ChainReader, watched: WatchedPool) -> Pool:
    """A pool by its key. Raises ``PoolUnreadable`` when the manager has no such pool, or another fee for it."""
    named, manager = watched.v4, watched.singleton
    if named is None or manager is None:
        raise PoolUnreadable(f"{watched.address} is not named by a v4 key and a manager")
    base = _slot(bytes.fromhex(named.pool_id[2:]), _POOLS_SLOT)
    slot0, liquidity = await _words(reader, manager, _head(named))
    if slot0 == 0:
        raise PoolUnreadable(f"the manager {manager} holds no pool {named.pool_id}")
    protocol_fee, lp_fee = slot0 >> 184 & 0xFFFFFF, slot0 >> 208 & 0xFFFFFF
    if lp_fee != named.fee_pips:
        raise PoolUnreadable(f"pool {named.pool_id} has a fee of {lp_fee} pips, its key {named.fee_pips}")
    key = PoolKey(
        address=watched.address,
        protocol=watched.protocol,
        token0=await _currency(reader, named.currency0),
        token1=await _currency(reader, named.currency1),
        fee_pips=lp_fee,
        tick_spacing=named.tick_spacing,
        pool_id=named.pool_id,
        protocol_fee0_pips=protocol_fee & 0xFFF,
        protocol_fee1_pips=protocol_fee >> 12,
    )
    state = checked_state(
        key,
        sqrt_price_x96=slot0 & (1 << 160) - 1,
        tick=_narrow(slot0 >> 160, 24),
        liquidity=liquidity & (1 << 128) - 1,
        ticks=await _load_ticks(reader, manager, base, named.tick_spacing),
    )
    return Pool(key=key, state=state)


def head_calls(named: V4Key, manager: str) -> list[Call]:
    """The two calls that tell price and active liquidity; ``virtual_amounts`` reads their answers."""
    return [(manager, _EXTSLOAD + abi.uint(slot)) for slot in _head(named)]


def virtual_amounts(slot0: bytes | None, liquidity: bytes | None) -> tuple[int, int]:
    """What a pool would hold of its tokens if its active liquidity lay at every price; zeros for a pool without any.

    A hundred times what it gives until its price has moved by 2 % (from ``dx = L * (1 / sqrt(p) - 1 / sqrt(q))``).
    """
    price, active = _number(slot0) & (1 << 160) - 1, _number(liquidity) & (1 << 128) - 1
    return ((active << 96) // price, active * price >> 96) if price else (0, 0)


def _number(word: bytes | None) -> int:
    return int.from_bytes((word or b"")[: abi.WORD], "big")


def _head(named: V4Key) -> list[int]:
    base = _slot(bytes.fromhex(named.pool_id[2:]), _POOLS_SLOT)
    return [base, base + _LIQUIDITY_OFFSET]


async def _load_ticks(reader: ChainReader, manager: str, base: int, spacing: int) -> tuple[Tick, ...]:
    positions = bitmap_words(spacing)
    words = await _words(reader, manager, [_slot(signed_word(at), base + _BITMAP_OFFSET) for at in positions])
    indices = initialised(spacing, list(zip(positions, words, strict=True)))
    found = await _words(reader, manager, [_slot(signed_word(index), base + _TICKS_OFFSET) for index in indices])
    return tuple(
        Tick(index, word & (1 << 128) - 1, _narrow(word >> 128, 128))
        for index, word in zip(indices, found, strict=True)
    )


async def _words(reader: ChainReader, manager: str, slots: Sequence[int]) -> list[int]:
    answers = await reader.words([(manager, _EXTSLOAD + abi.uint(slot)) for slot in slots])
    return [answer.uint(0) for answer in answers]


async def _currency(reader: ChainReader, address: str) -> Token:
    """A token; the native coin is no contract that could be asked."""
    if address == ZERO_ADDRESS:
        return NATIVE
    return await load_token(reader, address)


def _slot(key: bytes, mapping: int) -> int:
    """Where a mapping keeps the value of a key (Solidity, "Layout of State Variables in Storage")."""
    return int.from_bytes(keccak256(key + mapping.to_bytes(32, "big")), "big")


def _narrow(value: int, bits: int) -> int:
    """The signed integer in the lowest ``bits``."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value
