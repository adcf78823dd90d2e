"""Trades that wait for a person: asked once, answered once, over with their deadline, whatever restarts in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dexlane.events.confirmations import ConfirmationGiven
from dexlane.events.risk import DecisionRecorded
from dexlane.testing.builders import USDC, a_block, a_confirmation_request, a_plan
from dexlane.values.chains import NATIVE
from gateway import records
from gateway.statuses.confirmations import ConfirmationOver, ConfirmationQueue, ConfirmationState, ConfirmationView

if TYPE_CHECKING:
    from conftest import Gateway, Make

REQUEST = a_confirmation_request()
ANSWER = {"reason": "looked at it"}


async def waiting(gateway: Gateway, head: int = 100) -> None:
    gateway.desk.display.show(a_block(head))
    await gateway.archive(REQUEST)


async def states(gateway: Gateway, **query: Any) -> list[str]:
    return [one["state"] for one in await gateway.get("/confirmations", **query)]


async def test_what_is_asked_waits_and_is_confirmed_once(gateway: Gateway) -> None:
    await waiting(gateway)
    assert await states(gateway) == ["waiting"]
    answer = await gateway.post(f"/confirmations/{REQUEST.id}/confirm", ANSWER, 202)
    assert answer["data"]["state"] == "confirmed"
    again = await gateway.post(f"/confirmations/{REQUEST.id}/confirm", ANSWER, 409)
    assert "this request is confirmed: looked at it" in again["detail"]
    (given,) = await gateway.sent(ConfirmationGiven)
    assert (given.request_id, given.book_id, given.verdict) == (REQUEST.id, REQUEST.book_id, REQUEST.verdict)
    assert (given.max_amount_in, given.lane) == (REQUEST.plan.amount_in, REQUEST.lane)
    (recorded,) = await gateway.sent(DecisionRecorded)
    assert (recorded.outcome, recorded.subject_id) == ("confirmation_confirmed", REQUEST.verdict.id)
    assert await states(gateway) == []
    assert await states(gateway, all=True) == ["confirmed"]


async def test_what_is_paid_and_bought_is_named_as_far_as_it_is_known(gateway: Gateway) -> None:
    await waiting(gateway)
    await gateway.archive(a_confirmation_request(book_id="another", plan=a_plan(native_in=True)))
    gateway.desk.display.picture.tokens.learn(1, (USDC,))
    listed = await gateway.get("/confirmations")
    named = {one["request"]["book_id"]: (one["paid"], one["bought"]) for one in listed}
    ether = {"address": NATIVE, "symbol": "ETH", "decimals": 18}
    assert named == {REQUEST.book_id: (USDC.model_dump(), None), "another": (ether, None)}
    answer = await gateway.post(f"/confirmations/{REQUEST.id}/decline", ANSWER)
    assert answer["data"]["paid"] == USDC.model_dump()


async def test_what_is_declined_is_never_given(gateway: Gateway) -> None:
    await waiting(gateway)
    await gateway.post(f"/confirmations/{REQUEST.id}/decline", {"reason": "too odd"})
    await gateway.post(f"/confirmations/{REQUEST.id}/confirm", ANSWER, 409)
    assert await gateway.sent(ConfirmationGiven) == []
    assert [one.outcome for one in await gateway.sent(DecisionRecorded)] == ["confirmation_declined"]


async def test_a_request_is_over_with_its_deadline(gateway: Gateway) -> None:
    await waiting(gateway, REQUEST.deadline_block - 1)
    assert await gateway.desk.confirmations.expire() == 0
    gateway.desk.display.show(a_block(REQUEST.deadline_block))
    await gateway.post(f"/confirmations/{REQUEST.id}/confirm", ANSWER, 409)
    assert await gateway.desk.confirmations.expire() == 1
    assert await gateway.desk.confirmations.expire() == 0
    assert await states(gateway, all=True) == ["expired"]
    assert [one.outcome for one in await gateway.sent(DecisionRecorded)] == ["confirmation_expired"]
    assert await gateway.sent(ConfirmationGiven) == []


@pytest.mark.parametrize("word", ["confirm", "decline"])
async def test_an_answer_that_comes_while_a_request_expires_stands(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    await waiting(gateway)
    queue = gateway.desk.confirmations
    seen = await queue.listed(None, everything=False)
    await getattr(queue, word)(REQUEST.id, "looked at it")

    async def as_seen(*_: Any, **__: Any) -> list[ConfirmationView]:
        return seen

    monkeypatch.setattr(ConfirmationQueue, "listed", as_seen)
    gateway.desk.display.show(a_block(REQUEST.deadline_block))
    assert await queue.expire() == 0
    monkeypatch.undo()
    assert await states(gateway, all=True) == [f"{word.removesuffix('e')}ed"]
    assert len(await gateway.sent(DecisionRecorded)) == 1


async def test_an_answer_to_what_was_settled_since_it_was_read_is_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiting(gateway)
    queue = gateway.desk.confirmations
    await queue.decline(REQUEST.id, "too odd")
    unread = ConfirmationView(state=ConfirmationState.WAITING, request=REQUEST)
    monkeypatch.setattr(ConfirmationQueue, "_current", lambda *_: unread)
    with pytest.raises(ConfirmationOver):
        await queue.confirm(REQUEST.id, "looked at it")
    monkeypatch.undo()
    assert await states(gateway, all=True) == ["declined"]
    assert await gateway.sent(ConfirmationGiven) == []


async def test_a_settled_request_goes_with_the_retention_and_one_that_waits_stays(gateway: Gateway) -> None:
    await waiting(gateway)
    await gateway.archive(a_confirmation_request(book_id="another"))
    await gateway.post(f"/confirmations/{REQUEST.id}/decline", ANSWER)
    for older_than_ms, left in ((0, 2), (1 << 62, 1)):
        async with gateway.desk.journal.transaction() as tx:
            await records.prune(tx.conn, rows_per_event=100, older_than_ms=older_than_ms)
        assert len(await states(gateway, all=True)) == left
    assert await states(gateway) == ["waiting"]


async def test_a_request_delivered_again_after_its_answer_stays_answered(gateway: Gateway, open_gateway: Make) -> None:
    await waiting(gateway)
    await gateway.post(f"/confirmations/{REQUEST.id}/decline", ANSWER)
    again = await open_gateway()
    await waiting(again)
    assert await states(again, all=True) == ["declined"]


async def test_a_queue_outlives_a_restart(gateway: Gateway, open_gateway: Make) -> None:
    await waiting(gateway)
    again = await open_gateway()
    assert await states(again) == ["waiting"]
    refused = await again.post(f"/confirmations/{REQUEST.id}/confirm", ANSWER, 503)
    assert "no block of chain 1 was seen yet" in refused["detail"]


@pytest.mark.parametrize("word", ["confirm", "decline"])
async def test_an_answer_needs_a_token_a_reason_and_a_request(gateway: Gateway, word: str) -> None:
    await waiting(gateway)
    bare = await gateway.client.post(f"/api/v1/confirmations/{REQUEST.id}/{word}", json=ANSWER)
    assert bare.status_code == 401
    await gateway.post(f"/confirmations/{REQUEST.id}/{word}", {"reason": ""}, 422)
    missing = await gateway.post(f"/confirmations/{'0' * 32}/{word}", ANSWER, 404)
    assert "list the confirmations first" in missing["detail"]


async def test_requests_are_listed_by_book(gateway: Gateway) -> None:
    await waiting(gateway)
    await gateway.archive(a_confirmation_request(book_id="another"))
    assert len(await states(gateway)) == 2
    assert len(await states(gateway, book_id="another")) == 1
