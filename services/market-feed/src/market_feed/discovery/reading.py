"""What is asked of the chain about a new pool, so that neither its tokens nor its size can do harm."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence

from dexlane.chain import abi
from dexlane.chain.answers import RawLog
from dexlane.chain.factories import Factory, NewPool, by_address, decode_creation
from dexlane.chain.logs import UnreadableLog
from dexlane.chain.multicall import Call
from dexlane.chain.pool_loading import ChainReader, load_pool
from dexlane.chain.pool_loading.uniswap_v4 import NATIVE, head_calls, virtual_amounts
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.chain.token_facts import TokenFacts, read_token
from dexlane.domain.liquidity_filter import Ratio
from dexlane.values.chains import ZERO_ADDRESS, BlockRef
from dexlane.values.pools import ConcentratedState, Pool, PoolState
from market_feed.discovery.access import Access
from market_feed.metrics import DiscoveryMoments

TOKENS_REMEMBERED = 10_000
MAX_TICKS = 20_000
HELD_TICKS = 43_000
"""Of a pool in which something held can be sold. With more, whatever they say, a snapshot outgrows its entry in the
bucket, which would hold up those of all other pools."""

NATIVE_FACTS = TokenFacts(address=NATIVE.address, symbol=NATIVE.symbol, decimals=NATIVE.decimals)
"""The chain's coin is no contract that could be asked."""

_BALANCE_OF = bytes.fromhex("70a08231")


