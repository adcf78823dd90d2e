"""paper-sim: paper intents to simulated fills. Holds no key and cannot reach one."""

from __future__ import annotations

from dexlane.runtime.journal import Journal
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.runtime.service import Service, run
from paper_sim.exchange import PaperExchange, Terms
from paper_sim.handlers import routes
from paper_sim.metrics import Moments
from paper_sim.settings import Settings


def build(settings: Settings) -> Service:
    """The service, ready to run."""
    service = Service("paper-sim", settings)
    url = settings.database("paper-sim")
    journal = Journal(url, clock=service.clock, log=service.log, realm=settings.realm)
    moments = Moments(service.log, service.metrics)
    terms = Terms(
        model=settings.model, confirmations=settings.confirmations, opening_native_wei=settings.opening_native_wei
    )
    mirrors = {chain_id: PoolMirror(chain_id) for chain_id in settings.chains}
    exchanges = {
        chain_id: PaperExchange(mirror, journal, terms, clock=service.clock, moments=moments)
        for chain_id, mirror in mirrors.items()
    }

    async def recover() -> None:
        await upgrade(url, "paper_sim")
        await journal.recover()
        for exchange in exchanges.values():
            await exchange.load()

    async def flush() -> None:
        await journal.drained(5)
        await journal.stop()

    service.on_start(recover)
    service.on_stop(flush)
    service.background("outbox", lambda: journal.relay(service.bus))
    for chain_id, mirror in mirrors.items():
        mirror.on_block(exchanges[chain_id].on_block)
        mirror.on_reorg(exchanges[chain_id].on_reorg)
        _follow(service, mirror, settings.max_block_age_ms)
    service.include(routes(exchanges))
    return service


def _follow(service: Service, mirror: PoolMirror, max_age_ms: int) -> None:
    name = f"mirror {mirror.chain_id}"
    service.background(name, lambda: mirror.run(service.bus, service.clock, service.log))
    service.ready_when(name, lambda: mirror.why_not_current(service.clock.now_ms(), max_age_ms))


def main() -> None:
    """Entry point."""
    run(build, Settings)
