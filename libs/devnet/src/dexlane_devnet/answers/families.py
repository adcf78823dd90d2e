"""Recording of PancakeSwap V3, Uniswap V4 and Solidly: which module makes and asks the pools of which protocol."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from dexlane_devnet.answers import solidly, ticked
from dexlane_devnet.answers.chain import AnswerChain, Json
from dexlane_devnet.packages import Report

PROTOCOLS = (
    "pancakeswap_v3",
    "uniswap_v4",
    "solidly_volatile",
    "solidly_stable",
)
SWAPS_PER_POOL = 40

MakeRow = Callable[[], Awaitable[Json]]
"""A new random pool with its row of swaps."""


async def row_maker(protocol: str, chain: AnswerChain, chance: random.Random, cache: Path, report: Report) -> MakeRow:
    """Deploy what the protocol needs."""
    if protocol.startswith("solidly"):
        swapper = await solidly.deploy_swapper(chain)
        stable = protocol == "solidly_stable"
        return partial(solidly.make_and_ask, chain, swapper, stable, chance, SWAPS_PER_POOL)
    exchange = await ticked.deploy_exchange(chain, protocol, cache, report)
    return partial(ticked.make_and_ask, chain, exchange, chance, SWAPS_PER_POOL)
