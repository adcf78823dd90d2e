"""The gateway, put together top to bottom."""

from __future__ import annotations

from dexlane.events.control import BookChanged, TradingStatus
from dexlane.runtime.books_file import BooksFile, load_books
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.service import Service, run
from gateway.api import build_api
from gateway.api.access import obtain_token
from gateway.api.desk import Desk, Surroundings, make_desk
from gateway.books import event_of, refuse_unsafe_books
from gateway.handlers import Deps, routes
from gateway.projections.recovery import last_value, learn_tokens, rebuild, take_up_chains
from gateway.records import keep_bounded
from gateway.settings import Settings
from gateway.statuses import OPERATOR

DRAIN_S = 5.0


def build(settings: Settings) -> Service:
    """The service with everything it needs."""
    service = Service("gateway", settings)
    desk = make_desk(settings, Surroundings(service.clock, service.metrics, service.log, own=service.why_not_ready))
    display, journal, moments = desk.display, desk.journal, desk.moments
    service.mount(build_api(desk))
    service.include(routes(Deps(journal, desk.statuses, display, moments, settings.realm)))

    async def start() -> None:
        desk.token.use(obtain_token(settings))
        await upgrade(settings.database("gateway"), "gateway")
        await journal.recover()
        await take_up_chains(journal, service)
        await load(desk, service)
        await desk.emergency.load()
        await show_what_is_known(desk, service)
        desk.door.is_open = True

    async def stop() -> None:
        await journal.drained(DRAIN_S)
        await journal.stop()
        await desk.redis.aclose()

    service.on_start(start)
    service.on_stop(stop)
    service.background("outbox", lambda: journal.relay(service.bus))
    service.background("health", display.health.run)
    service.background("signs of life", lambda: desk.paths.give_signs_of_life(service.bus))
    service.background("halts told again", desk.paths.run)
    service.background("emergency stop", desk.emergency.run)
    service.background("confirmations", desk.confirmations.run)
    service.background("archive", lambda: keep_bounded(journal, settings, moments))
    service.background("overview", lambda: display.run(lambda: moments.clients(display.hub.size, display.hub.dropped)))
    return service


async def load(desk: Desk, service: Service) -> None:
    """Merge the books file, the journal and the last values on the bus; ``Fatal`` when they do not fit together."""
    settings = desk.settings
    file = load_books(settings.books_file, roles=settings.roles)
    refuse_unsafe_books(file.books, settings)
    desk.moments.books_loaded(await desk.books.load(file, await _published(file, service)))
    refuse_unsafe_books((version.book for version in desk.books.current.values()), settings)
    words = [await last_value(service.bus, TradingStatus, chain, OPERATOR) for chain in settings.chains]
    await desk.statuses.load(word for word in words if word)
    await desk.paths.load(desk.statuses.operator_level)


async def _published(file: BooksFile, service: Service) -> dict[str, int]:
    values = [await last_value(service.bus, BookChanged, book.chain_id, book.id) for book in file.books]
    return {value.book.id: value.book_version for value in values if value}


async def show_what_is_known(desk: Desk, service: Service) -> None:
    """Fill the live picture before the first event arrives."""
    for version in desk.books.current.values():
        desk.display.show(event_of(version, service.clock.now_ms()))
    for chain_id in desk.settings.chains:
        await learn_tokens(desk.display.picture, service.bus, chain_id)
    await rebuild(desk.display.picture, desk.journal, desk.statuses)


def main() -> None:
    """Run the gateway."""
    run(build, Settings)
