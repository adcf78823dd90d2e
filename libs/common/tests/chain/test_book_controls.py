"""Controls in an executor: what is under way counts, for all books at once, and a restart forgets nothing."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from dexlane.domain.thoughts.saying import TRADED
from dexlane.events.confirmations import ConfirmationRequested
from dexlane.events.execution import IntentCreated, Purpose
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.errors import Transient
from dexlane.testing.builders import NO_CONTROLS, a_confirmation, an_exposure
from dexlane.testing.live_bench import Bench, Home, live_book, reborn, running
from dexlane.values.books import Book, Lane, Mode

USD = 10**6


@pytest.fixture
def home(tmp_path: Path, database_url: str) -> Home:
    return Home(tmp_path, database_url)


def paper(name: str = "paper-one", **controls: Any) -> Book:
    """A paper book of one lane: 20,000 of capital, 1,000 an entry."""
    accounts = {Lane.FAST: "0x" + name.encode().hex().ljust(40, "0")[:40]}
    return live_book(id=name, mode=Mode.PAPER, accounts=accounts, controls=NO_CONTROLS.model_copy(update=controls))


async def entries(bench: Bench) -> list[IntentCreated]:
    found = [event for event in await bench.events() if isinstance(event, IntentCreated)]
    return [one for one in found if one.purpose is Purpose.ENTRY]


async def sizes(bench: Bench) -> list[int]:
    return [one.plan.amount_in // USD for one in await entries(bench) if one.plan is not None]


async def outcomes(bench: Bench) -> list[str]:
    found = [event.outcome for event in await bench.events() if isinstance(event, DecisionRecorded)]
    return [outcome for outcome in found if outcome != TRADED]


async def test_what_is_under_way_counts_against_a_limit_also_after_a_restart(home: Home) -> None:
    async with running(home, paper(max_token_bps=750), ready=False) as bench:
        for _ in range(2):
            await bench.head()
            await bench.executor.on_verdict(bench.verdict())
        assert await sizes(bench) == [1_000, 500], "1,500 may be held"
        again = await reborn(bench)
        await again.head()
        await again.executor.on_verdict(again.verdict())
        assert (await sizes(again), await outcomes(again)) == ([1_000, 500], ["token_exposure"])
        await again.die()


async def test_the_same_trade_is_a_duplicate_also_after_a_restart(home: Home) -> None:
    async with running(home, paper(duplicate_blocks=3), ready=False) as bench:
        await bench.head()
        await bench.executor.on_verdict(bench.verdict())
        again = await reborn(bench)
        for _ in range(3):
            await again.head()
            await again.executor.on_verdict(again.verdict())
        assert await outcomes(again) == ["duplicate", "duplicate"]
        assert await sizes(again) == [1_000, 1_000]
        await again.die()


async def test_books_of_one_verdict_share_the_limit_of_their_chain(home: Home) -> None:
    books = [paper(name, max_chain_bps=300) for name in ("paper-one", "paper-two")]
    async with running(home, *books, ready=False) as bench:
        await bench.head()
        await bench.executor.on_verdict(bench.verdict())
        assert await sizes(bench) == [1_000, 200], "3 % of 40,000 for both"


async def test_a_size_is_told_with_both_figures_and_what_held_it_down(home: Home) -> None:
    async with running(home, paper(max_token_bps=250), ready=False) as bench:
        await bench.head()
        await bench.executor.on_verdict(bench.verdict())
        (entry,) = await entries(bench)
        assert entry.size is not None
        assert (entry.size.amount, entry.size.share_bps, entry.size.held_by) == (500 * USD, 250, "token_exposure")
        assert "500 USDC are 2.5 % of the 20000 USDC of capital" in entry.size.reason


async def asked(bench: Bench) -> ConfirmationRequested:
    await bench.head()
    await bench.executor.on_verdict(bench.verdict(blocks=10))
    (request,) = [event for event in await bench.events() if isinstance(event, ConfirmationRequested)]
    assert await outcomes(bench) == ["confirmation_needed"]
    assert await entries(bench) == []
    return request


@pytest.mark.parametrize("mode", Mode)
async def test_a_confirmed_trade_is_made_once_whatever_is_delivered_again(home: Home, mode: Mode) -> None:
    book = paper(confirm_first_trades=10) if mode is Mode.PAPER else live_book(controls=NO_CONTROLS)
    book = book.model_copy(update={"controls": NO_CONTROLS.model_copy(update={"confirm_first_trades": 10})})
    async with running(home, book, ready=mode is Mode.LIVE) as bench:
        request = await asked(bench)
        given = a_confirmation(request)
        await bench.head()
        await bench.executor.on_confirmation(given)
        await bench.executor.on_confirmation(given)
        await bench.executor.on_verdict(request.verdict)
        again = await reborn(bench)
        await again.head()
        await again.executor.on_confirmation(given)
        (entry,) = await entries(again)
        assert entry.id == IntentCreated.make_id(book.id, request.verdict.id, Purpose.ENTRY)
        assert entry.verdict == request.verdict
        assert entry.block.number == request.block.number + 1, "planned on the state of then"
        assert again.effects() == (1 if mode is Mode.LIVE else 0)
        await again.die()


async def test_a_confirmed_trade_is_never_larger_than_what_was_shown(home: Home) -> None:
    async with running(home, paper(confirm_first_trades=10), ready=False) as bench:
        request = await asked(bench)
        await bench.executor.on_confirmation(a_confirmation(request, max_amount_in=300 * USD))
        assert await sizes(bench) == [300]


async def test_a_confirmation_that_comes_too_late_makes_no_trade(home: Home) -> None:
    async with running(home, paper(confirm_first_trades=10), ready=False) as bench:
        request = await asked(bench)
        for _ in range(10):
            await bench.head()
        await bench.executor.on_confirmation(a_confirmation(request))
        assert await outcomes(bench) == ["confirmation_needed", "deadline_passed"]
        assert await entries(bench) == []


async def test_what_happened_since_the_question_still_refuses(home: Home) -> None:
    async with running(home, paper(confirm_first_trades=10), ready=False) as bench:
        request = await asked(bench)
        lost = an_exposure(book_id="paper-one", exposure_version=2, realised_today=-500 * USD)
        bench.side.take_exposure(lost)
        await bench.executor.on_confirmation(a_confirmation(request))
        assert (await outcomes(bench))[-1] == "daily_loss"
        assert await entries(bench) == []


async def test_a_full_disk_opens_no_entry_by_a_confirmation_either(home: Home) -> None:
    async with running(home, paper(confirm_first_trades=10), ready=False) as bench:
        request = await asked(bench)
        roomy = bench.executor._parts
        bench.executor._parts = dataclasses.replace(roomy, why_no_room=lambda: "511 MB are free")
        before = await bench.events()
        with pytest.raises(Transient, match="511 MB"):
            await bench.executor.on_confirmation(a_confirmation(request))
        assert await bench.events() == before
        bench.executor._parts = roomy
        await bench.executor.on_confirmation(a_confirmation(request))
        assert await sizes(bench) == [1_000], "it comes again, and then it is made"


async def test_a_confirmed_trade_is_planned_on_no_block_before_that_of_its_chance(home: Home) -> None:
    async with running(home, paper(confirm_first_trades=10), ready=False) as bench:
        request = await asked(bench)
        bench.chain.mine(1)
        ahead = a_confirmation(request, verdict=bench.verdict())
        planning = asyncio.create_task(bench.executor.on_confirmation(ahead))
        await asyncio.sleep(0)
        await bench.follow()
        await planning
        (entry,) = await entries(bench)
        assert entry.block.number == request.block.number + 1
