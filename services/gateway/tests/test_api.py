"""Rules of the REST interface."""

from __future__ import annotations

from typing import Any

import pytest

from dexlane.domain.levels import LEVELS, LevelLimits
from dexlane.events.control import BookChanged, Status, TradingStatus
from dexlane.events.execution import TxState
from dexlane.events.portfolio import ExitReason, ExitTriggered
from dexlane.events.risk import DecisionRecorded
from dexlane.testing.builders import (
    USDC,
    WETH,
    a_block,
    a_block_ref,
    a_confirmed_fill,
    a_failure,
    a_fee_quote,
    a_fill,
    a_position,
    a_rejection,
    a_status,
    a_tx,
    a_verdict,
    an_exposure,
    an_intent,
    an_opportunity,
)
from dexlane.values.books import Lane, Mode


def a_decision(number: int, book_id: str = "paper-main") -> DecisionRecorded:
    subject = f"{number:032x}"
    return DecisionRecorded(
        id=DecisionRecorded.make_id("fast-executor", subject, book_id, "refused"),
        chain_id=1,
        occurred_at_ms=1_700_000_000_000 + number,
        service="fast-executor",
        subject_id=subject,
        book_id=book_id,
        outcome="refused",
        reasons=(f"reason {number}",),
    )


READS = (
    *("/overview", "/books", "/books/paper-main", "/positions", "/exposures", "/fills", "/intents", "/transactions"),
    *("/verdicts", "/decisions", "/thoughts", "/opportunities", "/feed", "/status", "/fees", "/services"),
)


@pytest.mark.parametrize("path", READS)
async def test_every_answer_has_the_one_envelope(gateway: Any, path: str) -> None:
    gateway.desk.display.show(a_block(100))
    body = (await gateway.client.get(f"/api/v1{path}")).json()
    assert set(body) == {"version", "data", "as_of", "next"}
    assert body["version"] == 1
    assert body["as_of"]["blocks"]["1"] == {"block": a_block_ref(100).model_dump(), "age_ms": 0}


async def test_answers_say_no_data_where_nothing_was_heard(gateway: Any) -> None:
    overview = await gateway.get("/overview")
    assert {book["equity"] for book in overview["books"]} == {None}
    assert {book["unrealised"] for book in overview["books"]} == {None}
    assert overview["chains"][0]["block"] is None
    assert overview["chains"][0]["fees"] is None
    assert {lane["p50_ms"] for lane in overview["latency"]} == {None}
    assert "prove nothing" in overview["notices"][0]


async def test_amounts_are_decimal_strings(gateway: Any) -> None:
    book = (await gateway.get("/books/paper-main"))["book"]
    assert book["limits"]["fast"]["capital"] == "100000000000"
    assert book["gas_reserve_wei"] == "50000000000000000"


async def test_a_book_adds_up_its_lanes_and_refuses_to_guess(gateway: Any) -> None:
    for lane in Lane:
        gateway.desk.display.show(an_exposure(book_id="paper-main", lane=lane, realised_total=3, equity=50, at_work=7))
    both = await gateway.get("/books/paper-main")
    assert (both["equity"], both["realised"], both["at_work"], both["unrealised"]) == ("100", "6", "14", "0")
    gateway.desk.display.show(an_exposure(book_id="paper-main", lane=Lane.FAST, exposure_version=2, equity=None))
    await gateway.archive(a_position(book_id="paper-main", unrealised=None))
    partly = await gateway.get("/books/paper-main")
    assert (partly["equity"], partly["unrealised"]) == (None, None)


