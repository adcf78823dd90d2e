"""Pools with ticks, made and asked: Uniswap V3 and PancakeSwap V3 (a contract each), Uniswap V4 (one for all).

The exchanges' code comes from npm at the time of recording and is never kept in the repository.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from dexlane_devnet.answers.chain import PLENTY, AnswerChain, AskRow, Json, Reverted, vyper_code
from dexlane_devnet.contracts import calldata
from dexlane_devnet.packages import V3_CORE, Package, Report, fetch

ZERO = "0x" + "0" * 40
MAX_TICK = 887_272
MIN_SQRT_PRICE, MAX_SQRT_PRICE = 4_295_128_739, 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342
SWAP_GAS = 60_000_000
"""A walk over many empty words of a bitmap costs millions."""
PANCAKE = Package(
    "@pancakeswap/v3-core",
    "1.0.2",
    "sha512-9aZU8I1J6SbZOSW7NcNxuyaAC17tGkOaZJM9aJgvl6MMUOExpq0i0EC/jc3HxWbpC8sbZL+8eG544NEJs8CS+w==",
    (
        "artifacts/contracts/PancakeV3Factory.sol/PancakeV3Factory.json",
        "artifacts/contracts/PancakeV3Pool.sol/PancakeV3Pool.json",
    ),
)
V4_CORE = Package(
    "@uniswap/v4-core",
    "1.0.2",
    "sha512-X15Tm2wWd+USAzEExMbo+g9naA6QN6mPgWm0MzDwRNlOfaNlepfUpSyt9RSrUfEODspwbyWbcLg6t5nwc/e7lg==",
    ("out/PoolManager.sol/PoolManager.json",),
)
_TIERS = {
    "uniswap_v3": ((500, 10), (3_000, 60), (10_000, 200)),
    "pancakeswap_v3": ((100, 1), (500, 10), (2_500, 50), (10_000, 200)),
}
_V4_SPACINGS = (1, 10, 60, 200, 1_000, 16_384, 32_767)
_KEY = "(address,address,uint24,int24,address)"
_SWAP_MANAGED = f"swap_managed(address,{_KEY},(bool,int256,uint160))"
_MODIFY_MANAGED = f"modify_managed(address,{_KEY},(int24,int24,int256,bytes32))"
_LIQUIDITY_OFFSET = 3
_POOLS_SLOT = 6


@dataclass(frozen=True)
class TickExchange:
    """A factory (or the manager of V4) and the contract that trades for us."""

    protocol: str
    factory: str
    swapper: str


@dataclass(frozen=True)
class TickPool:
    """A pool to ask. ``address`` is the manager's where ``pool_id`` is not empty."""

    exchange: TickExchange
    address: str
    pool_id: bytes
    tokens: tuple[str, str]
    fee_pips: int
    spacing: int

    @property
    def key(self) -> tuple[str, str, int, int, str]:
        """``PoolKey`` of V4, without hooks."""
        return (*self.tokens, self.fee_pips, self.spacing, ZERO)

    def swap_call(self, zero_for_one: bool, exact: str, amount: int) -> tuple[str, str]:
        """A swap up to the extreme price, as routers send it."""
        limit = MIN_SQRT_PRICE + 1 if zero_for_one else MAX_SQRT_PRICE - 1
        signed = amount if exact == "in" else -amount
        if self.pool_id:
            data = calldata(_SWAP_MANAGED, self.address, self.key, (zero_for_one, -signed, limit))
        else:
            data = calldata("swap_ticks(address,bool,int256,uint160)", self.address, zero_for_one, signed, limit)
        return self.exchange.swapper, data

    def mint_call(self, lower: int, upper: int, liquidity: int) -> tuple[str, str, tuple[object, ...]]:
        """Contract, signature and arguments that add a position."""
        if self.pool_id:
            change = (lower, upper, liquidity, bytes(32))
            return self.exchange.swapper, _MODIFY_MANAGED, (self.address, self.key, change)
        signature = "mint_ticks(address,int24,int24,uint128)"
        return self.exchange.swapper, signature, (self.address, lower, upper, liquidity)

    def state_calls(self) -> list[tuple[str, str]]:
        """Two view calls: price with tick, and active liquidity."""
        if not self.pool_id:
            return [(self.address, calldata("slot0()")), (self.address, calldata("liquidity()"))]
        slot = int.from_bytes(keccak(self.pool_id + _POOLS_SLOT.to_bytes(32, "big")), "big")
        slots = [(slot + offset).to_bytes(32, "big") for offset in (0, _LIQUIDITY_OFFSET)]
        return [(self.address, calldata("extsload(bytes32)", word)) for word in slots]

    def state_in(self, answers: Sequence[bytes | None]) -> list[int]:
        """Square-root price, tick and liquidity from the answers to ``state_calls``."""
        first, liquidity = (answer or b"" for answer in answers)
        if not self.pool_id:
            tick = int.from_bytes(first[32:64], "big", signed=True)
            return [int.from_bytes(first[:32], "big"), tick, int.from_bytes(liquidity[:32], "big")]
        word = int.from_bytes(first, "big")
        tick = word >> 160 & 0xFFFFFF
        tick -= 1 << 24 if tick >> 23 else 0
        return [word & (1 << 160) - 1, tick, int.from_bytes(liquidity[16:32], "big")]


