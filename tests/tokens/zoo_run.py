"""Running the token check on specimens of the zoo, and counting how often it is right."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dexlane.chain.link import LinkPolicy
from dexlane.chain.rpc import RpcClient
from dexlane.chain.token_check.check import Question, try_token
from dexlane.chain.token_check.pools import Where, known_markets
from dexlane.domain.risk.calibration import Share
from dexlane.domain.risk.token_trial import TokenTrial
from dexlane.domain.risk.token_verdict import STRICT, TokenVerdict, TrialLimits, judge
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane_devnet import ADDRESSES, Devnet, DevnetConfig, free_port, start_devnet
from dexlane_devnet.zoo import SURROUNDINGS, Exchange, Family, Specimen, Surroundings, arrange, release

USDC = ADDRESSES.usdc.lower()
V2 = Where(known_markets(1)[:1], (USDC,), chain_id=1)
V3 = Where(tuple(market for market in known_markets(1) if market.family == "uniswap_v3"), (USDC,), chain_id=1)


@dataclass(frozen=True)
class Result:
    """A specimen, and what the check made of it."""

    specimen: Specimen
    trial: TokenTrial
    verdict: TokenVerdict
    ms: float

    @property
    def family(self) -> Family:
        """Its family."""
        return self.specimen.family

    @property
    def held_out(self) -> bool:
        """Whether nobody looked at its misses while the check was tuned."""
        arranged = (each.held_out for each in SURROUNDINGS if each.family == self.family)
        return next(arranged, self.family.held_out)

    @property
    def right(self) -> bool:
        """A hostile one is unsafe, a benign one is safe; unknown is neither."""
        return self.verdict.verdict == ("unsafe" if self.family.hostile else "safe")


@asynccontextmanager
async def zoo_chain() -> AsyncIterator[tuple[Devnet, RpcClient]]:
    """A devnet that mines on request, and a client of it."""
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        client = RpcClient(devnet.ws_url, name="zoo", policy=LinkPolicy(jitter=random.random))
        await client.start()
        try:
            yield devnet, client
        finally:
            await client.stop()


async def examine(
    devnet: Devnet, client: RpcClient, family: Family, seed: int, exchange: Exchange = "uniswap_v2"
) -> Result:
    """Release a specimen and check it."""
    specimen = await release(devnet, family, seed, exchange)
    began = time.perf_counter()
    trial = await try_token(client, Question(specimen.token, V2 if exchange == "uniswap_v2" else V3))
    verdict = judge(trial, TrialLimits())
    return Result(specimen, trial, verdict, (time.perf_counter() - began) * 1_000)


async def examine_surroundings(devnet: Devnet, client: RpcClient, surroundings: Surroundings, seed: int) -> Result:
    """Arrange a specimen and check it, its surroundings counting."""
    specimen = await arrange(devnet, surroundings, seed)
    began = time.perf_counter()
    trial = await try_token(client, Question(specimen.token, V2))
    verdict = judge(trial, STRICT)
    return Result(specimen, trial, verdict, (time.perf_counter() - began) * 1_000)


def report(results: Sequence[Result]) -> Iterable[str]:
    """Recall and false alarms by families (a family counts when all its specimens do) and by specimens."""
    for title, held_out in (("tuned", False), ("held out", True)):
        for hostile, name in ((True, "found unsafe"), (False, "called safe")):
            chosen = [each for each in results if each.held_out is held_out and each.family.hostile is hostile]
            wrong = {each.family.name for each in chosen if not each.right}
            families = {each.family.name for each in chosen}
            right, count = len(families) - len(wrong), len(families)
            low, high = Share(right, count).interval_bps or (0, BPS_DENOMINATOR)
            kind = "hostile" if hostile else "benign"
            specimens = sum(each.right for each in chosen)
            yield (
                f"{title}, {kind}: {right} of {count} families {name} ({low / 100:.1f} to {high / 100:.1f} %), "
                f"{specimens} of {len(chosen)} specimens"
            )
    for each in results:
        if not each.right:
            numbers = ", ".join(str(number) for number in each.specimen.numbers)
            reasons = "; ".join(finding.reason for finding in each.verdict.findings[:3])
            yield f"  {each.family.name} ({numbers}) seed {each.specimen.seed}: {each.verdict.verdict}; {reasons}"
    times = sorted(each.ms for each in results)
    at = len(times) - 1
    middle, late, worst = times[at // 2], times[round(at * 0.95)], times[-1]
    yield f"time of a check: p50 {middle:.0f} ms, p95 {late:.0f} ms, worst {worst:.0f} ms"
