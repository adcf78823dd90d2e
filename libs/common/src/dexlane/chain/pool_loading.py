"""Complete pool states read from a node at one block: what never changes, reserves or price, and every tick."""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.chain import abi
from dexlane.chain.answers import BlockId
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.domain.amm.tick_math import MAX_TICK, MIN_TICK
from dexlane.values.base import Value
from dexlane.values.chains import Address
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, PoolKey, Protocol, Tick
from dexlane.values.tokens import MAX_DECIMALS, Token

MULTICALL3 = "0xca11bde05977b3631167028862be2a173976ca11"
CALLS_PER_MULTICALL = 400
"""About 4 million gas of storage reads: far below the 50 million that nodes grant a call."""

UNISWAP_V2_FEE_PIPS = 3_000
"""Fixed in ``UniswapV2Pair.swap``."""

_AGGREGATE3 = bytes.fromhex("82ad56cb")
_TOKEN0 = bytes.fromhex("0dfe1681")
_TOKEN1 = bytes.fromhex("d21220a7")
_GET_RESERVES = bytes.fromhex("0902f1ac")
_FEE = bytes.fromhex("ddca3f43")
_TICK_SPACING = bytes.fromhex("d0c93a7c")
_SLOT0 = bytes.fromhex("3850c7bd")
_LIQUIDITY = bytes.fromhex("1a686502")
_TICK_BITMAP = bytes.fromhex("5339c296")
_TICKS = bytes.fromhex("f30dba93")
_SYMBOL = bytes.fromhex("95d89b41")
_DECIMALS = bytes.fromhex("313ce567")

Call = tuple[str, bytes]


class PoolUnreadable(ValueError):  # noqa: N818
    """The address does not answer as a pool of its protocol does, or its parts contradict each other."""


class WatchedPool(Value):
    """Which pool to watch; everything else is read from the chain."""

    address: Address
    protocol: Protocol


class ChainReader:
    """Many view calls at one block: through Multicall3 where it has code, else as JSON-RPC batches."""

    def __init__(self, rpc: Rpc, block: BlockId, *, multicall: bool) -> None:
        self._rpc = rpc
        self._block = block
        self._multicall = multicall

    @classmethod
    async def at(cls, rpc: Rpc, block: BlockId) -> ChainReader:
        """A reader for a block; a block hash gives answers of exactly that block, or an ``RpcError``."""
        return cls(rpc, block, multicall=bool(await rpc.code(MULTICALL3, block=block)))

    async def read(self, calls: Sequence[Call]) -> list[bytes | None]:
        """Answers in the order of the calls; None where the call reverted."""
        if not self._multicall:
            answers = await self._rpc.eth_calls(calls, block=self._block)
            return [_unless_reverted(answer) for answer in answers]
        found: list[bytes | None] = []
        for start in range(0, len(calls), CALLS_PER_MULTICALL):
            found += await self._aggregate(calls[start : start + CALLS_PER_MULTICALL])
        return found

    async def words(self, calls: Sequence[Call]) -> list[abi.Frame]:
        """Answers that must be there. Raises ``PoolUnreadable`` when one reverted or is empty."""
        frames = []
        for (to, data), answer in zip(calls, await self.read(calls), strict=True):
            if not answer:
                raise PoolUnreadable(f"{to} does not answer 0x{data[:4].hex()}")
            frames.append(abi.Frame(answer))
        return frames

    async def _aggregate(self, calls: Sequence[Call]) -> list[bytes | None]:
        entries = [abi.Dynamic(abi.frame(abi.address(to), abi.flag(True), abi.byte_string(data))) for to, data in calls]
        answer = await self._rpc.eth_call(MULTICALL3, _AGGREGATE3 + abi.frame(abi.array(entries)), block=self._block)
        results = abi.Frame(answer).tuples(0)
        return [result.byte_string(1) if result.flag(0) else None for result in results]


async def load_pool(reader: ChainReader, watched: WatchedPool) -> Pool:
    """A pool with its complete state. Raises ``PoolUnreadable``, ``RpcError`` or ``RpcUnavailable``."""
    try:
        key = await load_key(reader, watched)
        if watched.protocol is Protocol.UNISWAP_V2:
            [reserves] = await reader.words([(key.address, _GET_RESERVES)])
            state = ConstantProductState(reserve0=reserves.uint(0, 112), reserve1=reserves.uint(1, 112))
            return Pool(key=key, state=state)
        return Pool(key=key, state=await load_concentrated_state(reader, key))
    except abi.AbiError as error:
        raise PoolUnreadable(f"{watched.address} is no {watched.protocol} pool: {error}") from error