async def test_unknown_things_are_told_with_what_there_is(gateway: Any) -> None:
    answer = await gateway.client.get("/api/v1/books/nope")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "there is no book 'nope'; the books are: live-devnet, paper-main"
    assert (await gateway.client.get("/api/v1/status", params={"chain_id": 5})).status_code == 404
    assert "/docs" in (await gateway.client.get("/api/v1/nothing")).json()["detail"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/fills", {"limit": 0}),
        ("/fills", {"limit": 201}),
        ("/fills", {"cursor": "abc"}),
        ("/fills", {"cursor": "-1"}),
        ("/fills", {"cursor": "9" * 19}),
        ("/transactions", {"intent_id": "x"}),
        ("/status", {"chain_id": "one"}),
    ],
)
async def test_bad_queries_are_refused_with_a_sentence(gateway: Any, path: str, query: dict[str, Any]) -> None:
    answer = await gateway.client.get(f"/api/v1{path}", params=query)
    assert answer.status_code == 422
    assert next(iter(query)) in answer.json()["detail"]


async def test_lists_are_newest_first_and_continue_at_the_cursor(gateway: Any) -> None:
    await gateway.archive(*(a_decision(number) for number in range(5)))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        body = (await gateway.client.get("/api/v1/thoughts", params={"limit": 2, **cursor})).json()
        seen += [entry["decision"]["reasons"][0] for entry in body["data"]]
        if body["next"] is None:
            break
        cursor = {"cursor": body["next"]}
        await gateway.archive(a_decision(100 + len(seen)))
    assert seen == [f"reason {number}" for number in (4, 3, 2, 1, 0)]


async def test_positions_continue_at_the_cursor(gateway: Any) -> None:
    for lane in Lane:
        await gateway.archive(a_position(book_id="paper-main", lane=lane), a_position(book_id="live-devnet", lane=lane))
    first = (await gateway.client.get("/api/v1/positions", params={"limit": 3})).json()
    rest = (await gateway.client.get("/api/v1/positions", params={"limit": 3, "cursor": first["next"]})).json()
    assert len(first["data"]) == 3
    assert len(rest["data"]) == 1
    assert rest["next"] is None
    assert len(await gateway.get("/positions", book_id="paper-main")) == 2


async def test_the_result_of_a_price_gap_is_no_open_position(gateway: Any) -> None:
    await gateway.archive(a_position(token=USDC, quantity=0, cost=0, realised=5 * 10**6, opened_block=None))
    assert await gateway.get("/positions") == []
    assert (await gateway.get("/overview"))["positions"] == []


async def test_closed_positions_are_listed_only_on_request(gateway: Any) -> None:
    await gateway.archive(a_position(), a_position(position_version=2, quantity=0))
    assert await gateway.get("/positions") == []
    assert [position["quantity"] for position in await gateway.get("/positions", closed=True)] == ["0"]


async def test_an_older_version_of_a_position_never_replaces_a_newer_one(gateway: Any) -> None:
    await gateway.archive(a_position(position_version=2, quantity=5), a_position(position_version=1, quantity=9))
    assert [position["quantity"] for position in await gateway.get("/positions")] == ["5"]


async def test_decisions_are_found_by_book_and_subject(gateway: Any) -> None:
    await gateway.archive(a_decision(1), a_decision(2, "live-devnet"))
    for path in ("/decisions", "/thoughts"):
        assert len(await gateway.get(path, book_id="live-devnet")) == 1
        assert len(await gateway.get(path, subject_id=f"{1:032x}")) == 1


async def test_decisions_are_those_of_the_only_chain_or_of_the_one_that_is_named(open_gateway: Any) -> None:
    gateway = await open_gateway(chains="8453")
    elsewhere = a_decision(2).model_copy(update={"chain_id": 8453, "content_hash": ""})
    await gateway.archive(a_decision(1), DecisionRecorded.from_wire(elsewhere.to_wire()))
    assert [one["decision"]["chain_id"] for one in await gateway.get("/thoughts")] == [8453]
    assert [one["decision"]["chain_id"] for one in await gateway.get("/thoughts", chain_id=1)] == [1]
    several = await open_gateway(chains="1,8453")
    answer = await several.client.get("/api/v1/thoughts")
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("say which with chain_id: 1, 8453")


