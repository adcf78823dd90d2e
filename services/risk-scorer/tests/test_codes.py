"""What the code of tokens allows is judged once for each code, beside everything else."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import BrokenExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from dexlane.domain.risk.bytecode.verdict import CodeVerdict, judge_code
from dexlane.domain.risk.evidence import CodeFacts, Seen, TokenFacts
from dexlane.runtime.clock import SystemClock
from dexlane.testing.builders import a_block_ref, an_entry_opportunity
from dexlane.testing.servers import redis_server
from risk_scorer.tokens import CodeCache, CodeDesk, OtherProcess
from risk_scorer.tokens.row_cache import Keeping

GOLDEN = Path(__file__).parents[3] / "libs/common/tests/golden/token_codes/codes.json.gz"
CODES = {
    name: bytes.fromhex(code) for name, code in json.loads(gzip.decompress(GOLDEN.read_bytes()))["optimized"].items()
}
TOKEN, HASH, OTHER = "0x" + "1" * 40, "0x" + "2" * 64, "0x" + "3" * 64


class Judge:
    """Counts; can be broken."""

    def __init__(self) -> None:
        self.asked = 0
        self.broken = False

    async def __call__(self, code: bytes) -> CodeVerdict:
        """The verdict, at once."""
        self.asked += 1
        if self.broken:
            raise BrokenExecutor("the process died")
        return judge_code(code)


@asynccontextmanager
async def running(desk: CodeDesk) -> AsyncIterator[None]:
    """The background task runs."""
    task = asyncio.create_task(desk.keep_judging())
    try:
        yield
    finally:
        task.cancel()


async def until(holds: Callable[[], bool]) -> None:
    """Give the background task time."""
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within five seconds")


async def settled(desk: CodeDesk, known: int) -> dict[str, CodeFacts]:
    """What is known once that many codes are."""
    facts = {f"token {h}": Seen(TokenFacts(address=TOKEN, code_hash=h), 1, 1) for h in (HASH, OTHER)}
    await until(lambda: len(desk.of(facts)) == known)
    return desk.of(facts)


async def test_a_code_is_judged_once_however_often_it_is_asked_for(bench: Any) -> None:
    judge = Judge()
    desk = CodeDesk(judge, bench.moments)
    async with running(desk):
        desk.ask(HASH, CODES["OwnerMint"])
        desk.ask(HASH, CODES["OwnerMint"])
        found = await settled(desk, 1)
        desk.ask(HASH, CODES["OwnerMint"])
        await asyncio.sleep(0.02)
    assert judge.asked == 1
    facts = found[f"token {HASH}"]
    assert (facts.score, facts.flags, facts.complete) == (40, ("hidden_mint",), True)
    assert facts.reasons[0].startswith("hidden mint: by mint(address,uint256)")


async def test_a_code_that_could_not_be_judged_is_judged_when_it_is_asked_for_again(bench: Any) -> None:
    judge = Judge()
    judge.broken = True
    desk = CodeDesk(judge, bench.moments)
    async with running(desk):
        desk.ask(HASH, CODES["Plain"])
        desk.ask(OTHER, CODES["Fee"])
        await until(lambda: judge.asked == 2)
        assert await settled(desk, 0) == {}
        judge.broken = False
        desk.ask(HASH, CODES["Plain"])
        assert list(await settled(desk, 1)) == [f"token {HASH}"]


@pytest.mark.integration
async def test_the_other_process_judges_and_starts_anew_after_its_end() -> None:
    other = OtherProcess()
    assert await other.judge(CODES["Blacklist"]) == judge_code(CODES["Blacklist"])
    await other.stop()
    assert (await other.judge(CODES["Plain"])).score == 0
    await other.stop()
    await other.stop()


async def test_verdicts_tell_what_the_code_of_their_tokens_allows(bench: Any) -> None:
    for token in bench.node.tokens.values():
        token.code = "0x" + CODES["Blacklist"].hex()
    before = await bench.scorer.judge(_entry())
    assert await bench.gather()
    async with running(bench.desk.codes):
        await until(lambda: bool(bench.desk.codes.of(bench.desk.facts(bench.node.tokens))))
    after = await bench.scorer.judge(_entry())
    reasons = {verdict.id: _contract_reasons(verdict) for verdict in (before, after)}
    assert "its code was not judged" in _contract_reasons(before)
    assert "its code allows blacklist, sell limit" in reasons[after.id]


def _entry() -> Any:
    return an_entry_opportunity(block=a_block_ref(100), deadline_block=102)


def _contract_reasons(verdict: Any) -> str:
    return "; ".join(next(factor.reasons for factor in verdict.factors if factor.category == "contract"))


SERVICE = """
import asyncio
from risk_scorer.tokens.row_cache import Keeping
from risk_scorer.tokens import OtherProcess

async def main():
    await OtherProcess().judge(b"")
    print("judged", flush=True)
    await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_the_other_process_ends_with_a_killed_service_and_holds_its_pipes_no_longer(tmp_path: Path) -> None:
    script = tmp_path / "service.py"
    script.write_text(SERVICE)
    service = await asyncio.create_subprocess_exec(sys.executable, str(script), stdout=asyncio.subprocess.PIPE)
    assert service.stdout is not None
    assert await service.stdout.readline() == b"judged\n"
    service.kill()
    async with asyncio.timeout(10):
        assert await service.stdout.read() == b""
    await service.wait()


@pytest.mark.integration
async def test_a_code_that_was_judged_before_a_restart_is_not_judged_again(make_desk: Any) -> None:
    with redis_server() as url:
        lost: list[str] = []
        for asked in (1, 0):
            redis = Redis.from_url(url)
            cache = CodeCache(Keeping(redis, SystemClock(), lost.append), "dexlane:test")
            judge = Judge()
            desk = make_desk(judge, cache)
            async with running(desk):
                desk.ask(HASH, CODES["OwnerMint"])
                await until(lambda desk=desk: bool(known(desk)))  # type: ignore[misc]
                await until(lambda desk=desk: not desk._waiting)  # type: ignore[misc]
            assert known(desk)[TOKEN].flags == ("hidden_mint",)
            assert judge.asked == asked
            (key,) = await redis.keys("dexlane:test:codes:*")
            assert await redis.ttl(key) > 86_400
            await redis.hset(key, OTHER, b'{"kept_ms": 9000000000000, "row": {"score": 900}}')
            assert OTHER not in await cache.recall()
            await redis.aclose()
    assert lost == []


async def test_a_lost_cache_of_codes_costs_nothing_but_time(make_desk: Any) -> None:
    lost: list[str] = []
    redis = Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.2)
    desk = make_desk(Judge(), CodeCache(Keeping(redis, SystemClock(), lost.append), "p"))
    async with running(desk):
        desk.ask(HASH, CODES["Plain"])
        await until(lambda: bool(known(desk)) and len(lost) == 2)
    await redis.aclose()


def known(desk: CodeDesk) -> dict[str, CodeFacts]:
    return desk.of({TOKEN: Seen(TokenFacts(address=TOKEN, code_hash=HASH, decimals=18), 1, 1)})


@pytest.fixture
def make_desk(bench: Any) -> Callable[..., CodeDesk]:
    """A desk with the bench's moments."""
    return lambda judge, cache: CodeDesk(judge, bench.moments, cache)