async def deploy_exchange(chain: AnswerChain, protocol: str, cache: Path, report: Report) -> TickExchange:
    """The exchange's contracts and our trader."""
    swapper = await chain.deploy(vyper_code("swapper"))
    await chain.give_ether(swapper, 1 << 128)
    if protocol == "uniswap_v3":
        folder = fetch(V3_CORE, cache, report)
        factory = await chain.deploy(_code(folder / V3_CORE.members[0]))
    elif protocol == "pancakeswap_v3":
        folder = fetch(PANCAKE, cache, report)
        holder = await chain.deploy(_holding(b"\0" + _code(folder / PANCAKE.members[1])))
        deployer = await chain.deploy(vyper_code("pancake_deployer"), ["address"], [holder])
        factory = await chain.deploy(_code(folder / PANCAKE.members[0]), ["address"], [deployer])
    else:
        folder = fetch(V4_CORE, cache, report)
        factory = await chain.deploy(_code(folder / V4_CORE.members[0]), ["address"], [chain.trader])
        await chain.send(factory, "setProtocolFeeController(address)", chain.trader)
    return TickExchange(protocol, factory, swapper)


@dataclass(frozen=True)
class FilledPool:
    """A pool with its positions: (gross, net) liquidity by tick."""

    pool: TickPool
    protocol_fees: list[int]
    ticks: dict[int, tuple[int, int]]


async def make_filled(chain: AnswerChain, exchange: TickExchange, chance: random.Random) -> FilledPool:
    """A random pool with random positions."""
    price = _price(chance)
    pool, protocol_fees = await _make_pool(chain, exchange, chance, price)
    ticks = await _fill(chain, pool, chance)
    return FilledPool(pool, protocol_fees, {index: ticks[index] for index in sorted(ticks)})


async def make_to_ask(chain: AnswerChain, exchange: TickExchange, chance: random.Random, count: int) -> AskRow:
    """A random pool with random positions, to be asked rows of so many swaps."""
    made = await make_filled(chain, exchange, chance)
    pool = made.pool
    before = pool.state_in(await chain.try_in_order(pool.state_calls()))

    async def ask() -> Json:
        return {
            "fee_pips": pool.fee_pips,
            "tick_spacing": pool.spacing,
            "protocol_fees": made.protocol_fees,
            "native": pool.tokens[0] == ZERO,
            "state": before,
            "ticks": [[index, *references] for index, references in made.ticks.items()],
            "swaps": await _ask(chain, pool, chance, before, count),
        }

    return ask


async def _make_pool(
    chain: AnswerChain, exchange: TickExchange, chance: random.Random, price: int
) -> tuple[TickPool, list[int]]:
    tokens = sorted([await _new_token(chain, exchange), await _new_token(chain, exchange)], key=str.lower)
    if exchange.protocol != "uniswap_v4":
        fee, spacing = chance.choice(_TIERS[exchange.protocol])
        made = await chain.send(exchange.factory, "createPool(address,address,uint24)", *tokens, fee)
        address = "0x" + made["logs"][-1]["data"][-40:]
        await chain.send(address, "initialize(uint160)", price)
        return TickPool(exchange, address, b"", (tokens[0], tokens[1]), fee, spacing), [0, 0]
    if chance.random() < 0.3:
        tokens[0] = ZERO
    fee = chance.choice((0, 100, 500, 3_000, 10_000, chance.randrange(0, 999_999)))
    spacing = chance.choice(_V4_SPACINGS)
    key = (*tokens, fee, spacing, ZERO)
    pool_id = keccak(encode(["address", "address", "uint24", "int24", "address"], key))
    await chain.send(exchange.factory, f"initialize({_KEY},uint160)", key, price)
    protocol_fees = [0, 0]
    if chance.random() < 0.5:
        protocol_fees = [chance.choice((0, 1_000, chance.randrange(1_001))) for _ in range(2)]
        packed = protocol_fees[0] | protocol_fees[1] << 12
        await chain.send(exchange.factory, f"setProtocolFee({_KEY},uint24)", key, packed)
    return TickPool(exchange, exchange.factory, pool_id, (tokens[0], tokens[1]), fee, spacing), protocol_fees