async def test_a_verdict_is_found_by_its_opportunity(gateway: Any) -> None:
    opportunity = an_opportunity()
    other = an_opportunity(block=a_block_ref(101))
    await gateway.archive(opportunity, other, a_verdict(opportunity), a_rejection(other))
    found = await gateway.get("/verdicts", opportunity_id=other.id)
    assert [entry["event"] for entry in found] == ["verdict.rejected"]
    assert found[0]["data"]["vetoes"] == ["the fee quote is stale"]
    assert len(await gateway.get("/opportunities", chain_id=1)) == 2


async def test_an_intent_is_listed_with_its_last_state_and_the_outcome_that_holds(gateway: Any) -> None:
    intent = an_intent(book_id="paper-main")
    steps = (a_tx(TxState.MINED, intent, sequence=3), a_tx(TxState.SIGNED, intent, sequence=1))
    await gateway.archive(intent, *steps, a_confirmed_fill(intent), a_fill(intent))
    (entry,) = await gateway.get("/intents")
    assert entry["data"]["transaction"]["state"] == "mined"
    assert entry["data"]["outcome_event"] == "fill.confirmed"
    assert len(await gateway.get("/transactions", intent_id=intent.id)) == 2
    assert len(await gateway.get("/fills", intent_id=intent.id, book_id="paper-main")) == 2


async def test_an_intent_without_news_has_no_state(gateway: Any) -> None:
    await gateway.archive(an_intent())
    (entry,) = await gateway.get("/intents")
    assert (entry["data"]["transaction"], entry["data"]["outcome"]) == (None, None)


async def test_a_failure_is_the_outcome_of_its_intent(gateway: Any) -> None:
    intent = an_intent()
    await gateway.archive(intent, a_failure(intent))
    (entry,) = await gateway.get("/intents")
    assert entry["data"]["outcome"]["reason"] == "reverted"


async def test_fees_tell_head_and_tiers_with_their_age(gateway: Any) -> None:
    gateway.desk.display.show(a_block(100))
    gateway.desk.display.show(a_fee_quote())
    gateway.clock.advance(1_500)
    (chain,) = await gateway.get("/fees")
    assert (chain["head_age_ms"], chain["fees_age_ms"]) == (1_500, 1_500)
    assert chain["fees"]["tiers"]["speed"]["max_fee_per_gas_wei"] == "30000000000"


async def test_services_are_unknown_before_they_were_asked(gateway: Any) -> None:
    services = await gateway.get("/services")
    assert len(services) == 8
    assert {service["ready"] for service in services if service["name"] != "gateway"} == {None}
    assert services[-1]["ready"] is True


# ---------------------------------------------------------------- books


async def test_a_change_of_a_book_is_a_new_version_for_everybody(gateway: Any) -> None:
    body = {"level": 3, "enabled": False, "limits": {"fast": {"max_trade": "1000000"}}, "expected_version": 1}
    changed = (await gateway.put("/books/paper-main", body))["data"]
    assert (changed["book_version"], changed["book"]["level"], changed["book"]["enabled"]) == (2, 3, False)
    assert changed["book"]["limits"]["fast"]["max_trade"] == "1000000"
    assert changed["book"]["limits"]["smart"]["max_trade"] == "10000000000"
    told = (await gateway.sent(BookChanged))[-1]
    assert (told.book.level, told.book_version) == (3, 2)


