"""Recording of PancakeSwap V3, Uniswap V4 and Solidly: which module makes and asks the pools of which protocol."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from dexlane_devnet.answers import solidly, ticked
from dexlane_devnet.answers.chain import AnswerChain, AskRow
from dexlane_devnet.packages import Report

PROTOCOLS = (
    "pancakeswap_v3",
    "uniswap_v4",
    "solidly_volatile",
    "solidly_stable",
)
SWAPS_PER_POOL = 40

MakePool = Callable[[], Awaitable[AskRow]]
"""Makes a new random pool."""


async def pool_maker(protocol: str, chain: AnswerChain, chance: random.Random, cache: Path, report: Report) -> MakePool:
    """Deploy what the protocol needs."""
    if protocol.startswith("solidly"):
        swapper = await solidly.deploy_swapper(chain)
        stable = protocol == "solidly_stable"
        return partial(solidly.make_to_ask, chain, swapper, stable, chance, SWAPS_PER_POOL)
    exchange = await ticked.deploy_exchange(chain, protocol, cache, report)
    return partial(ticked.make_to_ask, chain, exchange, chance, SWAPS_PER_POOL)
