"""Records answers: a generator of pools with what their contracts said."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from dexlane_devnet.answers import balancer, families, stableswap
from dexlane_devnet.answers.chain import AnswerChain, Json, Reverted, answer_chain
from dexlane_devnet.packages import Report

PROTOCOLS = ("balancer_weighted", "balancer_stable", "stableswap", *families.PROTOCOLS)
SWAPS_PER_POOL = 10


async def record_answers(protocol: str, count: int, seed: int, cache: Path, report: Report) -> AsyncIterator[Json]:
    """Pools with at least ``count`` answers between them; the same seed gives the same pools and swaps.

    A balance-based pool is ``{"decimals", "balances", "terms", "swaps"}``, lists in the order of sorted tokens. Its
    swaps follow one another: ``[paid, bought, "in" or "out", amount]``, then, unless the contract reverted, the other
    amount and the balances after it. ``solidly`` and ``ticked`` say what theirs are.
    """
    chance = random.Random(seed)  # noqa: S311 - test data
    async with answer_chain(cache, chance, report) as chain:
        if protocol == "stableswap":
            make_row: families.MakeRow = partial(_stableswap_row, chain, chance)
        elif protocol in families.PROTOCOLS:
            make_row = await families.row_maker(protocol, chain, chance, cache, report)
        else:
            contracts = await balancer.deploy_balancer(chain, cache, report)
            make = balancer.make_weighted if protocol == "balancer_weighted" else balancer.make_stable
            make_row = partial(_balancer_row, chain, contracts, make, chance)
        answers = 0
        while answers < count:
            row = await make_row()
            answers += len(row["swaps"])
            yield row


async def _stableswap_row(chain: AnswerChain, chance: random.Random) -> Json:
    return await stableswap.ask_pool(chain, await stableswap.make_pool(chain, chance), chance, SWAPS_PER_POOL)


async def _balancer_row(
    chain: AnswerChain, contracts: balancer.BalancerContracts, make: balancer.Make, chance: random.Random
) -> Json:
    while True:
        # Some draws are no pool: a first join whose invariant does not converge, say. The contract refuses them.
        with suppress(Reverted):
            pool = await make(chain, contracts, chance)
            break
    return await balancer.ask_vault(chain, contracts, pool, chance, SWAPS_PER_POOL)
