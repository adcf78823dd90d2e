"""Breakers and the emergency stop as people meet them: listed, reset with a reason, pressed, ended after a restart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from dexlane.domain.emergency_stop import ASK_AGAIN_MS, SETTLE_MS
from dexlane.events.breakers import BreakerPhase, BreakerReading, BreakerReset
from dexlane.events.control import Status, TradingStatus
from dexlane.events.execution import TxState
from dexlane.events.portfolio import ExitTriggered
from dexlane.events.risk import DecisionRecorded
from dexlane.runtime.cancelling import cancelled
from dexlane.testing.builders import (
    NOW_MS,
    WETH,
    a_block,
    a_breaker,
    a_position,
    a_token,
    a_tx,
    an_intent,
)
from dexlane.values.base import digest
from dexlane.values.books import Mode
from gateway.records import live_transactions, open_transactions, prune
from gateway.statuses.keeper import StatusRefused

from .conftest import Gateway, Make

LINK = a_token("LINK")
SEEN = {1: NOW_MS}


def open_losses(**fields: Any) -> Any:
    readings = (BreakerReading(name="losses_in_a_row", value=5, limit=5),)
    return a_breaker(BreakerPhase.OPEN, **({"source": "breaker-losses", "readings": readings} | fields))


async def test_breakers_are_listed_with_their_figures_and_those_that_hold_come_first(gateway: Gateway) -> None:
    gateway.desk.display.show(a_breaker(source="breaker-aaa"))
    gateway.desk.display.show(open_losses())
    gateway.desk.display.show(open_losses(breaker_version=1, reason="older"))
    rows = await gateway.get("/breakers")
    assert [row["source"] for row in rows] == ["breaker-losses", "breaker-aaa"]
    assert rows[0]["readings"] == [{"name": "losses_in_a_row", "value": 5, "limit": 5}]


async def test_a_reset_is_a_fact_with_its_reason_and_is_recorded(gateway: Gateway) -> None:
    gateway.desk.display.show(open_losses(reset_version=7))
    answer = await gateway.post("/breakers/breaker-losses/reset", {"reason": "the feed was wrong", "seen": SEEN}, 202)
    assert answer["data"]["before"][0]["phase"] == "open"
    (word,) = await gateway.sent(BreakerReset)
    assert (word.source, word.reason, word.reset_version, word.opened_at_ms) == (
        "breaker-losses",
        "the feed was wrong",
        gateway.clock.now_ms(),
        NOW_MS,
    )
    (record,) = await gateway.sent(DecisionRecorded)
    assert (record.service, record.outcome) == ("gateway", "breaker_reset")
    assert record.reasons == ("breaker-losses was reset: the feed was wrong",)
    assert await gateway.sent(TradingStatus) == [(await gateway.sent(TradingStatus))[0]], "only its host closes it"


async def test_a_reset_needs_the_token_a_reason_and_a_breaker_that_is_known(gateway: Gateway) -> None:
    gateway.desk.display.show(open_losses())
    refused = await gateway.client.post("/api/v1/breakers/breaker-losses/reset", json={"reason": "x"})
    assert refused.status_code == 401
    await gateway.post("/breakers/breaker-losses/reset", {"reason": ""}, 422)
    await gateway.post("/breakers/breaker-luck/reset", {"reason": "x"}, 404)
    await gateway.post("/breakers/operator/reset", {"reason": "x"}, 422)
    assert await gateway.sent(BreakerReset) == []


async def test_a_reset_releases_the_opening_that_was_seen_and_none_that_came_meanwhile(gateway: Gateway) -> None:
    path = "/breakers/breaker-losses/reset"
    gateway.desk.display.show(open_losses(reason="five losses"))
    unsaid = await gateway.post(path, {"reason": "x"}, 428)
    assert f"breaker-losses on chain 1 is open (opened_at_ms {NOW_MS}): five losses" in unsaid["detail"]
    gateway.desk.display.show(open_losses(breaker_version=5, reason="the loss of the day", opened_at_ms=NOW_MS + 1))
    for seen in (SEEN, {}, {8_453: NOW_MS + 1}):
        missed = await gateway.post(path, {"reason": "x", "seen": seen}, 409)
        assert "the loss of the day" in missed["detail"]
    assert await gateway.sent(BreakerReset) == []
    gateway.desk.display.show(open_losses(breaker_version=9, reason="the loss of the day", opened_at_ms=NOW_MS + 1))
    await gateway.post(path, {"reason": "x", "seen": {1: NOW_MS + 1}}, 202)


async def test_resume_sends_people_to_the_reset(gateway: Gateway) -> None:
    refused = await gateway.post("/resume", {"reason": "x", "source": "breaker-losses"}, 409)
    assert "dexlane breakers reset breaker-losses" in refused["detail"]


def held(gateway: Gateway, **fields: Any) -> None:
    gateway.desk.display.show(a_position(**fields))


async def press(gateway: Gateway, **fields: Any) -> Any:
    body = {"reason": "drill", "exits_within_s": 60, "cancels_within_s": 60, **fields}
    return (await gateway.post("/emergency-stop", body, 202))["data"]


async def words(gateway: Gateway) -> list[tuple[str, str]]:
    return [(word.status.value, word.reason) for word in await gateway.sent(TradingStatus)]


async def test_the_button_alone_halts_all_chains_and_is_done_when_nothing_is_open(gateway: Gateway) -> None:
    state = await press(gateway)
    assert (state["phase"], state["positions_at_start"]) == ("cancelling", 0)
    assert (await words(gateway))[-1] == ("halted", "emergency stop: drill")
    assert (await gateway.desk.emergency.look()).is_over
    assert (await gateway.get("/emergency-stop"))["phase"] == "done"
    assert {row["effective"] for row in await gateway.get("/status")} == {"halted"}


async def test_it_halts_when_the_last_transaction_is_settled_and_says_which_is_not(gateway: Gateway) -> None:
    intent = an_intent(mode=Mode.LIVE)
    await gateway.archive(intent, a_tx(TxState.PENDING, intent, sequence=3, nonce=4))
    state = await press(gateway)
    assert state["transactions_open"] == 1
    gateway.clock.advance(59_000)
    assert not (await gateway.desk.emergency.look()).is_over
    gateway.clock.advance(2_000)
    ended = await gateway.desk.emergency.look()
    assert ended.is_over
    assert ended.left[0].what == f"transaction of {intent.book_id}: entry, nonce 4"
    assert "it is pending" in ended.left[0].why


async def test_a_transaction_in_a_block_is_not_open_any_more(gateway: Gateway) -> None:
    intent = an_intent(mode=Mode.LIVE)
    await gateway.archive(
        intent, a_tx(TxState.MINED, intent, sequence=5, nonce=4), a_tx(TxState.PENDING, intent, sequence=3, nonce=4)
    )
    assert (await press(gateway))["transactions_open"] == 0


async def test_a_live_transaction_is_seen_behind_any_number_of_paper_trades_and_after_the_archive_forgot_it(
    gateway: Gateway,
) -> None:
    live = an_intent(mode=Mode.LIVE)
    papers = [an_intent(id=digest("paper", number), mode=Mode.PAPER) for number in range(200)]
    await gateway.archive(live, a_tx(TxState.PENDING, live), *papers)
    await gateway.archive(*(a_tx(TxState.PENDING, paper, nonce=None) for paper in papers))
    async with gateway.desk.journal.transaction() as tx:
        await prune(tx.conn, rows_per_event=100, older_than_ms=NOW_MS * 2)
    assert await gateway.get("/transactions") == []
    state = await press(gateway)
    assert (state["phase"], state["transactions_open"]) == ("cancelling", 1)
    await gateway.archive(a_tx(TxState.CANCELLED, live, sequence=9))
    assert (await gateway.desk.emergency.look()).is_over
    async with gateway.desk.journal.transaction() as tx:
        await prune(tx.conn, rows_per_event=100, older_than_ms=NOW_MS * 2)
        assert (await tx.conn.execute(sa.select(live_transactions))).all() == [], "a settled one is forgotten"


async def test_a_journal_from_before_knows_its_open_transactions_out_of_the_archive(open_gateway: Make) -> None:
    first: Gateway = await open_gateway()
    stuck, done = (an_intent(id=digest("intent", number), mode=Mode.LIVE) for number in range(2))
    await first.archive(
        a_tx(TxState.SUBMITTED, stuck, sequence=3, nonce=7),
        a_tx(TxState.PENDING, stuck, sequence=4, nonce=7),
        a_tx(TxState.MINED, done, sequence=5, nonce=8),
        a_tx(TxState.PENDING, done, sequence=4, nonce=8),
        a_tx(TxState.PENDING, an_intent(mode=Mode.PAPER), nonce=None),
    )
    step_back = "UPDATE alembic_version SET version_num = 'gateway_0002' WHERE version_num LIKE 'gateway_%'"
    async with first.desk.journal.transaction() as tx:
        newer = (
            "thought_documents",
            "thought_tokens",
            "thought_chain",
            "confirmations",
            "live_transactions",
            "untold_halts",
        )
        for table in newer:
            await tx.conn.execute(sa.text(f"DROP TABLE {table}"))
        await tx.conn.execute(sa.text(step_back))
    second: Gateway = await open_gateway()
    async with second.desk.journal.reading() as conn:
        assert [(one.intent_id, one.state) for one in await open_transactions(conn)] == [(stuck.id, TxState.PENDING)]


async def test_closing_goes_from_reducing_over_exits_by_value_to_halted(gateway: Gateway) -> None:
    gateway.desk.display.show(a_block())
    held(gateway, token=LINK, cost=5 * 10**6, unrealised=None)
    held(gateway, token=WETH, cost=900 * 10**6, unrealised=10 * 10**6)
    held(gateway, book_id="live-devnet", mode=Mode.LIVE, token=WETH, cost=100 * 10**6, unrealised=0)
    state = await press(gateway, close_positions=True)
    assert (state["phase"], state["positions_left"]) == ("closing", 3)
    assert (await words(gateway))[-1][0] == "reducing"
    exits = await gateway.sent(ExitTriggered)
    assert [(one.token.symbol, one.mode) for one in exits] == [("WETH", "paper"), ("WETH", "live"), ("LINK", "paper")]
    assert exits[0].detail == "emergency stop: drill"
    await gateway.desk.emergency.look()
    assert len(await gateway.sent(ExitTriggered)) == 3, "what was asked for is awaited"
    for index, event in enumerate(list(gateway.desk.display.picture.positions.values())):
        held(gateway, **_closed(event), position_version=2 + index)
    await gateway.desk.emergency.look()
    gateway.clock.advance(SETTLE_MS)
    await gateway.desk.emergency.look()
    assert (await words(gateway))[-1][0] == "halted"
    ended = await gateway.desk.emergency.look()
    assert (ended.is_over, ended.positions_left, ended.left) == (True, 0, ())


def _closed(event: Any) -> dict[str, Any]:
    return {
        **{name: getattr(event, name) for name in ("book_id", "mode", "lane", "account", "token")},
        "quantity": 0,
        "cost": 0,
    }


async def test_it_goes_on_after_the_gateway_was_killed_in_the_middle(open_gateway: Make) -> None:
    first: Gateway = await open_gateway()
    first.desk.display.show(a_block())
    position = a_position()
    await first.archive(position)
    await press(first, close_positions=True)
    second: Gateway = await open_gateway()
    await second.desk.emergency.load()
    second.desk.display.show(a_block())
    second.desk.display.show(position)
    assert second.desk.emergency.is_running
    refused = await second.post("/resume", {"reason": "too early"}, 409)
    assert "emergency stop is under way" in refused["detail"]
    await second.desk.emergency.look()
    assert len(await second.sent(ExitTriggered)) == 1, "the exit was asked for before"
    second.clock.advance(ASK_AGAIN_MS)
    await second.desk.emergency.look()
    assert len(await second.sent(ExitTriggered)) == 2
    second.clock.advance(60_000)
    await second.desk.emergency.look()
    ended = await second.desk.emergency.look()
    assert ended.is_over
    assert (await words(second))[-1][0] == "halted"
    await second.resume("looked into")


async def test_at_the_end_it_says_why_a_position_could_not_be_closed(gateway: Gateway) -> None:
    gateway.desk.display.show(a_block())
    position = a_position()
    held(gateway)
    await press(gateway, close_positions=True)
    (exit_,) = await gateway.sent(ExitTriggered)
    refusal = DecisionRecorded(
        id=digest("refusal"),
        chain_id=1,
        occurred_at_ms=gateway.clock.now_ms(),
        service="fast-executor",
        subject_id=exit_.id,
        book_id=position.book_id,
        outcome="no_route",
        reasons=("no known pool takes it",),
    )
    await gateway.archive(refusal)
    gateway.clock.advance(61_000)
    await gateway.desk.emergency.look()
    ended = await gateway.desk.emergency.look()
    (left,) = ended.left
    assert position.token.symbol in left.what
    assert left.why == "its exit was refused: no known pool takes it"


async def test_without_closing_the_report_says_that_it_was_not_asked_for(gateway: Gateway) -> None:
    held(gateway)
    await press(gateway)
    ended = await gateway.desk.emergency.look()
    assert [one.why for one in ended.left] == ["closing was not asked for"]


async def test_the_loop_that_drives_it_lives_on_when_another_look_ends_it(gateway: Gateway) -> None:
    emergency = gateway.desk.emergency
    await press(gateway)
    ending = asyncio.create_task(emergency.look())
    loop = asyncio.create_task(emergency.run())
    assert (await ending).is_over, "while the loop, which saw it running, waits for its turn"
    await asyncio.sleep(0.05)
    assert not loop.done()
    await cancelled([loop])


async def test_a_position_that_is_sold_while_the_stop_looks_does_not_end_it(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.desk.display.show(a_block())
    held(gateway, token=LINK)
    held(gateway, token=WETH)
    (link,) = [one for one in gateway.desk.display.picture.positions.values() if one.token == LINK]
    stop = gateway.desk.emergency

    async def sold_meanwhile() -> list[Any]:
        held(gateway, **_closed(link), position_version=9)
        return []

    monkeypatch.setattr(stop, "_open_transactions", sold_meanwhile)
    await press(gateway, close_positions=True)
    assert [one.token for one in await gateway.sent(ExitTriggered)] == [WETH]


async def test_what_never_began_cannot_go_on(gateway: Gateway) -> None:
    with pytest.raises(StatusRefused, match="there never was"):
        await gateway.desk.emergency.look()


async def test_the_gauge_tells_of_a_stop_that_was_taken_up_after_a_restart(open_gateway: Make) -> None:
    await press(await open_gateway())
    second: Gateway = await open_gateway()
    await second.desk.emergency.load()
    assert second.gauge("emergency_stop") == 1
    assert (await second.desk.emergency.look()).is_over
    third: Gateway = await open_gateway()
    await third.desk.emergency.load()
    assert third.gauge("emergency_stop") == 0


async def test_a_second_button_is_refused_while_the_first_one_works(gateway: Gateway) -> None:
    gateway.desk.display.show(a_block())
    held(gateway)
    await press(gateway, close_positions=True)
    body = {"reason": "again", "exits_within_s": 60, "cancels_within_s": 60}
    refused = await gateway.post("/emergency-stop", body, 409)
    assert "under way already" in refused["detail"]


async def test_the_button_needs_the_token(gateway: Gateway) -> None:
    refused = await gateway.client.post("/api/v1/emergency-stop", json={"reason": "x"})
    assert refused.status_code == 401
    assert gateway.desk.emergency.state is None


async def test_an_operator_who_halts_meanwhile_is_not_loosened(gateway: Gateway) -> None:
    gateway.desk.display.show(a_block())
    held(gateway)
    await press(gateway, close_positions=True)
    await gateway.post("/halt", {"scope": "halted", "reason": "everything"})
    await gateway.desk.emergency.look()
    assert gateway.desk.display.picture.status(1).effective is Status.HALTED


async def test_the_page_tells_of_breakers_that_the_status_does_not_show(gateway: Gateway) -> None:
    show = gateway.desk.display.show
    show(a_breaker(BreakerPhase.OPEN, source="breaker-losses-paper", mode=Mode.PAPER, reason="five in a row"))
    show(a_breaker(BreakerPhase.OPEN, source="breaker-dex-fast-uniswap-v3", venue="uniswap_v3"))
    show(a_breaker(BreakerPhase.HALF_OPEN, source="breaker-rpc-fast", probes=1))
    show(a_breaker(BreakerPhase.OPEN, source="breaker-losses"))
    told = " ".join((await gateway.get("/overview"))["notices"])
    assert "breaker-losses-paper on chain 1 holds new entries of paper books: five in a row." in told
    assert "breaker-dex-fast-uniswap-v3 on chain 1 holds new entries of trades in uniswap_v3" in told
    assert "breaker-rpc-fast on chain 1 tries trading again with 1 small entries in each lane." in told
    assert "breaker-losses on chain 1 holds" not in told, "that one is a source of the status"
