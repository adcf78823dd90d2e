"""Balancer V2's own Vault, factories and pools, made and asked.

The code comes from npm's ``@balancer-labs/v2-deployments`` (GPL-3.0) at the time of recording and is never kept in the
repository.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from dexlane_devnet.answers.chain import (
    AnswerChain,
    Ask,
    Json,
    ListedToken,
    Reach,
    random_asks,
    random_balances,
)
from dexlane_devnet.contracts import calldata
from dexlane_devnet.packages import Package, Report, fetch

ONE = 10**18
ZERO = "0x" + "0" * 40
MAX = (1 << 256) - 1
AMP_PRECISION = 1_000
_POOL_REGISTERED = "0x" + keccak(text="PoolRegistered(bytes32,address,uint8)").hex()
_TASKS = "dist/tasks"
_VAULT = f"{_TASKS}/20210418-vault/artifact/Vault.json"
_AUTHORIZER = f"{_TASKS}/20210418-authorizer/artifact/Authorizer.json"
_FEES = f"{_TASKS}/20220725-protocol-fee-percentages-provider/artifact/ProtocolFeePercentagesProvider.json"
_WEIGHTED_1 = f"{_TASKS}/20210418-weighted-pool/bytecode/WeightedPoolFactory.json"
_WEIGHTED_3 = f"{_TASKS}/20230206-weighted-pool-v3/artifact/WeightedPoolFactory.json"
_STABLE_3 = f"{_TASKS}/20230206-composable-stable-pool-v3/artifact/ComposableStablePoolFactory.json"
PACKAGE = Package(
    "@balancer-labs/v2-deployments",
    "3.2.0",
    "sha512-pghD7qyTVp1832d7F7yHgAeh/EZvS2/GLvUx9ieM671NMh1KTprYZOBCpEVVC9JnE1Vpru5rc9DDNlFw3capVw==",
    (_VAULT, _AUTHORIZER, _FEES, _WEIGHTED_1, _WEIGHTED_3, _STABLE_3),
)
_JOIN = "joinPool(bytes32,address,address,(address[],uint256[],bytes,bool))"
_STABLE, _WEIGHTED = Reach(1.2, ("in", "out")), Reach(0.35, ("in", "out"))
_SWAP = "swap((bytes32,uint8,address,address,uint256,bytes),(address,bool,address,bool),uint256,uint256)"


@dataclass(frozen=True)
class BalancerContracts:
    """Addresses of what was deployed."""

    vault: str
    first_weighted: str
    weighted: str
    stable: str


async def deploy_balancer(chain: AnswerChain, cache: Path, report: Report) -> BalancerContracts:
    """The Vault and three pool factories, as their deployers made them."""
    folder = fetch(PACKAGE, cache, report)

    def code(member: str) -> bytes:
        artifact = orjson.loads((folder / member).read_bytes())
        text: str = artifact.get("bytecode") or artifact["creationCode"]
        return bytes.fromhex(text.removeprefix("0x"))

    authorizer = await chain.deploy(code(_AUTHORIZER), ["address"], [chain.trader])
    vault = await chain.deploy(
        code(_VAULT), ["address", "address", "uint256", "uint256"], [authorizer, ZERO, 7_776_000, 2_592_000]
    )
    fees = await chain.deploy(code(_FEES), ["address", "uint256", "uint256"], [vault, ONE // 2, ONE // 2])
    newer = ["address", "address", "string", "string"]
    contracts = BalancerContracts(
        vault,
        await chain.deploy(code(_WEIGHTED_1), ["address"], [vault]),
        await chain.deploy(code(_WEIGHTED_3), newer, [vault, fees, "factory", "pool"]),
        await chain.deploy(code(_STABLE_3), newer, [vault, fees, "factory", "pool"]),
    )
    await chain.approve(vault)
    return contracts


@dataclass(frozen=True)
class MadePool:
    """A pool in the Vault; ``terms`` in the form of a state's terms."""

    pool_id: str
    tokens: tuple[ListedToken, ...]
    balances: tuple[int, ...]
    terms: Json