class CandidateReader:
    """Reads balances, tokens and states of one chain's candidates."""

    def __init__(self, chain_id: int, rpc: Rpc, access: Access, moments: DiscoveryMoments) -> None:
        self.tokens: dict[str, TokenFacts] = {}
        """What tokens said about themselves, those without decimals included; the newest ``TOKENS_REMEMBERED``."""
        self._chain_id = chain_id
        self._rpc = rpc
        self._access = access
        self._moments = moments

    async def worth(self, pools: Sequence[NewPool], prices: Mapping[str, Ratio], tip: BlockRef) -> dict[str, int]:
        """What pools hold of their priced tokens, in quote units; of two priced tokens the lesser value.

        Only priced tokens are asked, which the operator chose, in one call for all. A pool of Uniswap V4 owns nothing
        apart from the others of its manager: what its active liquidity would be worth at every price stands for it.
        """
        calls: list[Call] = []
        for pool in pools:
            calls += _worth_calls(pool, prices)
        if not calls:
            return {}
        answers = iter(await (await ChainReader.at(self._rpc, tip.hash)).read(calls))
        worth: dict[str, int] = {}
        for pool in pools:
            told = [next(answers) for _ in _worth_calls(pool, prices)]
            values = [held * prices[token][0] // prices[token][1] for token, held in _held(pool, prices, told)]
            worth[pool.address] = min(values, default=0)
        return worth

    async def load(self, new: NewPool, tip: BlockRef, *, held: bool) -> Pool:
        """A pool with its whole state after ``tip``; ``held`` says that something held can be sold in it.

        Raises ``ValueError`` for a pool that can never be traded, ``RpcError`` or ``RpcUnavailable``.
        """
        for address in (new.token0, new.token1):
            facts = await self._facts(address, tip)
            if facts.token is None:
                raise ValueError(f"token {address} is not tradable: {facts.reason}")
        reader = await ChainReader.at(self._rpc, tip.hash)
        pool = await load_pool(reader, new.to_watch)
        if (pool.key.token0.address, pool.key.token1.address) != (new.token0, new.token1):
            raise ValueError("it trades other tokens than its factory said")
        if objection := objection_to_size(pool, held=held):
            raise ValueError(objection)
        return pool

    async def _facts(self, address: str, tip: BlockRef) -> TokenFacts:
        if address == ZERO_ADDRESS:
            return NATIVE_FACTS
        known = self.tokens.pop(address, None)
        if known is None:
            known = await read_token(self._rpc, address, tip.hash)
            if known.token is None:
                self._moments.token_unusable(self._chain_id, address, known.reason)
            self._compare_with_lists(known)
            if len(self.tokens) >= TOKENS_REMEMBERED:
                del self.tokens[next(iter(self.tokens))]
        self.tokens[address] = known
        return known

    def _compare_with_lists(self, facts: TokenFacts) -> None:
        listed = self._access.listed(self._chain_id).get(facts.address)
        if listed is not None and facts.decimals is not None and listed.decimals != facts.decimals:
            reason = f"a list says {listed.decimals} decimals, the token says {facts.decimals}; the token counts"
            self._moments.token_doubtful(self._chain_id, facts.address, reason)


class Announcements:
    """What the factories of one chain announced in the blocks that were applied. Of a flood of blocks the last ``most``
    are read."""

    def __init__(
        self, chain_id: int, rpc: Rpc, factories: Sequence[Factory], most: int, moments: DiscoveryMoments
    ) -> None:
        self._chain_id = chain_id
        self._rpc = rpc
        self._factories = by_address(factories)
        self._unread: deque[BlockRef] = deque(maxlen=most)
        self._moments = moments

    def note(self, block: BlockRef) -> None:
        """A block was applied."""
        if len(self._unread) == self._unread.maxlen:
            self._moments.block_unscanned(self._chain_id, self._unread[0].number)
        self._unread.append(block)

    async def read(self) -> AsyncIterator[NewPool]:
        """The pools that were announced since the last time. Raises ``RpcError`` or ``RpcUnavailable``; what was not
        read is read the next time."""
        while self._unread and self._factories:
            block = self._unread[0]
            for log in await self._logs(block):
                try:
                    new = decode_creation(log, self._factories)
                except UnreadableLog as error:
                    self._moments.refused(self._chain_id, log.address, str(error))
                    continue
                if new is not None:
                    yield new
            if self._unread and self._unread[0] == block:
                self._unread.popleft()

    async def _logs(self, block: BlockRef) -> list[RawLog]:
        """Logs of a block; none when it left the chain, ``RpcError`` when the node refuses for another reason."""
        try:
            return list(await self._rpc.logs(block.hash, list(self._factories)))
        except RpcError:
            now = await self._rpc.block(block.number)
            if now is not None and now.hash == block.hash:
                raise
            return []


def objection_to_size(pool: Pool, *, held: bool = False) -> str:
    """Why a pool is too large to be carried; empty when it is not. Anybody may add ticks to a pool."""
    most = HELD_TICKS if held else MAX_TICKS
    if isinstance(pool.state, ConcentratedState) and len(pool.state.ticks) > most:
        return f"it has {len(pool.state.ticks)} ticks, at most {most} are carried"
    return ""


def has_many_ticks(state: PoolState) -> bool:
    """Whether a pool has more ticks than one in which nothing is held may have."""
    return isinstance(state, ConcentratedState) and len(state.ticks) > MAX_TICKS


def _priced(pool: NewPool, prices: Mapping[str, Ratio]) -> list[str]:
    return [token for token in (pool.token0, pool.token1) if token in prices]


def _worth_calls(pool: NewPool, prices: Mapping[str, Ratio]) -> list[Call]:
    """What is asked about a pool: the balances of its priced tokens, or its price and active liquidity."""
    if pool.v4 is not None and pool.manager is not None:
        return head_calls(pool.v4, pool.manager) if _priced(pool, prices) else []
    return [(token, _BALANCE_OF + abi.address(pool.address)) for token in _priced(pool, prices)]


def _held(pool: NewPool, prices: Mapping[str, Ratio], told: Sequence[bytes | None]) -> list[tuple[str, int]]:
    """Its priced tokens and how much it holds of each, from the answers to ``_worth_calls``."""
    priced = _priced(pool, prices)
    if pool.v4 is None:
        balances = [int.from_bytes((answer or b"")[: abi.WORD], "big") for answer in told]
        return list(zip(priced, balances, strict=True))
    amounts = dict(zip((pool.token0, pool.token1), virtual_amounts(*told) if told else (0, 0), strict=True))
    return [(token, amounts[token]) for token in priced]
