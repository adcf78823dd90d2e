"""Our own StableSwap pool (``vyper/stableswap.vy``), made and asked."""

from __future__ import annotations

import random
from dataclasses import dataclass

from dexlane_devnet.answers.chain import AnswerChain, Json, ListedToken, Reach, random_asks, random_balances, vyper_code
from dexlane_devnet.contracts import calldata

COINS_AT_MOST = 4
_TYPES = ["address[]", "uint256[]", "uint256", "uint256", "uint256", "uint256", "uint256"]


@dataclass(frozen=True)
class MadePool:
    """A pool with its coins in the contract's order; ``terms`` in the form of a state's terms."""

    address: str
    tokens: tuple[ListedToken, ...]
    balances: tuple[int, ...]
    terms: Json


async def make_pool(chain: AnswerChain, chance: random.Random) -> MadePool:
    """A random plain pool: two to four coins in any order, either revision, with and without a finer amplification."""
    tokens = tuple(chance.sample(chain.tokens, chance.randint(2, COINS_AT_MOST)))
    precision, revision = chance.choice((1, 100)), chance.choice((0, 1))
    amplification = chance.choice((precision, 5_000 * precision, int(10 ** chance.uniform(0, 3.69) * precision)))
    fee, admin_fee = chance.randrange(0, 10**8), chance.choice((0, 5 * 10**9, chance.randrange(10**10)))
    rates = [token.scaling * (token.rate if chance.random() < 0.3 else 10**18) // 10**18 for token in tokens]
    arguments = [[token.address for token in tokens], rates, amplification, precision, fee, admin_fee, revision]
    address = await chain.deploy(vyper_code("stableswap"), _TYPES, arguments)
    await chain.approve(address)
    balances = random_balances(chance, tokens, 1)
    await chain.send(address, "add_liquidity(uint256[],uint256)", balances, 0)
    sorted_tokens = sorted(tokens, key=lambda token: int(token.address, 16))
    terms: Json = {
        "fee": fee,
        "admin_fee": admin_fee,
        "scaling": [rates[tokens.index(token)] for token in sorted_tokens],
        "amplification": amplification,
        "amplification_precision": precision,
        "order": [sorted_tokens.index(token) for token in tokens],
        "revision": revision,
    }
    return MadePool(address, tokens, tuple(balances), terms)


async def ask_pool(chain: AnswerChain, pool: MadePool, chance: random.Random, count: int) -> Json:
    """Let the pool carry a row of exchanges, and write down what it said, in the order of sorted tokens.

    The contract knows no exact output, so all asks are of the input.
    """
    asks = random_asks(chance, pool.balances, count, Reach(1.2, ("in",)))
    reads = [(pool.address, calldata("balances(uint256)", coin)) for coin in range(len(pool.tokens))]
    calls = []
    for ask in asks:
        exchange = calldata("exchange(int128,int128,uint256,uint256)", ask.paid, ask.bought, ask.amount, 0)
        calls += [(pool.address, exchange), *reads]
    answers = await chain.try_in_order(calls)
    order: list[int] = pool.terms["order"]
    places = [order.index(place) for place in range(len(order))]
    swaps = []
    for number, ask in enumerate(asks):
        swapped, *held = answers[number * len(calls) // len(asks) : (number + 1) * len(calls) // len(asks)]
        row: list[object] = [order[ask.paid], order[ask.bought], "in", ask.amount]
        if swapped is not None:
            balances = [int.from_bytes(balance or b"", "big") for balance in held]
            row += [int.from_bytes(swapped, "big"), [balances[place] for place in places]]
        swaps.append(row)
    return {
        "decimals": [pool.tokens[place].decimals for place in places],
        "balances": [pool.balances[place] for place in places],
        "terms": pool.terms,
        "swaps": swaps,
    }
