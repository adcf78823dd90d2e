"""Executed checks of tokens of unknown issuers: asked for, kept, repeated while held, and told when they turn."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from dexlane.chain.link import RpcError
from dexlane.domain.risk.evidence import Flag, Seen, TrialFacts
from dexlane.domain.risk.token_background import Background, Birth
from dexlane.domain.risk.token_trial import TokenTrial
from dexlane.events.portfolio import PositionChanged
from dexlane.events.risk import TokenFlagged, VerdictApproved, VerdictRejected
from dexlane.runtime.clock import ManualClock
from dexlane.testing.builders import (
    CHAIN_ID,
    NOW_MS,
    USDC,
    V2_POOL,
    WETH,
    a_block_ref,
    a_pool_v2,
    an_address,
    an_entry_opportunity,
)
from dexlane.testing.servers import redis_server
from dexlane.values.books import Lane, Mode
from dexlane.values.tokens import Token
from risk_scorer.handlers import routes
from risk_scorer.tokens import trials as trials_module
from risk_scorer.tokens.row_cache import Keeping
from risk_scorer.tokens.seen_cache import TrialCache

STRANGER = Token(address="0xf" + an_address("stranger")[3:], symbol="STR", decimals=18)
OTHER = an_address("another stranger")
PAIR, OTHER_PAIR = (STRANGER.address, V2_POOL), (OTHER, V2_POOL)


def told(token: str = STRANGER.address, verdict: str = "safe", **fields: Any) -> TrialFacts:
    return TrialFacts(address=token, verdict=verdict, **fields)  # type: ignore[arg-type]


def position(token: Token, quantity: int, version: int) -> PositionChanged:
    return PositionChanged(
        id=PositionChanged.make_id("book", an_address("account"), token.address, version),
        chain_id=CHAIN_ID,
        occurred_at_ms=NOW_MS,
        book_id="book",
        mode=Mode.PAPER,
        lane=Lane.SMART,
        account=an_address("account"),
        token=token,
        quote=USDC,
        position_version=version,
        quantity=quantity,
        cost=0,
        realised=0,
        strategy="momentum",
    )


trials: list[TokenTrial] = []
"""What every executed check comes to."""
asked: list[Any] = []
"""The questions of the executed checks."""


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[TrialFacts]:
    """What the next executed checks say, one after the other; the last one again and again."""
    answers: list[TrialFacts] = [told()]
    trials[:], asked[:] = [TokenTrial(token="", block=100)], []

    async def try_token(node: object, question: Any, budget_s: float) -> TokenTrial:
        del node, budget_s
        asked.append(question)
        return replace(trials[-1], token=question.token)

    def facts(token: str, verdict: object) -> TrialFacts:
        del verdict
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer.model_copy(update={"address": token})

    monkeypatch.setattr(trials_module, "try_token", try_token)
    monkeypatch.setattr(trials_module, "trial_facts", facts)
    return answers


async def test_a_token_of_a_known_issuer_needs_no_executed_check(bench: Any) -> None:
    assert isinstance(await bench.scorer.judge(an_entry_opportunity(block=a_block_ref(100))), VerdictApproved)
    assert bench.trials.next_due([(USDC.address, V2_POOL), (WETH.address, V2_POOL)], 100) is None


async def test_an_account_without_code_is_unsafe(bench: Any) -> None:
    assert await bench.trials.try_out(PAIR, a_block_ref(100))
    assert bench.trials.trials([PAIR])[STRANGER.address].value.verdict == "unsafe"


async def test_a_node_that_refuses_says_nothing_about_a_token(bench: Any) -> None:
    bench.node.refusal = RpcError(-32005, "too many requests")
    assert await bench.trials.try_out(PAIR, a_block_ref(100))
    facts = bench.trials.trials([PAIR])[STRANGER.address].value
    assert facts.verdict == "unknown"
    assert facts.reasons == ("the node does not answer: too many requests (-32005)",)


async def test_a_silent_node_makes_no_evidence(bench: Any) -> None:
    bench.node.down = True
    assert not await bench.trials.try_out(PAIR, a_block_ref(100))
    assert bench.trials.trials([PAIR]) == {}


async def test_an_opportunity_with_an_unknown_token_waits_for_its_check_and_is_vetoed_without_it(
    bench: Any, tried: list[TrialFacts]
) -> None:
    bench.mirror.book.put(a_pool_v2(token1=STRANGER), a_block_ref(100))
    opportunity = an_entry_opportunity(block=a_block_ref(100))
    legs = tuple(
        leg.model_copy(
            update={name: STRANGER.address for name in ("token_in", "token_out") if getattr(leg, name) == WETH.address}
        )
        for leg in opportunity.route.legs
    )
    opportunity = opportunity.model_copy(update={"route": opportunity.route.model_copy(update={"legs": legs})})
    bench.node.tokens[STRANGER.address] = bench.node.tokens[WETH.address]
    tried[:] = [told(verdict="unsafe", pool=V2_POOL, reasons=("no sale succeeds",))]
    verdict = await bench.scorer.judge(opportunity)
    assert isinstance(verdict, VerdictRejected)
    reason = f"token {STRANGER.address} is unsafe by an executed check in pool {V2_POOL}: no sale succeeds"
    assert reason in verdict.vetoes
    assert [event.flag for event in bench.told if isinstance(event, TokenFlagged)] == [Flag.FAILED_TRIAL]
    assert V2_POOL in {leg.pool for leg in opportunity.route.legs}


async def test_held_tokens_come_first_then_new_ones_then_the_oldest(bench: Any, tried: list[TrialFacts]) -> None:
    pairs = [PAIR, OTHER_PAIR]
    assert bench.trials.next_due(pairs, 100) in pairs
    await bench.trials.try_out(PAIR, a_block_ref(100))
    assert bench.trials.next_due(pairs, 100) == OTHER_PAIR
    await bench.trials.try_out(OTHER_PAIR, a_block_ref(100))
    assert bench.trials.next_due(pairs, 149) is None
    assert bench.trials.next_due(pairs, 150) is not None
    bench.trials.note_position(position(STRANGER, 5, 2))
    assert bench.trials.next_due(pairs, 104) is None
    assert bench.trials.next_due(pairs, 105) == PAIR
    assert bench.trials.next_due(pairs, 99) == PAIR
    assert tried


async def waits(bench: Any, times: int) -> list[int]:
    """After how many blocks a token is tried again, that many times."""
    found = []
    for _ in range(times):
        await bench.trials.try_out(PAIR, a_block_ref(100))
        found.append(next(after for after in range(1, 100) if bench.trials.next_due([PAIR], 100 + after)))
    return found


async def test_a_token_that_a_silent_node_left_unknown_is_tried_again_soon(bench: Any, tried: list[TrialFacts]) -> None:
    tried[:] = [told(verdict="unknown", reasons=("the check did not end within 1.5 s",))]
    trials[:] = [TokenTrial(token="", block=100, interrupted=True)]
    assert await waits(bench, 3) == [5, 5, 5]


async def test_a_token_that_stays_unknown_is_tried_less_and_less_often(bench: Any, tried: list[TrialFacts]) -> None:
    tried[:] = [told(verdict="unknown", reasons=("no pool of it holds anything",))]
    assert await waits(bench, 6) == [5, 10, 20, 40, 50, 50]
    bench.trials.note_position(position(STRANGER, 5, 2))
    assert await waits(bench, 1) == [5]
    tried[:] = [told(), told(verdict="unknown", reasons=("it has another reason",))]
    bench.trials.note_position(position(STRANGER, 0, 3))
    assert await waits(bench, 3) == [50, 5, 10]


async def test_surroundings_that_were_not_told_in_time_are_asked_for_again(bench: Any, tried: list[TrialFacts]) -> None:
    trials[:] = [TokenTrial(token="", block=100, interrupted=True)]
    assert await waits(bench, 2) == [5, 10]
    trials[:] = [TokenTrial(token="", block=100)]
    assert await waits(bench, 1) == [50]
    assert tried


@pytest.mark.parametrize(
    ("birth", "again"),
    [(Birth(7, 70, exact=True), True), (Birth(7, 70, exact=False), False), (Birth(7, None, exact=True), False)],
    ids=["exact", "at least", "untimed"],
)
async def test_when_a_token_began_is_looked_for_once_for_all_its_pools(
    bench: Any, tried: list[TrialFacts], birth: Birth, again: bool
) -> None:
    trials[:] = [TokenTrial(token="", block=100, background=Background(birth=birth))]
    await bench.trials.try_out(PAIR, a_block_ref(100))
    await bench.trials.try_out((STRANGER.address, an_address("another pool")), a_block_ref(100))
    await bench.trials.try_out(OTHER_PAIR, a_block_ref(100))
    assert [question.birth for question in asked] == [None, birth if again else None, None]
    assert tried


class Paced:
    """Executed checks that end when the test says so, each at a block of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, asyncio.Future[int]]] = []

        async def try_token(node: object, question: Any, budget_s: float) -> TokenTrial:
            del node, budget_s
            end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self.asked.append((question.token, end))
            return TokenTrial(token=question.token, block=await end)

        monkeypatch.setattr(trials_module, "try_token", try_token)


