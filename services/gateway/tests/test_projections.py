"""Rules of the live picture, the list, the latency figures, the fan-out and the health poller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.events.base import Event
from dexlane.events.control import Status
from dexlane.events.execution import Purpose, TxState
from dexlane.events.market import PoolDiscovered
from dexlane.events.risk import DecisionRecorded, TokenFlagged
from dexlane.runtime.clock import ManualClock
from dexlane.testing.builders import (
    NOW_MS,
    USDC,
    WETH,
    a_block,
    a_block_ref,
    a_book,
    a_book_changed,
    a_confirmed_fill,
    a_failure,
    a_fill,
    a_pool_v2,
    a_position,
    a_rejection,
    a_reversed_fill,
    a_status,
    a_tx,
    a_verdict,
    an_exit,
    an_exposure,
    an_intent,
    an_opened_account,
    an_opportunity,
)
from dexlane.values.books import Lane, Mode
from gateway.projections.feed import KEPT, Feed, Kind, TokenNames, _short
from gateway.projections.health import HealthPoller
from gateway.projections.hub import Client, Hub
from gateway.projections.latency import Latency, percentile
from gateway.projections.picture import LivePicture, Place
from gateway.projections.recovery import rebuild
from gateway.records import prune
from gateway.settings import Settings


@pytest.fixture
def settings_for(tmp_path: Path, database_url: str) -> Callable[..., Settings]:
    """What the journal keeps is the same on both databases."""

    def make(**changes: Any) -> Settings:
        return Settings(**{"data_dir": tmp_path, "database_url": database_url, **changes})

    return make


def a_picture() -> LivePicture:
    picture = LivePicture(Place("main", "devnet", (1,)))
    pool = a_pool_v2()
    found = {"chain_id": 1, "occurred_at_ms": NOW_MS, "block": a_block_ref(), "pool": pool}
    picture.apply(PoolDiscovered(id=PoolDiscovered.make_id(1, pool.key.address, a_block_ref().hash), **found), NOW_MS)
    return picture


# ---------------------------------------------------------------- picture


@given(order=st.permutations(range(6)))
def test_the_newest_version_holds_whatever_the_order(order: list[int]) -> None:
    events: list[Event] = [
        *(a_position(position_version=version, quantity=version) for version in (1, 2)),
        *(an_exposure(exposure_version=version, at_work=version) for version in (1, 2)),
        *(a_status(status, status_version=version) for version, status in ((1, Status.HALTED), (2, Status.REDUCING))),
    ]
    picture = a_picture()
    for index in order:
        picture.apply(events[index], NOW_MS)
    assert picture.open_positions()[0].quantity == 2
    assert picture.exposures["paper-one", "fast"].at_work == 2
    assert picture.status(1).effective is Status.REDUCING


def test_the_strictest_source_holds_and_is_told_first() -> None:
    picture = a_picture()
    for source, status in (("operator", Status.ACTIVE), ("breaker-gas", Status.HALTED), ("signer", Status.REDUCING)):
        picture.apply(a_status(status, source), NOW_MS)
    view = picture.status(1)
    assert view.effective is Status.HALTED
    assert [source.source for source in view.sources] == ["breaker-gas", "signer", "operator"]


def test_head_age_grows_until_the_next_block() -> None:
    picture = a_picture()
    picture.apply(a_block(100), NOW_MS)
    assert picture.chain(1, NOW_MS + 900).head_age_ms == 900
    picture.apply(a_block(101), NOW_MS + 1_000)
    assert picture.chain(1, NOW_MS + 1_000).head_age_ms == 0


def test_a_book_without_one_lanes_exposure_has_no_sums() -> None:
    picture = a_picture()
    picture.apply(a_book_changed(), NOW_MS)
    picture.apply(an_exposure(lane=Lane.FAST), NOW_MS)
    assert picture.book("paper-one").at_work is None
    picture.apply(an_exposure(lane=Lane.SMART), NOW_MS)
    assert picture.book("paper-one").at_work == 0
    assert picture.book("paper-one").native_symbol == "ETH"


def test_the_devnet_sentence_is_told_on_the_devnet_only() -> None:
    assert "prove nothing" in a_picture().overview(NOW_MS).notices[0]
    assert LivePicture(Place("main", "remote", (1,))).overview(NOW_MS).notices == ()


async def test_a_start_rebuilds_the_picture_from_the_archive(gateway: Any) -> None:
    intent = an_intent()
    signed = a_tx(TxState.SIGNED, intent, sequence=1, elapsed_ms=4.5)
    await gateway.archive(an_opportunity(), intent, signed, a_fill(intent), a_position())
    fresh = a_picture()
    await rebuild(fresh, gateway.desk.journal, gateway.desk.statuses)
    assert [position.id for position in fresh.open_positions()] == [a_position().id]
    assert fresh.latency.view() == gateway.desk.display.picture.latency.view()
    assert {item.id for item in fresh.feed.items} >= {intent.id, signed.id, a_fill(intent).id}
    assert fresh.status(1).effective is Status.ACTIVE


async def test_an_event_delivered_twice_is_shown_once(gateway: Any) -> None:
    await gateway.archive(a_fill(), a_fill())
    assert [item.kind for item in gateway.desk.display.picture.feed.items].count(Kind.FILL) == 1


async def test_the_archive_keeps_the_newest_of_each_event_and_every_position(gateway: Any) -> None:
    await gateway.archive(a_position(), *(an_opportunity(block=a_block_ref(number)) for number in range(100, 110)))
    async with gateway.desk.journal.transaction() as tx:
        assert await prune(tx.conn, rows_per_event=3, older_than_ms=0) == 7
    assert len(await gateway.get("/opportunities")) == 3
    assert (await gateway.get("/opportunities"))[0]["data"]["block"]["number"] == 109
    async with gateway.desk.journal.transaction() as tx:
        await prune(tx.conn, rows_per_event=3, older_than_ms=NOW_MS + 1)
    assert await gateway.get("/opportunities") == []
    assert len(await gateway.get("/positions")) == 1


# ---------------------------------------------------------------- the list


def written(event: Event) -> Any:
    return a_picture().apply(event, NOW_MS)


@pytest.mark.parametrize(
    ("event", "outcome", "headline", "reasons"),
    [
        (an_opportunity(), "found", "price_gap sees 50 bps in USDC → WETH → USDC", None),
        (a_verdict(), "approved", "price_gap, USDC → WETH → USDC: risk 20 of 100, fast lane", ()),
        (a_rejection(), "rejected", "price_gap, USDC → WETH → USDC: risk 90 of 100", ("the fee quote is stale",)),
        (an_intent(), "created", "entry: 1,000 USDC for at least 0.495982 WETH", ()),
        (a_tx(TxState.SIGNED, elapsed_ms=4.26), "signed", "entry by momentum 4.3 ms after the logs", ()),
        (a_tx(TxState.DROPPED, reason="gone from the pool"), "dropped", "entry by momentum", ("gone from the pool",)),
        (a_fill(), "included", "entry by momentum: −1,000 USDC, +0.498475 WETH", ("gas 0.001155 ETH",)),
        (a_confirmed_fill(), "confirmed", "entry by momentum: −1,000 USDC, +0.498475 WETH", ("gas 0.001155 ETH",)),
        (a_reversed_fill(), "reversed", "the chain took the fill back", ("block 101 was replaced",)),
        (a_failure(detail="too little"), "failed", "entry by momentum failed: reverted", ("too little",)),
        (an_exit(), "triggered", "close 0.498475 WETH: stop loss", None),
        (a_status(), "halted", "operator says halted", ("a test says so",)),
    ],
)
def test_entries_say_in_plain_words_what_happened_and_why(
    event: Event, outcome: str, headline: str, reasons: tuple[str, ...] | None
) -> None:
    item = written(event)
    assert (item.outcome, item.headline) == (outcome, headline)
    assert item.reasons if reasons is None else item.reasons == reasons


def test_a_decision_says_what_it_was_about() -> None:
    picture = a_picture()
    fields = {"chain_id": 1, "occurred_at_ms": NOW_MS, "service": "fast-executor", "subject_id": a_verdict().id}
    refused = DecisionRecorded(id="0" * 32, outcome="no_edge", reasons=("gas costs more",), **fields)
    before = picture.apply(refused, NOW_MS)
    picture.apply(a_verdict(), NOW_MS)
    after = picture.apply(refused, NOW_MS)
    assert before is not None
    assert after is not None
    assert (before.headline, before.outcome) == ("decided by fast-executor", "no_edge")
    assert after.headline == "fast-executor on price_gap, USDC → WETH → USDC"


def test_an_allowance_names_its_token() -> None:
    allowance = an_intent(purpose=Purpose.ALLOWANCE, verdict=None, allowance_token=USDC.address, allowance_amount=5)
    assert written(allowance).headline == "allow the router to spend USDC"
    assert written(a_fill(allowance, deltas=(), quoted_out=1)).headline == "allowance: set"
    assert written(a_tx(TxState.MINED, allowance)).headline == "allowance"


def test_a_flag_names_its_token() -> None:
    flagged = TokenFlagged(
        id=TokenFlagged.make_id(1, WETH.address, "sell_tax", 1),
        chain_id=1,
        occurred_at_ms=NOW_MS,
        token=WETH.address,
        flag="sell_tax",
        reason="selling costs 12 %",
        block=a_block_ref(),
    )
    assert written(flagged).headline == "WETH carries the flag sell tax"


@pytest.mark.parametrize("outcome", ["approved", "rejected", "traded", "exit_triggered"])
def test_what_a_verdict_an_intent_or_an_exit_tells_is_not_told_again_as_a_decision(outcome: str) -> None:
    decision = DecisionRecorded(
        id="d" * 32,
        chain_id=1,
        occurred_at_ms=NOW_MS,
        service="any",
        subject_id="e" * 32,
        outcome=outcome,
        reasons=("it was told",),
    )
    assert written(decision) is None


def test_what_is_not_shown_writes_no_entry() -> None:
    assert written(an_opened_account()) is None
    assert written(a_block()) is None


def test_unknown_tokens_are_told_by_address_and_in_units() -> None:
    feed = Feed(TokenNames())
    item = feed.apply(a_fill())
    assert item is not None
    assert "1000000000 units of 0xa0b8…eb48" in item.headline


def test_the_list_is_bounded() -> None:
    picture = a_picture()
    for number in range(KEPT + 5):
        picture.apply(an_opportunity(block=a_block_ref(number)), NOW_MS)
    assert len(picture.feed.items) == KEPT


@pytest.mark.parametrize(
    ("amount", "decimals", "text"),
    [
        (0, 6, "0"),
        (1, 18, "0.000000000000000001"),
        (1_234_567_890_123, 6, "1,234,567.89"),
        (999_999_999, 6, "999.999"),
        (-1_500_000, 6, "-1.5"),
        (12, 0, "12"),
        (498_475_151_013_721_965, 18, "0.498475"),
    ],
)
def test_amounts_are_shortened_but_never_rounded_up(amount: int, decimals: int, text: str) -> None:
    assert _short(amount, decimals) == text


# ---------------------------------------------------------------- latency


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=300), share=st.integers(1, 10_000))
def test_a_percentile_is_a_measured_value_that_enough_do_not_exceed(values: list[float], share: int) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in values
    assert sum(value <= found for value in values) * 10_000 >= share * len(values)


def test_latency_is_measured_from_signed_entries_alone() -> None:
    latency = Latency()
    assert {(entry.p50_ms, entry.samples) for entry in latency.view()} == {(None, 0)}
    for state, elapsed_ms in ((TxState.SIGNED, 5.0), (TxState.SUBMITTED, 90.0), (TxState.SIGNED, None)):
        latency.apply(a_tx(state, elapsed_ms=elapsed_ms))
    latency.apply(a_tx(TxState.SIGNED, elapsed_ms=700.0, purpose=Purpose.EXIT))
    (entry,) = [entry for entry in latency.view() if entry.samples]
    assert (entry.lane, entry.mode, entry.p50_ms, entry.p99_ms) == (Lane.FAST, Mode.PAPER, 5.0, 5.0)


# ---------------------------------------------------------------- fan-out


async def next_of(client: Client) -> Any:
    return orjson.loads(await asyncio.wait_for(client.next(lambda: 9), 1))


async def test_a_slow_client_loses_its_oldest_messages_and_is_told() -> None:
    hub = Hub(max_clients=2, queue_size=10)
    client = hub.join()
    assert client is not None
    client.names = frozenset({"feed"})
    for number in range(13):
        hub.send("feed", str(number).encode(), 1)
    first = await next_of(client)
    assert (first["event"], first["data"], first["version"]) == ("gap", {"dropped": 3}, 1)
    assert [(await next_of(client))["data"] for _ in range(10)] == list(range(3, 13))
    assert hub.dropped == 3


async def test_of_the_sums_only_the_newest_waits() -> None:
    hub = Hub(max_clients=2, queue_size=10)
    client = hub.join()
    assert client is not None
    client.names = frozenset({"overview"})
    for number in range(3):
        hub.send_latest("overview", str(number).encode(), number)
    assert (await next_of(client))["data"] == 2
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.next(lambda: 9), 0.01)


async def test_nobody_gets_what_they_did_not_ask_for() -> None:
    hub = Hub(max_clients=1, queue_size=10)
    client = hub.join()
    assert client is not None
    client.names = frozenset({"tx"})
    assert not hub.wanted("feed")
    hub.send("feed", b"1", 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.next(lambda: 9), 0.01)
    assert hub.join() is None
    hub.leave(client)
    assert hub.join() is not None


# ---------------------------------------------------------------- health


def answering(request: httpx.Request) -> httpx.Response:
    port = request.url.port
    if port == 1:
        return httpx.Response(200, json={"service": "market-feed", "ready": True, "reasons": {}})
    if port == 2:
        body = {"service": "risk-scorer", "ready": False, "reasons": {"mirror": "no block of chain 1 yet"}}
        return httpx.Response(503, json=body)
    if port == 3:
        return httpx.Response(200, json={"service": "somebody", "ready": True})
    if port == 4:
        return httpx.Response(200, text="<html>")
    if port == 5:
        return httpx.Response(302, headers={"location": "http://evil.example/readyz"})
    raise httpx.ConnectError("refused", request=request)


async def test_health_tells_why_a_service_is_not_ready() -> None:
    names = ("market-feed", "risk-scorer", "gas-oracle", "portfolio", "paper-sim", "fast-executor")
    urls = {name: f"http://127.0.0.1:{port}" for port, name in enumerate(names, start=1)} | {"gateway": "http://x"}
    poller = HealthPoller(urls, ManualClock(), own=lambda: {"bus": "no link to NATS"}, interval_ms=250)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answering)) as client:
        await poller.ask_all(client)
    told = {health.name: (health.ready, next(iter(health.reasons.values()), None)) for health in poller.view()}
    assert told == {
        "market-feed": (True, None),
        "risk-scorer": (False, "no block of chain 1 yet"),
        "gas-oracle": (False, "another program answers at this address"),
        "portfolio": (False, "the answer is not that of a dexlane service"),
        "paper-sim": (False, "the answer is not that of a dexlane service"),
        "fast-executor": (False, "no answer; is it running?"),
        "gateway": (False, "no link to NATS"),
    }


def test_an_account_that_runs_low_on_gas_is_named_before_entries_stop() -> None:
    picture = LivePicture(Place("main", "remote", (1,)))
    book = a_book(gas_reserve_wei=10**17)
    picture.apply(a_book_changed(book), NOW_MS)
    picture.apply(an_exposure(lane=Lane.FAST, native_balance_wei=2 * 10**17), NOW_MS)
    assert picture.overview(NOW_MS).notices == ()
    picture.apply(an_exposure(lane=Lane.FAST, exposure_version=2, native_balance_wei=19 * 10**16), NOW_MS)
    (notice,) = picture.overview(NOW_MS).notices
    assert f"top up {book.accounts[Lane.FAST]}. 0.19 ETH are left for gas; below 0.1 it opens nothing new" in notice
