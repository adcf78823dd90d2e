"""Which pool to read, and how: many view calls at one block, tokens, ABI words."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from dexlane.chain import abi
from dexlane.chain.answers import BlockId
from dexlane.chain.multicall import MULTICALL3, Call, aggregate3, decode_aggregate3
from dexlane.chain.pool_addresses import v4_pool_id
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.values.base import Value
from dexlane.values.chains import Address
from dexlane.values.pools import Protocol
from dexlane.values.tokens import MAX_DECIMALS, Token

CALLS_PER_MULTICALL = 400
"""About 4 million gas of storage reads: far below the 50 million that nodes grant a call."""

_SYMBOL = bytes.fromhex("95d89b41")
_DECIMALS = bytes.fromhex("313ce567")


class PoolUnreadable(ValueError):  # noqa: N818
    """The address does not answer as a pool of its protocol does, or its parts contradict each other."""


class V4Key(Value):
    """What the id of a Uniswap V4 pool without hooks is made of (``PoolKey`` of v4-core); the fee is static."""

    currency0: Address = Field(description="the zero address for the chain's native coin")
    currency1: Address
    fee_pips: int = Field(ge=0, lt=1_000_000)
    tick_spacing: int = Field(ge=1, le=32_767)

    @property
    def pool_id(self) -> str:
        """``keccak256(abi.encode(poolKey))`` (``PoolIdLibrary.toId``)."""
        return v4_pool_id(self.currency0, self.currency1, self.fee_pips, self.tick_spacing)


class WatchedPool(Value):
    """Which pool to watch; everything else is read from the chain.

    A pool of Uniswap V4 is named by its key and the ``PoolManager`` that holds it, its ``address`` is the first 20
    bytes of its id. ``fee_pips`` is needed only for a fork of Uniswap V2 whose factory is not among the known
    deployments.
    """

    address: Address
    protocol: Protocol
    singleton: Address | None = Field(
        default=None, description="the contract that holds the pool, where that is no contract of its own"
    )
    v4: V4Key | None = None
    fee_pips: int | None = Field(default=None, ge=0, lt=1_000_000)

    @model_validator(mode="after")
    def _consistent(self) -> WatchedPool:
        if self.protocol is not Protocol.UNISWAP_V4:
            if self.v4 is not None:
                raise ValueError("only a pool of Uniswap V4 has a v4 key")
            return self
        if self.v4 is None or self.singleton is None:
            raise ValueError("a pool of Uniswap V4 is named by its v4 key and its manager (singleton)")
        if self.v4.pool_id[:42] != self.address:
            raise ValueError(f"the id of that v4 key is {self.v4.pool_id}, and the address its first 20 bytes")
        return self

    @property
    def emitter(self) -> str:
        """The contract whose logs tell of this pool."""
        return self.singleton or self.address

    @property
    def emitters(self) -> tuple[str, ...]:
        """All contracts whose logs tell of this pool: Balancer's pools set their own fees, the Vault moves balances."""
        if self.singleton is not None and self.protocol in {Protocol.BALANCER_WEIGHTED, Protocol.BALANCER_STABLE}:
            return self.singleton, self.address
        return (self.emitter,)


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
            batch = aggregate3(calls[start : start + CALLS_PER_MULTICALL])
            found += decode_aggregate3(await self._rpc.eth_call(MULTICALL3, batch, block=self._block))
        return found

    async def words(self, calls: Sequence[Call]) -> list[abi.Frame]:
        """Answers that must be there. Raises ``PoolUnreadable`` when one reverted or is empty."""
        frames = []
        for (to, data), answer in zip(calls, await self.read(calls), strict=True):
            if not answer:
                raise PoolUnreadable(f"{to} does not answer 0x{data[:4].hex()}")
            frames.append(abi.Frame(answer))
        return frames


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


def _unless_reverted(answer: bytes | RpcError) -> bytes | None:
    """None for a revert; any other refusal (an unknown block, a limit of the provider) says nothing about the call."""
    if not isinstance(answer, RpcError):
        return answer
    if answer.code == 3 or "revert" in answer.message:
        return None
    raise answer


def signed_word(value: int) -> bytes:
    """A signed integer as an ABI word."""
    return value.to_bytes(abi.WORD, "big", signed=True)


def signed(word: int) -> int:
    """The signed integer that an ABI word holds."""
    return word - (1 << 256) if word >> 255 else word