async def test_a_change_to_the_same_is_no_new_version(gateway: Any) -> None:
    assert (await gateway.put("/books/paper-main", {"level": 6}))["data"]["book_version"] == 1


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"level": 11}, 422, "level"),
        ({"level": "6"}, 422, "level"),
        ({"level": 5.5}, 422, "level"),
        ({"levle": 5}, 422, "levle"),
        ({"enabled": "yes"}, 422, "enabled"),
        ({"mode": "live"}, 422, "mode"),
        ({"limits": {"quick": {}}}, 422, "limits"),
        ({"limits": {"fast": {"capital": 2.5}}}, 422, "capital"),
        ({"limits": {"fast": {"capital": "-1"}}}, 422, "capital"),
        ({"limits": {"fast": {"max_trade": "990000000000"}}}, 409, "max_trade may not exceed the capital"),
        ({"level": 4, "expected_version": 7}, 409, "is at version 1 now, not 7"),
    ],
)
async def test_a_change_that_breaks_the_rules_is_refused(
    gateway: Any, body: dict[str, Any], status: int, sentence: str
) -> None:
    answer = await gateway.put("/books/paper-main", body, status)
    assert sentence in answer["detail"]
    assert (await gateway.get("/books/paper-main"))["book_version"] == 1


async def test_a_change_of_an_unknown_book_is_refused(gateway: Any) -> None:
    await gateway.put("/books/nope", {"level": 1}, 404)


# ---------------------------------------------------------------- halt and resume


async def test_a_halt_is_stored_published_and_shown_at_once(gateway: Any) -> None:
    (status,) = (await gateway.post("/halt", {"scope": "halted", "reason": "drill"}))["data"]["chains"]
    assert status["effective"] == "halted"
    word = (await gateway.sent(TradingStatus))[-1]
    assert (word.status, word.source, word.reason, word.status_version) == (Status.HALTED, "operator", "drill", 2)
    assert (await gateway.get("/feed"))[0]["headline"] == "operator says halted"


async def test_a_halt_never_loosens(gateway: Any) -> None:
    await gateway.post("/halt", {"scope": "halted", "reason": "drill"})
    (status,) = (await gateway.post("/halt", {"scope": "reducing", "reason": "less"}))["data"]["chains"]
    assert status["effective"] == "halted"


async def test_resume_goes_back_in_steps_and_says_when_nothing_is_held(gateway: Any) -> None:
    await gateway.post("/halt", {"scope": "halted", "reason": "drill"})
    (status,) = await gateway.resume("let exits go", to="reducing")
    assert status["effective"] == "reducing"
    await gateway.resume("all is well")
    refused = await gateway.post("/resume", {"reason": "again"}, 409)
    assert refused["detail"] == "operator holds nothing back that 'active' would release"


async def test_trading_goes_on_only_when_no_other_source_holds_it(gateway: Any) -> None:
    await gateway.desk.statuses.remember(a_status(Status.REDUCING, "breaker-losses"))
    gateway.desk.display.show(a_status(Status.REDUCING, "breaker-losses"))
    await gateway.post("/halt", {"scope": "halted", "reason": "drill"})
    (status,) = await gateway.resume("over")
    assert status["effective"] == "reducing"
    assert status["sources"][0]["source"] == "breaker-losses"


async def test_a_breaker_is_not_released_from_outside(gateway: Any) -> None:
    await gateway.desk.statuses.remember(a_status(Status.HALTED, "breaker-losses"))
    refused = await gateway.post("/resume", {"reason": "go", "source": "breaker-losses"}, 409)
    assert "releases its halt itself" in refused["detail"]


@pytest.mark.parametrize("source", ["portfolio", "gas"])
async def test_the_halt_of_a_failed_service_or_for_dear_gas_can_be_released(gateway: Any, source: str) -> None:
    word = a_status(Status.HALTED, source, status_version=1_700_000_000_000)
    await gateway.desk.statuses.remember(word)
    seen = {word.chain_id: word.status_version}
    await gateway.post("/resume", {"reason": "looked at and understood", "source": source, "seen": seen})
    told = (await gateway.sent(TradingStatus))[-1]
    assert (told.source, told.status, told.status_version) == (source, Status.ACTIVE, 1_700_000_000_001)
    assert told.reason == "looked at and understood"


