"""Our own Solidly-style pool (``vyper/solidly_pool.vy``), stable and volatile, made and asked."""

from __future__ import annotations

import random
from dataclasses import dataclass

from dexlane_devnet.answers.chain import PLENTY, AnswerChain, AskRow, Json, vyper_code
from dexlane_devnet.contracts import calldata

FEES = "0x000000000000000000000000000000000000fee5"
"""Where the pools send their fees."""
_MOST = 64
"""A purchase is sought among inputs up to so many times the reserve paid in."""
_BUY_GAS = 16_000_000


async def deploy_swapper(chain: AnswerChain) -> str:
    """The contract that trades for us."""
    return await chain.deploy(vyper_code("swapper"))


@dataclass(frozen=True)
class MadePool:
    """A pool; everything in the order of its tokens."""

    address: str
    tokens: list[str]
    decimals: list[int]
    reserves: list[int]
    fee_bps: int


async def make_pool(chain: AnswerChain, swapper: str, stable: bool, chance: random.Random) -> MadePool:
    """A random pool with random reserves."""
    decimals = [chance.choice((6, 18, 18, 8, 6)) for _ in range(2)]
    tokens = sorted([(await _new_token(chain, swapper, places), places) for places in decimals])
    fee_bps = chance.choice((0, 1, 5, 30, 100, 300))
    types = ["address", "address", "bool", "uint256", "address"]
    arguments = [tokens[0][0], tokens[1][0], stable, fee_bps, FEES]
    pool = await chain.deploy(vyper_code("solidly_pool"), types, arguments)
    size = 10 ** chance.uniform(1, 9)
    lean = 10 ** chance.choice((0.0, chance.uniform(-0.5, 0.5), chance.uniform(-2, 2)))
    reserves = [int(size * 10 ** tokens[0][1]), int(size * lean * 10 ** tokens[1][1])]
    for (token, _), reserve in zip(tokens, reserves, strict=True):
        await chain.send(token, "mint(address,uint256)", pool, reserve)
    await chain.send(pool, "sync()")
    return MadePool(pool, [token for token, _ in tokens], [places for _, places in tokens], reserves, fee_bps)


async def make_to_ask(chain: AnswerChain, swapper: str, stable: bool, chance: random.Random, count: int) -> AskRow:
    """A random pool, to be asked rows of so many swaps.

    Exact outputs have no function in the contract: the trader seeks the least input on chain. Rows are ``[zero_for_one,
    "in" or "out", amount]``, then, unless the contract reverted, the other amount and both reserves afterwards.
    """
    pool = await make_pool(chain, swapper, stable, chance)

    async def ask() -> Json:
        return {
            "decimals": pool.decimals,
            "fee_bps": pool.fee_bps,
            "reserves": pool.reserves,
            "swaps": await _ask(chain, swapper, pool, chance, count),
        }

    return ask


async def _new_token(chain: AnswerChain, swapper: str, decimals: int) -> str:
    token = await chain.deploy(vyper_code("token"), ["string", "uint8", "uint256"], ["T", decimals, 10**18])
    await chain.send(token, "mint(address,uint256)", swapper, PLENTY)
    return token.lower()


def swap_call(swapper: str, pool: MadePool, zero_for_one: bool, exact: str, amount: int) -> tuple[str, str]:
    """The trader's call: sell exactly, or buy at least."""
    token_in, reserve_in = (pool.tokens[0], pool.reserves[0]) if zero_for_one else (pool.tokens[1], pool.reserves[1])
    if exact == "in":
        return swapper, calldata("swap_solidly(address,address,uint256)", pool.address, token_in, amount)
    signature = "buy_solidly(address,address,uint256,uint256)"
    return swapper, calldata(signature, pool.address, token_in, amount, _MOST * reserve_in)


async def _ask(
    chain: AnswerChain, swapper: str, pool: MadePool, chance: random.Random, count: int
) -> list[list[object]]:
    asks, calls = _random_asks(chance, pool.reserves, count), []
    for ask in asks:
        calls += [swap_call(swapper, pool, *ask), (pool.address, calldata("getReserves()"))]
    answers = await chain.try_in_order(calls, gas=_BUY_GAS)
    rows = []
    for number, ask in enumerate(asks):
        swapped, held = answers[2 * number : 2 * number + 2]
        row: list[object] = [*ask]
        if swapped is not None and held is not None:
            row += [int.from_bytes(word, "big") for word in (swapped, held[:32], held[32:64])]
        elif ask[1] == "out":
            continue  # whether no input buys so much, or only a larger one than was tried, is not known
        rows.append(row)
    return rows


def _random_asks(chance: random.Random, reserves: list[int], count: int) -> list[tuple[bool, str, int]]:
    asks = []
    for _ in range(count):
        zero_for_one, exact = chance.random() < 0.5, chance.choice(("in", "in", "out"))
        reserve = reserves[0 if zero_for_one == (exact == "in") else 1]
        usual, dust, large = 10 ** chance.uniform(-5, -0.5), 10 ** chance.uniform(-18, 0), chance.uniform(0, 1)
        share = chance.choice((usual,) * 6 + (dust,) * 3 + (large,))
        asks.append((zero_for_one, exact, max(chance.randrange(1, 4), int(reserve * share * 0.9))))
    return asks