Make = Callable[[AnswerChain, BalancerContracts, random.Random], Awaitable[MadePool]]


async def make_weighted(chain: AnswerChain, contracts: BalancerContracts, chance: random.Random) -> MadePool:
    """A random weighted pool, of the first factory or of a later one, with random first balances."""
    tokens = _draw(chain, chance, 2, 5)
    weights = _random_weights(chance, len(tokens))
    fee = int(10 ** chance.uniform(12, 17))
    addresses = [token.address for token in tokens]
    first = chance.random() < 0.4
    if first:
        created = await chain.send(
            contracts.first_weighted,
            "create(string,string,address[],uint256[],uint256,address)",
            "P", "P", addresses, weights, fee, chain.trader,
        )  # fmt: skip
    else:
        created = await chain.send(
            contracts.weighted,
            "create(string,string,address[],uint256[],address[],uint256,address)",
            "P", "P", addresses, weights, [ZERO] * len(tokens), fee, chain.trader,
        )  # fmt: skip
    balances = random_balances(chance, tokens, 2)
    pool_id = _pool_id(created)
    await _join(chain, contracts.vault, pool_id, addresses, balances)
    terms: Json = {
        "fee": fee,
        "scaling": [token.scaling for token in tokens],
        "weights": weights,
        "revision": int(first),
    }
    return MadePool(pool_id, tokens, tuple(balances), terms)


async def make_stable(chain: AnswerChain, contracts: BalancerContracts, chance: random.Random) -> MadePool:
    """A random composable stable pool; half of its tokens have a rate."""
    tokens = _draw(chain, chance, 2, 5)
    fee = int(10 ** chance.uniform(12, 17))
    amplification = chance.choice((1, 5_000, int(10 ** chance.uniform(0, 3.69))))
    addresses = [token.address for token in tokens]
    rated = [chance.random() < 0.5 for _ in tokens]
    created = await chain.send(
        contracts.stable,
        "create(string,string,address[],uint256,address[],uint256[],bool[],uint256,address)",
        "P", "P", addresses, amplification,
        [address if has_rate else ZERO for address, has_rate in zip(addresses, rated, strict=True)],
        [86_400] * len(tokens), [False] * len(tokens), fee, chain.trader,
    )  # fmt: skip
    pool_id = _pool_id(created)
    balances = random_balances(chance, tokens, 1)
    registered = sorted([*addresses, pool_id[:42]], key=lambda address: int(address, 16))
    own = [pool_id[:42] == address for address in registered]
    amounts = iter(balances)
    await _join(chain, contracts.vault, pool_id, registered, [0 if is_own else next(amounts) for is_own in own])
    scaling = [
        token.scaling * (token.rate if has_rate else ONE) // ONE for token, has_rate in zip(tokens, rated, strict=True)
    ]
    terms: Json = {
        "fee": fee,
        "scaling": scaling,
        "amplification": amplification * AMP_PRECISION,
        "amplification_precision": AMP_PRECISION,
    }
    return MadePool(pool_id, tokens, tuple(balances), terms)


async def ask_vault(
    chain: AnswerChain, contracts: BalancerContracts, pool: MadePool, chance: random.Random, count: int
) -> Json:
    """Let the Vault carry a row of swaps through one pool, and write down what it said."""
    asks = random_asks(chance, pool.balances, count, _WEIGHTED if "weights" in pool.terms else _STABLE)
    calls = []
    for ask in asks:
        calls.append((contracts.vault, _swap_data(chain.trader, pool, ask)))
        calls.append((contracts.vault, calldata("getPoolTokens(bytes32)", bytes.fromhex(pool.pool_id[2:]))))
    answers = await chain.try_in_order(calls)
    swaps = []
    for ask, swapped, held in zip(asks, answers[::2], answers[1::2], strict=True):
        row: list[object] = [ask.paid, ask.bought, ask.exact, ask.amount]
        if swapped is not None and held is not None:
            tokens, balances, _ = decode(["address[]", "uint256[]", "uint256"], held)
            own = pool.pool_id[:42]
            kept = [balance for token, balance in zip(tokens, balances, strict=True) if token != own]
            row += [int.from_bytes(swapped, "big"), kept]
        swaps.append(row)
    return {
        "decimals": [token.decimals for token in pool.tokens],
        "balances": pool.balances,
        "terms": pool.terms,
        "swaps": swaps,
    }


