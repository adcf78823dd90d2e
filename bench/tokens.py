"""What an executed check of a token costs on the devnet."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

from bench.floor import Spread, spread
from dexlane.chain.link import LinkPolicy
from dexlane.chain.rpc import RpcClient
from dexlane.chain.token_check.check import Question, try_token
from dexlane.chain.token_check.pools import Where, known_markets, known_quotes
from dexlane.domain.risk.token_verdict import TrialLimits, judge
from dexlane_devnet import DevnetConfig, free_port, start_devnet
from dexlane_devnet.zoo import BENIGN, HOSTILE, Family, release

FAMILIES = 20
ROUNDS = 5
PROMISED_MS = 150


@dataclass(frozen=True)
class TokensResult:
    """Milliseconds of whole checks, and how many of them took longer than promised."""

    benign: Spread
    hostile: Spread
    p95_ms: float
    judging_us: float


def run() -> TokensResult:
    """Check specimens of both kinds, each several times."""
    return asyncio.run(_measure())


async def _measure() -> TokensResult:
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        client = RpcClient(devnet.ws_url, name="bench", policy=LinkPolicy(jitter=random.random))
        await client.start()
        times: dict[bool, list[float]] = {True: [], False: []}
        judging: list[float] = []
        chosen: list[Family] = [*[f for f in HOSTILE if f.liquid][:FAMILIES], *BENIGN[:FAMILIES]]
        for family in chosen:
            specimen = await release(devnet, family, 1)
            question = Question(specimen.token, Where(known_markets(1)[:1], known_quotes(1), chain_id=1))
            for _ in range(ROUNDS):
                began = time.perf_counter_ns()
                trial = await try_token(client, question)
                tried = time.perf_counter_ns()
                judge(trial, TrialLimits())
                judging.append((time.perf_counter_ns() - tried) / 1e3)
                times[family.hostile].append((tried - began) / 1e6)
        await client.stop()
    together = sorted([*times[True], *times[False]])
    return TokensResult(
        benign=spread(times[False]),
        hostile=spread(times[True]),
        p95_ms=together[round((len(together) - 1) * 0.95)],
        judging_us=sorted(judging)[len(judging) // 2],
    )


def show(result: TokensResult) -> None:
    """One line for each kind."""
    print(f"executed check of a token (promised p95 {PROMISED_MS} ms): p95 {result.p95_ms:.0f} ms")
    print(f"  benign  {result.benign}")
    print(f"  hostile {result.hostile}")
    print(f"  judging a trial: p50 {result.judging_us:.0f} us")