async def test_a_resume_releases_only_the_halt_that_was_seen(gateway: Any) -> None:
    await gateway.post("/halt", {"scope": "halted", "reason": "a drill"})
    ((seen,),) = [row["sources"] for row in await gateway.get("/status")]
    await gateway.post("/halt", {"scope": "halted", "reason": "a second operator saw fire"})
    resume = {"reason": "the drill is over", "seen": {1: seen["version"]}}
    refused = await gateway.post("/resume", resume, 409)
    assert "operator on chain 1 says halted (version 3): a second operator saw fire; and before" in refused["detail"]
    assert (await gateway.get("/status"))[0]["effective"] == "halted"
    (status,) = await gateway.resume("the fire is out, too")
    assert status["effective"] == "active"


async def test_a_resume_that_does_not_say_what_was_seen_is_refused_and_told_what_holds(gateway: Any) -> None:
    await gateway.post("/halt", {"scope": "reducing", "reason": "a drill"})
    refused = await gateway.post("/resume", {"reason": "go"}, 428)
    assert refused["detail"].endswith("now operator on chain 1 says reducing (version 2): a drill")
    assert "`seen`" in refused["detail"]
    assert (await gateway.get("/status"))[0]["effective"] == "reducing"


async def test_a_chain_that_was_halted_unseen_is_not_released_with_the_others(open_gateway: Any) -> None:
    gateway = await open_gateway(chains=(1, 8453))
    await gateway.post("/halt", {"scope": "halted", "reason": "a drill", "chain_id": 1})
    seen = {row["chain_id"]: row["sources"][0]["version"] for row in await gateway.get("/status")}
    await gateway.post("/halt", {"scope": "reducing", "reason": "reorgs", "chain_id": 8453})
    for unseen in (seen, {1: seen[1]}):
        refused = await gateway.post("/resume", {"reason": "over", "seen": unseen}, 409)
        assert "operator on chain 8453 says reducing (version 2): reorgs" in refused["detail"]
    await gateway.post("/resume", {"reason": "over", "seen": seen, "chain_id": 1})
    assert [row["effective"] for row in await gateway.get("/status")] == ["active", "reducing"]


async def test_a_service_that_failed_again_is_not_released_with_the_failure_before(gateway: Any) -> None:
    for version in (7, 9):
        await gateway.desk.statuses.remember(a_status(Status.HALTED, "portfolio", status_version=version))
    refused = await gateway.post("/resume", {"reason": "looked at 7", "source": "portfolio", "seen": {1: 7}}, 409)
    assert "portfolio on chain 1 says halted (version 9)" in refused["detail"]


async def test_a_halt_on_top_of_another_keeps_both_reasons_and_the_stricter_level(gateway: Any) -> None:
    for scope, reason in (("halted", "fire"), ("reducing", "lunch"), ("reducing", "lunch"), ("halted", "fire")):
        (status,) = (await gateway.post("/halt", {"scope": scope, "reason": reason}))["data"]["chains"]
    (word,) = status["sources"]
    assert (word["status"], word["version"], word["reason"]) == ("halted", 3, "lunch; and before that: fire")


async def test_reasons_of_halts_do_not_grow_for_ever(gateway: Any) -> None:
    for number in range(20):
        await gateway.post("/halt", {"scope": "halted", "reason": f"reason {number}"})
    (word,) = (await gateway.get("/status"))[0]["sources"]
    assert word["reason"].split("; and before that: ") == [f"reason {number}" for number in range(19, 11, -1)]


@pytest.mark.parametrize(
    "body",
    [
        {"scope": "halted"},
        {"scope": "halted", "reason": ""},
        {"scope": "active", "reason": "no"},
        {"scope": "halted", "reason": "x" * 501},
        {"scope": "halted", "reason": "x", "force": True},
    ],
)
async def test_a_halt_needs_a_scope_and_a_reason(gateway: Any, body: dict[str, Any]) -> None:
    await gateway.post("/halt", body, 422)
    assert await gateway.sent(TradingStatus) == [(await gateway.sent(TradingStatus))[0]]


# ---------------------------------------------------------------- closing by hand

CLOSE = {"book_id": "paper-main", "token": WETH.address, "reason": "I want out"}


