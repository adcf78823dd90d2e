"""From a verdict through a person's word to the intent: the real executor and the real gateway, without a broker."""

from __future__ import annotations

from pathlib import Path

import httpx
import sqlalchemy as sa

from dexlane.events.confirmations import ConfirmationGiven, ConfirmationRequested
from dexlane.events.execution import FillConfirmed, IntentCreated, Purpose
from dexlane.runtime.journal import outbox
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.observability import Log, Metrics
from dexlane.testing.builders import a_block
from dexlane.testing.live_bench import Bench, Home, live_book, running
from dexlane.values.controls import USUAL_LIVE_CONTROLS
from gateway.api import build_api
from gateway.api.desk import Desk, Surroundings, make_desk
from gateway.records import add
from gateway.settings import Settings

TOKEN = "t" * 43


async def a_gateway(folder: Path, bench: Bench, log: Log) -> Desk:
    """A gateway that has seen the bench's tip."""
    settings = Settings(data_dir=folder)
    desk = make_desk(settings, Surroundings(bench.clock, Metrics("gateway"), log, own=dict))
    await upgrade(settings.database("gateway"), "gateway")
    desk.token.use(TOKEN)
    desk.door.is_open = True
    desk.display.show(a_block(bench.chain.tip.number))
    return desk


async def given_by(desk: Desk) -> ConfirmationGiven:
    async with desk.journal.reading() as conn:
        rows = (await conn.execute(sa.select(outbox).order_by(outbox.c.sequence))).all()
    (payload,) = [row.payload for row in rows if ".confirmation.given" in row.subject]
    return ConfirmationGiven.from_wire(payload)


async def test_a_new_live_book_trades_only_what_a_person_confirmed(tmp_path: Path, database_url: str, log: Log) -> None:
    """With the usual controls of a live book, of which caps alone are off: ten dollars do not pay their gas here."""
    book = live_book(controls=USUAL_LIVE_CONTROLS.model_copy(update={"caps": ()}))
    async with running(Home(tmp_path, database_url), book) as bench:
        verdict = bench.verdict(blocks=10)
        await bench.executor.on_verdict(verdict)
        (request,) = [event for event in await bench.events() if isinstance(event, ConfirmationRequested)]
        assert len(request.reasons) == 3, "among the first, above 100 dollars, a new token"
        assert not [event for event in await bench.events() if isinstance(event, IntentCreated) and event.verdict]

        (tmp_path / "gateway").mkdir()
        desk = await a_gateway(tmp_path / "gateway", bench, log)
        async with desk.journal.transaction() as tx:
            await add(tx.conn, request)
        transport = httpx.ASGITransport(build_api(desk), client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080/api/v1") as client:
            listed = (await client.get("/confirmations")).json()["data"]
            assert [one["request"]["id"] for one in listed] == [request.id]
            answer = await client.post(
                f"/confirmations/{request.id}/confirm",
                json={"reason": "looked at it"},
                headers={"Authorization": f"Bearer {TOKEN}"},
            )
            assert answer.status_code == 202, answer.text
        await bench.executor.on_confirmation(await given_by(desk))
        await desk.journal.stop()

        for _ in range(3):
            await bench.head()
        intent_id = IntentCreated.make_id(book.id, verdict.id, Purpose.ENTRY)
        assert len(await bench.of_intent(intent_id, FillConfirmed)) == 1
        assert bench.effects() == 1