def small_swaps(
    chain: AnswerChain, contracts: BalancerContracts, pool: MadePool, chance: random.Random
) -> list[tuple[str, str]]:
    """Calls of swaps that the pool can carry, ten in a row; the first two move each of the first two tokens."""
    places = range(len(pool.tokens))
    pairs = [(0, 1), (1, 0), *(tuple(chance.sample(places, 2)) for _ in range(8))]
    asks = [Ask(paid, bought, "in", max(1, pool.balances[paid] // chance.randrange(40, 400))) for paid, bought in pairs]
    return [(contracts.vault, _swap_data(chain.trader, pool, ask)) for ask in asks]


async def join_again(chain: AnswerChain, contracts: BalancerContracts, pool: MadePool) -> Json:
    """Receipt of a join with exact amounts, a hundredth of every balance."""
    own = pool.pool_id[:42]
    amounts = {token.address: balance // 100 for token, balance in zip(pool.tokens, pool.balances, strict=True)}
    registered = sorted({*amounts, *(() if "weights" in pool.terms else (own,))}, key=lambda address: int(address, 16))
    exact = [amount for _, amount in sorted(amounts.items(), key=lambda item: int(item[0], 16))]
    join = encode(["uint256", "uint256[]", "uint256"], [1, exact, 0])
    request = (registered, [MAX] * len(registered), join, False)
    return await chain.send(
        contracts.vault, _JOIN, bytes.fromhex(pool.pool_id[2:]), chain.trader, chain.trader, request
    )


def _swap_data(trader: str, pool: MadePool, ask: Ask) -> str:
    kind, limit = (0, 0) if ask.exact == "in" else (1, MAX)
    paid, bought = pool.tokens[ask.paid].address, pool.tokens[ask.bought].address
    single = (bytes.fromhex(pool.pool_id[2:]), kind, paid, bought, ask.amount, b"")
    return calldata(_SWAP, single, (trader, False, trader, False), limit, MAX)


async def _join(chain: AnswerChain, vault: str, pool_id: str, tokens: Sequence[str], amounts: Sequence[int]) -> None:
    first_join = encode(["uint256", "uint256[]"], [0, amounts])
    request = (tokens, [MAX] * len(tokens), first_join, False)
    await chain.send(vault, _JOIN, bytes.fromhex(pool_id[2:]), chain.trader, chain.trader, request)


def _draw(chain: AnswerChain, chance: random.Random, least: int, most: int) -> tuple[ListedToken, ...]:
    drawn = chance.sample(chain.tokens, chance.randint(least, most))
    return tuple(token for token in chain.tokens if token in drawn)


def _random_weights(chance: random.Random, count: int) -> list[int]:
    """Weights that add up to one; often the ones people choose."""
    if count == 2 and chance.random() < 0.5:
        share = chance.choice((50, 80, 20)) * ONE // 100
        return [share, ONE - share]
    parts = [chance.uniform(0.02, 1) ** 2 for _ in range(count)]
    weights = [ONE // 100 + int((ONE - count * ONE // 100) * part / sum(parts)) for part in parts]
    weights[-1] += ONE - sum(weights)
    return weights


def _pool_id(receipt: Json) -> str:
    [topics] = [log["topics"] for log in receipt["logs"] if log["topics"][0] == _POOL_REGISTERED]
    pool_id: str = topics[1]
    return pool_id