async def test_a_slow_check_does_not_replace_one_of_a_newer_block(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    paced, pair = Paced(monkeypatch), PAIR
    slow = asyncio.create_task(bench.trials.try_out(pair, a_block_ref(100)))
    await asyncio.sleep(0)
    bench.clock.advance(1_000)
    quick = asyncio.create_task(bench.trials.try_out(pair, a_block_ref(103)))
    await asyncio.sleep(0)
    paced.asked[1][1].set_result(103)
    assert await quick
    paced.asked[0][1].set_result(100)
    assert await slow
    assert bench.trials.trials([pair])[STRANGER.address].block == 103
    bench.clock.advance(1_000)
    after_a_reorg = asyncio.create_task(bench.trials.try_out(pair, a_block_ref(102)))
    await asyncio.sleep(0)
    paced.asked[2][1].set_result(102)
    assert await after_a_reorg
    assert bench.trials.trials([pair])[STRANGER.address].block == 102


async def test_all_tokens_of_an_opportunity_are_tried_at_once(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    paced = Paced(monkeypatch)
    trying = asyncio.create_task(bench.scorer._try_out((PAIR, OTHER_PAIR)))
    for _ in range(5):
        await asyncio.sleep(0)
    assert [token for token, _ in paced.asked] == [STRANGER.address, OTHER]
    for _, end in paced.asked:
        end.set_result(100)
    assert await trying


async def test_the_highest_version_of_a_position_says_whether_it_is_open(bench: Any) -> None:
    handlers = {route.event_type: route.handler for route in routes({CHAIN_ID: bench.scorer}, bench.publish).followers}
    await handlers[PositionChanged](position(STRANGER, 0, 3), None)
    await handlers[PositionChanged](position(STRANGER, 5, 2), None)
    assert bench.trials.held() == frozenset()
    await handlers[PositionChanged](position(STRANGER, 5, 4), None)
    assert bench.trials.held() == {STRANGER.address}


async def test_a_token_that_turns_while_held_is_flagged_once(bench: Any, tried: list[TrialFacts]) -> None:
    tried[:] = [
        told(sell_tax_bps=100),
        told(sell_tax_bps=700),
        told(verdict="unsafe", sell_tax_bps=700, reasons=("holders cannot sell any more",)),
    ]
    for _ in range(4):
        await bench.trials.try_out(PAIR, a_block_ref(100))
    flags = [event for event in bench.told if isinstance(event, TokenFlagged)]
    assert [event.flag for event in flags] == [Flag.TAX_RAISED, Flag.FAILED_TRIAL]
    assert flags[0].reason == "a sale now loses 700 bps to the token, it was 100"
    assert flags[1].reason == "holders cannot sell any more"


async def test_a_token_that_turns_in_two_pools_in_one_block_is_told_of_both(
    bench: Any, tried: list[TrialFacts]
) -> None:
    tried[:] = [told(verdict="unsafe", reasons=("no sale succeeds",))]
    for pair in (PAIR, (STRANGER.address, an_address("another pool"))):
        await bench.trials.try_out(pair, a_block_ref(100))
    flags = [event for event in bench.told if isinstance(event, TokenFlagged)]
    assert len({event.id for event in flags}) == len({event.pool for event in flags}) == 2


async def test_checks_survive_a_restart_in_the_cache(bench: Any, tried: list[TrialFacts]) -> None:
    await bench.trials.try_out(PAIR, a_block_ref(100))
    bench.start()
    assert bench.trials.trials([PAIR]) == {}
    await bench.trials.recall()
    assert bench.trials.trials([PAIR])[STRANGER.address].value == tried[0].model_copy(update={"pool": V2_POOL})


async def test_a_token_is_judged_by_the_pools_of_its_route_and_by_all_of_them(
    bench: Any, tried: list[TrialFacts]
) -> None:
    other = (STRANGER.address, an_address("another pool"))
    tried[:] = [told(buy_tax_bps=10), told(verdict="unsafe", buy_tax_bps=0, reasons=("no sale succeeds",))]
    await bench.trials.try_out(PAIR, a_block_ref(100))
    assert bench.trials.trials([PAIR, other]) == {}
    await bench.trials.try_out(other, a_block_ref(100))
    (alone,) = bench.trials.trials([PAIR]).values()
    (both,) = bench.trials.trials([PAIR, other]).values()
    assert (alone.value.verdict, alone.value.pool) == ("safe", V2_POOL)
    assert (both.value.verdict, both.value.pool, both.value.buy_tax_bps) == ("unsafe", other[1], 10)


async def test_a_check_names_the_pool_that_it_trades_in(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    async def try_token(node: object, question: Any, budget_s: float) -> TokenTrial:
        del node, budget_s
        asked.append(question.where)
        return TokenTrial(token=question.token, block=100)

    monkeypatch.setattr(trials_module, "try_token", try_token)
    await bench.trials.try_out(PAIR, a_block_ref(100))
    assert asked == [replace(bench.trying().where, pool=V2_POOL)]


@pytest.mark.integration
async def test_the_cache_forgets_checks_after_some_hours() -> None:
    with redis_server() as url:
        redis, clock = Redis.from_url(url), ManualClock(NOW_MS)
        cache = TrialCache(Keeping(redis, clock, lambda reason: None), "dexlane:test:1")
        kept = Seen(told(flags=("buy_limit",), reasons=("r",)), 7, 8)
        await cache.keep([kept])
        clock.advance(3 * 3_600_000)
        younger = Seen(told(OTHER), 9, 10)
        await cache.keep([younger])
        assert await cache.recall() == {f"{STRANGER.address} None": kept, f"{OTHER} None": younger}
        clock.advance(3 * 3_600_000)
        assert await cache.recall() == {f"{OTHER} None": younger}
        assert await redis.hkeys("dexlane:test:1:token-trials") == [f"{OTHER} None".encode()]
        assert 0 < await redis.ttl("dexlane:test:1:token-trials") <= 6 * 3_600
        await cache.close()