async def _new_token(chain: AnswerChain, exchange: TickExchange) -> str:
    token = await chain.deploy(vyper_code("token"), ["string", "uint8", "uint256"], ["T", 18, 10**18])
    await chain.send(token, "mint(address,uint256)", exchange.swapper, PLENTY)
    return token.lower()


def _price(chance: random.Random) -> int:
    """A square-root price: mostly within a factor of 10 ** 12, sometimes anywhere."""
    widest = chance.choice((10, 10, 30, 125))
    exponent = chance.uniform(-widest / 2, widest / 2)
    price = int(2.0**96 * 2.0**exponent)
    return min(max(price, MIN_SQRT_PRICE + 10), MAX_SQRT_PRICE - 10**30)


async def _fill(chain: AnswerChain, pool: TickPool, chance: random.Random) -> dict[int, tuple[int, int]]:
    """Add positions around the price; (gross, net) by tick. What the pool refuses is left out."""
    ticks: dict[int, tuple[int, int]] = {}
    [_, tick, _] = pool.state_in(await chain.try_in_order(pool.state_calls()))
    edge = MAX_TICK // pool.spacing
    size = chance.uniform(6, 24)
    for number in range(chance.choice((1, 3, 8, 16))):
        centre = tick // pool.spacing + int(chance.gauss(0, 1) * 10 ** chance.uniform(0, 2.5))
        half = int(10 ** chance.uniform(0, 3))
        lower, upper = max(-edge, centre - half), min(edge, centre + half)
        # With a spacing of one a walk over nothing reads thousands of words: such a pool has liquidity everywhere.
        if number == 0 and (pool.spacing == 1 or chance.random() < 0.5):
            lower, upper = -edge, edge
        if lower >= upper:
            continue
        liquidity = int(10 ** (size + chance.uniform(-2, 1)))
        to, signature, arguments = pool.mint_call(lower * pool.spacing, upper * pool.spacing, liquidity)
        try:
            await chain.send(to, signature, *arguments)
        except Reverted:
            continue
        for index, net in ((lower * pool.spacing, liquidity), (upper * pool.spacing, -liquidity)):
            gross, before = ticks.get(index, (0, 0))
            ticks[index] = (gross + liquidity, before + net)
    return ticks


async def _ask(
    chain: AnswerChain, pool: TickPool, chance: random.Random, before: list[int], count: int
) -> list[list[object]]:
    """Rows ``[zero_for_one, "in" or "out", amount]``, then, unless the contract reverted, what the pool gained of
    each token, and its price, tick and liquidity afterwards."""
    asks, calls = _random_asks(chance, before, count), []
    for zero_for_one, exact, amount in asks:
        calls += [pool.swap_call(zero_for_one, exact, amount), *pool.state_calls()]
    answers = await chain.try_in_order(calls, gas=SWAP_GAS)
    rows = []
    for number, ask in enumerate(asks):
        swapped, *state = answers[3 * number : 3 * number + 3]
        row: list[object] = [*ask]
        if swapped is not None:
            sign = -1 if pool.pool_id else 1  # the manager's amounts are the swapper's, a pool's are its own
            row += [sign * int.from_bytes(swapped[at : at + 32], "big", signed=True) for at in (0, 32)]
            row += pool.state_in(state)
        rows.append(row)
    return rows


def _random_asks(chance: random.Random, state: Sequence[int], count: int) -> list[tuple[bool, str, int]]:
    """From dust to more than the pool can carry, by the virtual reserves at the first price."""
    price, _, liquidity = state
    reserves = ((liquidity << 96) // price, liquidity * price >> 96)
    asks = []
    for _ in range(count):
        zero_for_one, exact = chance.random() < 0.5, chance.choice(("in", "out"))
        reserve = reserves[0 if zero_for_one == (exact == "in") else 1]
        usual, dust, wide = 10 ** chance.uniform(-5, 0), 10 ** chance.uniform(-20, 0), 10 ** chance.uniform(0, 3)
        share = chance.choice((usual,) * 6 + (dust,) * 3 + (wide,))
        amount = max(chance.randrange(1, 4), int(reserve * share))
        asks.append((zero_for_one, exact, min(amount, (1 << 126) - 1)))
    return asks


def _code(artifact: Path) -> bytes:
    content = orjson.loads(artifact.read_bytes())["bytecode"]
    text: str = content if isinstance(content, str) else content["object"]
    return bytes.fromhex(text.removeprefix("0x"))


def _holding(code: bytes) -> bytes:
    """Creation code of a contract whose code is ``code``."""
    return bytes.fromhex("61") + len(code).to_bytes(2, "big") + bytes.fromhex("80600a3d393df3") + code
