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
from dexlane_devnet.zoo import SURROUNDINGS, Exchange, Family, Lived, Specimen, Surroundings, arrange, live, release

USDC = ADDRESSES.usdc.lower()
V2 = Where(known_markets(1)[:1], (USDC,), chain_id=1)
V3 = Where(tuple(market for market in known_markets(1) if market.family == "uniswap_v3"), (USDC,), chain_id=1)


@dataclass(frozen=True)
class Result:
    """A specimen, what the check made of it, and what became of a buyer where somebody lived a life with it."""

    specimen: Specimen
    trial: TokenTrial
    verdict: TokenVerdict
    ms: float
    lived: Lived | None = None

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
    def catches(self) -> bool:
        """Whether a buyer loses: by a life with it, else by what its family means to do."""
        if self.lived is None or self.lived.back_bps is None:
            return self.family.hostile
        return self.lived.springs

    @property
    def right(self) -> bool:
        """What catches a buyer is unsafe, what does not is safe; unknown is neither. A hostile one that catches nobody
        here may be called unsafe too: it means to."""
        if self.family.hostile and not self.catches:
            return self.verdict.verdict != "unknown"
        return self.verdict.verdict == ("unsafe" if self.catches else "safe")


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


@dataclass(frozen=True)
class Stage:
    """Where specimens are traded, the exchange whose pool they know (None: as usual), and whether a life is lived."""

    exchange: Exchange = "uniswap_v2"
    knows: Exchange | None = None
    lives: bool = False


async def examine(devnet: Devnet, client: RpcClient, family: Family, seed: int, stage: Stage = Stage()) -> Result:
    """Release a specimen, check it, and live with it where that is wanted."""
    specimen = await release(devnet, family, seed, stage.exchange, stage.knows)
    began = time.perf_counter()
    trial = await try_token(client, Question(specimen.token, V2 if stage.exchange == "uniswap_v2" else V3))
    verdict = judge(trial, TrialLimits())
    ms = (time.perf_counter() - began) * 1_000
    return Result(specimen, trial, verdict, ms, await live(devnet, specimen, stage.exchange) if stage.lives else None)


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
        chosen = [each for each in results if each.held_out is held_out]
        for hostile in (True, False):
            kind = [each for each in chosen if each.family.hostile is hostile]
            for catches in (True, False):
                group = [each for each in kind if each.catches is catches]
                if group:
                    yield f"{title}, {'hostile' if hostile else 'benign'}{_counted(group, catches, hostile)}"
    for each in results:
        if each.lived is not None:
            yield f"  lived: {_life(each)}"
    for each in results:
        if not each.right:
            numbers = ", ".join(str(number) for number in each.specimen.numbers)
            reasons = "; ".join(finding.reason for finding in each.verdict.findings[:3])
            yield f"  {each.family.name} ({numbers}) seed {each.specimen.seed}: {each.verdict.verdict}; {reasons}"
    times = sorted(each.ms for each in results)
    at = len(times) - 1
    middle, late, worst = times[at // 2], times[round(at * 0.95)], times[-1]
    yield f"time of a check: p50 {middle:.0f} ms, p95 {late:.0f} ms, worst {worst:.0f} ms"


def _counted(group: Sequence[Result], catches: bool, hostile: bool) -> str:
    """Of those that catch a buyer, or do not: how many families and specimens got which verdict."""
    means = "unsafe" if catches else "safe"
    families = {each.family.name for each in group}
    right = len(families - {each.family.name for each in group if each.verdict.verdict != means})
    low, high = Share(right, len(families)).interval_bps or (0, BPS_DENOMINATOR)
    told = ", ".join(
        f"{sum(each.verdict.verdict == one for each in group)} {one}" for one in ("unsafe", "safe", "unknown")
    )
    usual = "" if catches is hostile else (", where a buyer loses" if catches else ", where no buyer loses")
    share = f"{right} of {len(families)} families {means} ({low / 100:.1f} to {high / 100:.1f} %)"
    return f"{usual}: {share}; {len(group)} specimens: {told}"


def _life(result: Result) -> str:
    lived = result.lived
    if lived is None or lived.back_bps is None:
        came = "nobody can buy"
    else:
        failed = f" ({', '.join(lived.failed)} failed)" if lived.failed else ""
        came = f"{'springs' if lived.springs else 'does not spring'}, {lived.back_bps / 100:.1f} % came back{failed}"
    return f"{result.family.name} seed {result.specimen.seed}: {came}; {result.verdict.verdict}"