async def test_a_manual_close_is_an_exit_to_the_lane_that_holds_the_token(gateway: Any) -> None:
    gateway.desk.display.show(a_block(100))
    await gateway.archive(a_position(book_id="paper-main", lane=Lane.SMART, quantity=700))
    body = (await gateway.post("/positions/close", CLOSE, 202))["data"]
    (exit_,) = await gateway.sent(ExitTriggered)
    assert (exit_.lane, exit_.quantity, exit_.reason, exit_.mode) == (Lane.SMART, 700, ExitReason.MANUAL, Mode.PAPER)
    assert (exit_.detail, exit_.block) == ("I want out", a_block_ref(100))
    assert body["exit"]["id"] == exit_.id
    assert body["repeated"] is False


async def test_a_second_click_is_the_same_exit_but_a_later_one_is_a_new_try(gateway: Any) -> None:
    gateway.desk.display.show(a_block(100))
    await gateway.archive(a_position(book_id="paper-main"))
    await gateway.post("/positions/close", CLOSE, 202)
    assert (await gateway.post("/positions/close", CLOSE, 202))["data"]["repeated"] is True
    assert len(await gateway.sent(ExitTriggered)) == 1
    gateway.clock.advance(30_000)
    assert (await gateway.post("/positions/close", CLOSE, 202))["data"]["repeated"] is False
    assert len(await gateway.sent(ExitTriggered)) == 2


async def test_a_part_can_be_closed_but_not_more_than_is_held(gateway: Any) -> None:
    gateway.desk.display.show(a_block(100))
    await gateway.archive(a_position(book_id="paper-main", quantity=700))
    await gateway.post("/positions/close", {**CLOSE, "quantity": "701"}, 409)
    await gateway.post("/positions/close", {**CLOSE, "quantity": "0"}, 422)
    await gateway.post("/positions/close", {**CLOSE, "quantity": "300"}, 202)
    assert [exit_.quantity for exit_ in await gateway.sent(ExitTriggered)] == [300]


async def test_closing_says_which_account_when_both_lanes_hold_the_token(gateway: Any) -> None:
    gateway.desk.display.show(a_block(100))
    held = [a_position(book_id="paper-main", lane=lane) for lane in Lane]
    await gateway.archive(*held)
    refused = await gateway.post("/positions/close", CLOSE, 409)
    assert held[0].account in refused["detail"]
    await gateway.post("/positions/close", {**CLOSE, "account": held[1].account}, 202)
    assert [exit_.lane for exit_ in await gateway.sent(ExitTriggered)] == [Lane.SMART]


async def test_closing_is_refused_where_it_cannot_work(gateway: Any) -> None:
    await gateway.post("/positions/close", CLOSE, 404)
    await gateway.archive(a_position(book_id="paper-main"))
    await gateway.post("/positions/close", CLOSE, 503)
    gateway.desk.display.show(a_block(100))
    await gateway.post("/halt", {"scope": "halted", "reason": "drill"})
    refused = await gateway.post("/positions/close", CLOSE, 409)
    assert "resume to 'reducing' first" in refused["detail"]
    await gateway.post("/positions/close", {**CLOSE, "token": USDC.address}, 404)
    await gateway.post("/positions/close", {**CLOSE, "book_id": "nope"}, 404)
    assert await gateway.sent(ExitTriggered) == []


async def test_levels_are_published_and_asked_for_by_anybody(gateway: Any) -> None:
    rows = await gateway.get("/levels")
    assert [LevelLimits.model_validate(row) for row in rows] == list(LEVELS.values())


@pytest.mark.parametrize("level", [0, 11, "6", 6.5])
async def test_a_level_that_is_not_published_changes_nothing(gateway: Any, level: Any) -> None:
    refused = await gateway.put("/books/paper-main", {"level": level}, status=422)
    assert "level" in refused["detail"]
    assert (await gateway.get("/books/paper-main"))["book"]["level"] == 6
