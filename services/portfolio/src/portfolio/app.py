"""The portfolio: fills to an exact ledger, positions and exits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dexlane.domain.breakers.policy import policies
from dexlane.events.seals import Approver
from dexlane.runtime.breaker_board import BoardPlace, BreakerBoard, BreakerMoments
from dexlane.runtime.journal import Journal
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.runtime.sealing import Approving, sealer_from
from dexlane.runtime.service import Service, run
from portfolio.accounting import Accounting
from portfolio.handlers import Deps, http_app, routes
from portfolio.marks import Announcer, ExitWatch, Marks, SideValues
from portfolio.marks.results import ResultBreakers
from portfolio.metrics import Moments
from portfolio.settings import Settings


def build(settings: Settings) -> Service:
    """Wire the service from its settings."""
    service = Service("portfolio", settings, handles_money=True)
    clock = service.clock
    url = settings.database("portfolio")
    journal = Journal(url, clock=clock, log=service.log, realm=settings.realm)
    mirrors = {chain_id: PoolMirror(chain_id) for chain_id in settings.chains}
    marks = Marks(mirrors, clock, settings.max_block_age_ms)
    moments = Moments(service.log, service.metrics)
    sides = SideValues()
    results = ResultBreakers(_boards(service, settings), sides.books, journal)
    announcer = Announcer(marks, moments, results.valued)
    accounting = Accounting(journal, announcer, moments, results.sold)
    approving = Approving(Approver.PORTFOLIO, sealer_from(settings.approval_key_file), settings.approval_valid_s)
    watch = ExitWatch(
        journal, announcer, sides, settings.mark_every_blocks, settings.exit_patience_blocks,
        settings.flagged_exit_attempts, approving,
    )  # fmt: skip
    deps = Deps(accounting, sides, marks, journal, clock, results)

    async def open_journal() -> None:
        await upgrade(url, "portfolio")
        await accounting.verify()
        await journal.recover()
        await results.start(service.bus, service.name)

    async def close_journal() -> None:
        await journal.drained(5)
        await journal.stop()

    service.on_start(open_journal)
    service.on_stop(close_journal)
    service.background("outbox", lambda: journal.relay(service.bus))
    for chain_id, mirror in mirrors.items():
        mirror.on_block(watch.on_block)
        mirror.on_block(results.on_block)
        service.background(f"mirror {chain_id}", _following(mirror, service))
        service.ready_when(f"mirror {chain_id}", _probe(mirror, service, settings.max_block_age_ms))
    service.include(routes(deps))
    service.mount(http_app(deps))
    return service


def _boards(service: Service, settings: Settings) -> dict[int, BreakerBoard]:
    moments, limits = BreakerMoments(service.metrics, service.log), policies(settings.breakers)
    return {
        chain_id: BreakerBoard(
            BoardPlace(service=service.name, chain_id=chain_id, policies=limits, clock=service.clock, moments=moments)
        )
        for chain_id in settings.chains
    }


def _following(mirror: PoolMirror, service: Service) -> Callable[[], Awaitable[None]]:
    return lambda: mirror.run(service.bus, service.clock, service.log)


def _probe(mirror: PoolMirror, service: Service, max_age_ms: int) -> Callable[[], bool | str]:
    return lambda: mirror.why_not_current(service.clock.now_ms(), max_age_ms)


def main() -> None:
    """Entry point of ``dexlane-portfolio``."""
    run(build, Settings)
