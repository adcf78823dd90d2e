"""Rules of merging the books file with what was set through the API, and of what a start tells the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dexlane.events.control import BookChanged, Status, TradingStatus
from dexlane.runtime.books_file import BooksFile, default_books_text, parse_books
from dexlane.runtime.consuming import Delivery
from dexlane.runtime.errors import Fatal, Transient
from dexlane.testing.builders import a_book, a_status
from dexlane.values.base import digest
from dexlane.values.books import Book, Mode
from gateway.books import refuse_unsafe_books
from gateway.handlers import Deps, routes
from gateway.settings import Settings
from gateway.statuses import StatusKeeper, StatusRefused
from gateway.statuses import keeper as keeper_module

REAL_MONEY = "I accept that real money can be lost"


@pytest.fixture
def settings_for(tmp_path: Path, database_url: str) -> Callable[..., Settings]:
    """What the journal keeps is the same on both databases."""

    def make(**changes: Any) -> Settings:
        return Settings(**{"data_dir": tmp_path, "database_url": database_url, **changes})

    return make


def a_file(*changes: tuple[str, str]) -> BooksFile:
    text = default_books_text()
    for old, new in changes:
        text = text.replace(old, new)
    books = parse_books(text, roles=Settings().roles)
    return BooksFile(books=books, digest=digest(*(book.model_dump(mode="json") for book in books)))


async def told(gateway: Any) -> list[tuple[str, int]]:
    return [(event.book.id, event.book_version) for event in await gateway.sent(BookChanged)]


async def test_the_first_start_tells_every_book_as_version_one(gateway: Any) -> None:
    assert await told(gateway) == [("live-devnet", 1), ("paper-main", 1)]


async def test_what_was_set_through_the_api_survives_a_restart(open_gateway: Any) -> None:
    first = await open_gateway()
    await first.put("/books/paper-main", {"level": 2})
    second = await open_gateway()
    assert (await second.get("/books/paper-main"))["book"]["level"] == 2


async def test_the_file_wins_when_it_changed(open_gateway: Any) -> None:
    first = await open_gateway()
    await first.put("/books/paper-main", {"level": 2})
    second = await open_gateway(a_file(("level = 6", "level = 7")))
    book = await second.get("/books/paper-main")
    assert (book["book"]["level"], book["book_version"]) == (7, 3)


async def test_a_change_of_one_book_in_the_file_releases_no_other(open_gateway: Any) -> None:
    first = await open_gateway()
    await first.put("/books/live-devnet", {"enabled": False})
    await first.put("/books/paper-main", {"level": 2})
    second = await open_gateway(a_file(("level = 6  ", "level = 7  ")))
    assert (await second.get("/books/live-devnet"))["book"]["enabled"] is False
    assert (await second.get("/books/paper-main"))["book"]["level"] == 7


async def test_a_change_of_comments_is_no_change(open_gateway: Any) -> None:
    first = await open_gateway()
    await first.put("/books/paper-main", {"level": 2})
    second = await open_gateway(a_file(("# Copy this file", "# Please copy this file")))
    assert (await second.get("/books/paper-main"))["book"]["level"] == 2


async def test_a_book_that_left_the_file_is_disabled_not_forgotten(open_gateway: Any) -> None:
    first = await open_gateway()
    await first.put("/books/paper-main", {"level": 2})
    only_live = a_file()
    only_live = BooksFile(books=only_live.books[:1], digest="other")
    second = await open_gateway(only_live)
    book = await second.get("/books/paper-main")
    assert (book["book"]["enabled"], book["book"]["level"], book["book_version"]) == (False, 2, 3)


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        ("0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266", "0x" + "7" * 40, "accounts"),
        ('mode = "live"', 'mode = "paper"', "mode"),
    ],
)
async def test_a_book_cannot_become_another_one_under_the_same_id(
    open_gateway: Any, old: str, new: str, moved: str
) -> None:
    explicit = (('live-fast"', f'{"0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"}"'), ('live-smart"', f'0x{"5" * 40}"'))
    await open_gateway(a_file(*explicit))
    with pytest.raises(Fatal, match=f"'live-devnet' changed its .*{moved}.*give the new book another id"):
        await open_gateway(a_file(*explicit, (old, new)))


async def test_a_lost_journal_continues_above_the_versions_on_the_bus(open_gateway: Any) -> None:
    gateway = await open_gateway(published={"paper-main": 7})
    assert await told(gateway) == [("live-devnet", 1), ("paper-main", 8)]


async def test_a_restored_journal_continues_above_the_versions_on_the_bus(open_gateway: Any) -> None:
    await open_gateway()
    gateway = await open_gateway(published={"paper-main": 7, "live-devnet": 1})
    assert (await told(gateway))[2:] == [("paper-main", 8)]


async def test_what_the_bus_lacks_is_told_again(open_gateway: Any) -> None:
    await open_gateway()
    again = await open_gateway(published={"paper-main": 1})
    assert (await told(again))[2:] == [("live-devnet", 1)]


# ---------------------------------------------------------------- real money


def a_live_book(**fields: Any) -> Book:
    return a_book(id="live-real", mode=Mode.LIVE, **fields)


def test_a_live_book_on_a_real_chain_is_refused_unless_accepted_in_words() -> None:
    with pytest.raises(Fatal, match="is live and the network is not the devnet"):
        refuse_unsafe_books([a_live_book()], Settings(network="remote"))
    with pytest.raises(Fatal, match=REAL_MONEY):
        refuse_unsafe_books([a_live_book()], Settings(network="remote", live_trading_on_real_chains="yes"))
    refuse_unsafe_books([a_live_book()], Settings(network="remote", live_trading_on_real_chains=REAL_MONEY))
    refuse_unsafe_books([a_live_book()], Settings(network="devnet"))
    refuse_unsafe_books([a_book()], Settings(network="remote"))


def test_an_experimental_book_trades_on_paper_alone() -> None:
    with pytest.raises(Fatal, match="is live and experimental; give it another profile"):
        refuse_unsafe_books([a_live_book(profile="experimental")], Settings(network="devnet"))
    refuse_unsafe_books([a_book(profile="experimental")], Settings(network="devnet"))


def test_an_account_whose_key_is_public_never_holds_real_money() -> None:
    settings = Settings(network="remote", live_trading_on_real_chains=REAL_MONEY)
    accounts = a_live_book().accounts | {"fast": "0xF39fd6e51aad88f6f4ce6ab8827279cfffb92266"}
    with pytest.raises(Fatal, match="whose key is public"):
        refuse_unsafe_books([a_live_book(accounts=accounts)], settings)


def test_the_devnets_roles_exist_only_on_the_devnet() -> None:
    assert "live-fast" in Settings(network="devnet").roles
    assert Settings(network="remote", live_accounts={"main": "0x" + "A" * 40}).roles == {"main": "0x" + "a" * 40}


def test_a_book_on_a_chain_that_is_not_served_is_refused() -> None:
    with pytest.raises(Fatal, match="which DEXLANE_CHAINS does not name"):
        refuse_unsafe_books([a_book(chain_id=8453)], Settings())


# ---------------------------------------------------------------- the operator's word over restarts


async def load(gateway: Any, *published: TradingStatus) -> StatusKeeper:
    keeper = StatusKeeper(gateway.desk.journal, (1,))
    await keeper.load(published)
    return keeper


async def test_a_halt_survives_a_restart(open_gateway: Any) -> None:
    first = await open_gateway()
    await first.post("/halt", {"scope": "halted", "reason": "drill"})
    second = await open_gateway()
    (status,) = await second.get("/status")
    assert (status["effective"], status["sources"][0]["reason"]) == ("halted", "drill")


async def test_a_lost_journal_never_lifts_a_halt(gateway: Any) -> None:
    keeper = await load(gateway, a_status(Status.HALTED, status_version=5))
    assert keeper.words[1, "operator"].status is Status.HALTED
    (resumed,) = await keeper.resume(Status.ACTIVE, "looked at it", {1: 5})
    assert resumed.status_version == 6


async def test_an_older_word_on_the_bus_is_replaced_by_the_journals(gateway: Any) -> None:
    await gateway.post("/halt", {"scope": "halted", "reason": "drill"})
    keeper = await load(gateway, a_status(Status.ACTIVE, status_version=1))
    assert keeper.words[1, "operator"].status is Status.HALTED
    assert [word.status_version for word in await gateway.sent(TradingStatus)] == [1, 2, 2]


async def test_the_halt_of_a_service_that_failed_is_told_again_when_the_bus_lost_it_and_its_release_after_it(
    gateway: Any,
) -> None:
    keeper = await load(gateway)
    halt = a_status(Status.HALTED, "portfolio", status_version=7)
    assert keeper.is_news(halt)
    await keeper.remember(halt)
    assert not keeper.is_news(halt)
    await keeper.remember(halt)
    await keeper.resume(Status.ACTIVE, "looked at it", {1: 7}, "portfolio")
    told = [word for word in await gateway.sent(TradingStatus) if word.source == "portfolio"]
    assert [(word.status, word.status_version) for word in told] == [(Status.HALTED, 7), (Status.ACTIVE, 8)]
    assert told[0].id == halt.id, "the bus drops it as a duplicate while it still has it"


@pytest.mark.parametrize("source", ["operator", "portfolio"])
async def test_a_halt_that_comes_while_a_resume_waits_is_not_released_with_the_one_before(
    gateway: Any, source: str
) -> None:
    keeper = gateway.desk.statuses
    await keeper.remember(a_status(Status.REDUCING, source, status_version=5))
    seen = {1: 5}
    async with gateway.desk.journal.transaction():
        halt: Any = (
            keeper.halt(Status.HALTED, "another person", (1,))
            if source == "operator"
            else keeper.remember(a_status(Status.HALTED, source, status_version=9))
        )
        said = [halt, keeper.resume(Status.ACTIVE, "looked at the first", seen, source)]
        order = said if source == "operator" else said[::-1]
        tasks = {one: asyncio.create_task(one) for one in order}
        await asyncio.sleep(0)
    newer, resumed = (tasks[one] for one in said)
    await newer
    with pytest.raises(StatusRefused):
        await resumed
    assert keeper.words[1, source].status is Status.HALTED


async def test_a_halt_that_a_service_says_while_its_release_is_stored_stays(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = gateway.desk.statuses
    await keeper.remember(a_status(Status.HALTED, "portfolio", status_version=5))
    insert, hearing = keeper_module._insert, []

    async def heard_meanwhile(conn: Any, word: TradingStatus) -> None:
        await insert(conn, word)
        if not hearing:
            newer = a_status(Status.HALTED, "portfolio", status_version=9)
            hearing.append(asyncio.create_task(keeper.remember(newer)))
            await asyncio.sleep(0)

    monkeypatch.setattr(keeper_module, "_insert", heard_meanwhile)
    await keeper.resume(Status.ACTIVE, "looked at the first", {1: 5}, "portfolio")
    await hearing[0]
    assert keeper.words[1, "portfolio"].status_version == 9
    said = [word.status_version for word in await gateway.sent(TradingStatus) if word.source == "portfolio"]
    assert said == [5, 6, 9], "the newest is told last, so that it is the last value"


async def test_breakers_and_the_signer_say_their_own_words_again(gateway: Any) -> None:
    keeper = await load(gateway)
    for source in ("breaker-gas", "signer"):
        await keeper.remember(a_status(Status.REDUCING, source, status_version=2))
    assert {word.source for word in await gateway.sent(TradingStatus)} == {"operator"}


async def test_a_halt_that_the_journal_does_not_keep_is_shown_once_and_can_be_released(
    gateway: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = gateway.desk
    consumed = routes(Deps(desk.journal, desk.statuses, desk.display, desk.moments))
    (hear,) = [route.handler for route in consumed.followers if route.event_type is TradingStatus]
    halt = a_status(Status.HALTED, "portfolio", status_version=7)
    delivery = Delivery(message_id="", subject=halt.subject(), deliveries=1, stream_sequence=1)

    def full() -> Any:
        raise Transient("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(gateway.desk.journal, "transaction", full)
        with pytest.raises(Transient):
            await hear(halt, delivery)
    await hear(halt, delivery)
    assert desk.display.picture.status(1).effective is Status.HALTED
    assert [item.headline for item in desk.display.picture.feed.items].count("portfolio says halted") == 1
    (released,) = await gateway.desk.statuses.resume(Status.ACTIVE, "looked at it", {1: 7}, "portfolio")
    assert released.status_version == 8


async def test_a_word_heard_twice_or_late_changes_nothing(gateway: Any) -> None:
    statuses = gateway.desk.statuses
    halt = a_status(Status.HALTED, "breaker-gas", status_version=2)
    await statuses.remember(halt)
    for word in (halt, a_status(Status.ACTIVE, "breaker-gas", status_version=1)):
        assert not statuses.is_news(word)
        await statuses.remember(word)
    assert statuses.words[1, "breaker-gas"] == halt
    assert (await load(gateway)).words[1, "breaker-gas"].status is Status.HALTED
