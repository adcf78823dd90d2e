"""Records answers: a generator of pools with what their contracts said."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dexlane_devnet.answers import balancer, families, stableswap
from dexlane_devnet.answers.chain import AnswerChain, AskRow, Json, Reverted, answer_chain
from dexlane_devnet.packages import Report

PROTOCOLS = ("balancer_weighted", "balancer_stable", "stableswap", *families.PROTOCOLS)
SWAPS_PER_POOL = 10


@dataclass(frozen=True)
class Extent:
    """How many answers at least, and how many rows of swaps each pool is asked, always from its first state.

    To make a pool takes longer than to ask it: more rows are quicker, fewer see more kinds of pools.
    """

    answers: int
    rows_per_pool: int = 1


async def record_answers(protocol: str, extent: Extent, seed: int, cache: Path, report: Report) -> AsyncIterator[Json]:
    """Pools, each with a row of answers; the same seed and extent give the same pools and swaps.

    A balance-based pool is ``{"decimals", "balances", "terms", "swaps"}``, lists in the order of sorted tokens. Its
    swaps follow one another: ``[paid, bought, "in" or "out", amount]``, then, unless the contract reverted, the other
    amount and the balances after it. ``solidly`` and ``ticked`` say what theirs are.
    """
    chance = random.Random(seed)  # noqa: S311 - test data
    async with answer_chain(cache, chance, report) as chain:
        if protocol == "stableswap":
            make_pool: families.MakePool = partial(_stableswap_pool, chain, chance)
        elif protocol in families.PROTOCOLS:
            make_pool = await families.pool_maker(protocol, chain, chance, cache, report)
        else:
            contracts = await balancer.deploy_balancer(chain, cache, report)
            make = balancer.make_weighted if protocol == "balancer_weighted" else balancer.make_stable
            make_pool = partial(_balancer_pool, chain, contracts, make, chance)
        answers = 0
        while answers < extent.answers:
            ask = await make_pool()
            for _ in range(extent.rows_per_pool):
                row = await ask()
                answers += len(row["swaps"])
                yield row


async def _stableswap_pool(chain: AnswerChain, chance: random.Random) -> AskRow:
    pool = await stableswap.make_pool(chain, chance)
    return partial(stableswap.ask_pool, chain, pool, chance, SWAPS_PER_POOL)


async def _balancer_pool(
    chain: AnswerChain, contracts: balancer.BalancerContracts, make: balancer.Make, chance: random.Random
) -> AskRow:
    while True:
        # Some draws are no pool: a first join whose invariant does not converge, say. The contract refuses them.
        with suppress(Reverted):
            pool = await make(chain, contracts, chance)
            break
    return partial(balancer.ask_vault, chain, contracts, pool, chance, SWAPS_PER_POOL)