async def load_key(reader: ChainReader, watched: WatchedPool) -> PoolKey:
    """What never changes about a pool: tokens, fee, tick spacing."""
    pool = watched.address
    fee_pips, spacing = UNISWAP_V2_FEE_PIPS, 0
    token0, token1 = await reader.words([(pool, _TOKEN0), (pool, _TOKEN1)])
    if watched.protocol is Protocol.UNISWAP_V3:
        fee, tick_spacing = await reader.words([(pool, _FEE), (pool, _TICK_SPACING)])
        fee_pips, spacing = fee.uint(0, 24), tick_spacing.uint(0, 24)
    return PoolKey(
        address=pool,
        protocol=watched.protocol,
        token0=await load_token(reader, token0.address(0)),
        token1=await load_token(reader, token1.address(0)),
        fee_pips=fee_pips,
        tick_spacing=spacing,
    )


async def load_token(reader: ChainReader, address: str) -> Token:
    """A token's metadata. Without ``decimals`` its amounts cannot be shown, so that raises ``PoolUnreadable``."""
    [symbol] = await reader.read([(address, _SYMBOL)])
    [decimals] = await reader.words([(address, _DECIMALS)])
    places = decimals.uint(0)
    if places > MAX_DECIMALS:
        raise PoolUnreadable(f"token {address} claims more decimals than an amount has digits")
    return Token(address=address, symbol=symbol_text(symbol) or address[:10], decimals=places)


def symbol_text(answer: bytes | None) -> str:
    """A symbol from ABI ``string`` or ``bytes32`` (MKR and others of its age): printable, at most 32 characters.

    Empty when there is nothing printable in it.
    """
    if not answer:
        return ""
    raw = answer.rstrip(b"\0") if len(answer) == abi.WORD else b""
    if len(answer) > abi.WORD:
        try:
            raw = abi.Frame(answer).byte_string(0)
        except abi.AbiError:
            return ""
    text = raw.decode("utf-8", errors="ignore")
    return "".join(character for character in text if character.isprintable()).strip()[:32]


async def load_concentrated_state(reader: ChainReader, key: PoolKey) -> ConcentratedState:
    """Price, liquidity and every initialised tick of a V3 pool."""
    pool = key.address
    slot0, liquidity = await reader.words([(pool, _SLOT0), (pool, _LIQUIDITY)])
    tick = _signed(slot0.uint(1))
    ticks = await _load_ticks(reader, key)
    active = liquidity.uint(0, 128)
    below = sum(known.liquidity_net for known in ticks if known.tick <= tick)
    if below != active:
        raise PoolUnreadable(f"the ticks of {pool} add up to {below} liquidity, the pool says {active}")
    return ConcentratedState(sqrt_price_x96=slot0.uint(0, 160), tick=tick, liquidity=active, ticks=ticks)


async def _load_ticks(reader: ChainReader, key: PoolKey) -> tuple[Tick, ...]:
    pool, spacing = key.address, key.tick_spacing
    # Compressed ticks round toward minus infinity (TickBitmap.position), 256 of them share a bitmap word.
    first, last = (MIN_TICK // spacing) >> 8, (MAX_TICK // spacing) >> 8
    bitmap = await reader.words([(pool, _TICK_BITMAP + _word(index)) for index in range(first, last + 1)])
    indices = [
        ((first + offset) * 256 + bit) * spacing
        for offset, frame in enumerate(bitmap)
        if (bits := frame.uint(0))
        for bit in range(256)
        if bits >> bit & 1
    ]
    answers = await reader.words([(pool, _TICKS + _word(index)) for index in indices])
    return tuple(
        Tick(index, frame.uint(0, 128), _signed(frame.uint(1))) for index, frame in zip(indices, answers, strict=True)
    )


def _unless_reverted(answer: bytes | RpcError) -> bytes | None:
    """None for a revert; any other refusal (an unknown block, a limit of the provider) says nothing about the call."""
    if not isinstance(answer, RpcError):
        return answer
    if answer.code == 3 or "revert" in answer.message:
        return None
    raise answer


def _word(value: int) -> bytes:
    """A signed integer as an ABI word."""
    return value.to_bytes(abi.WORD, "big", signed=True)


def _signed(word: int) -> int:
    return word - (1 << 256) if word >> 255 else word
