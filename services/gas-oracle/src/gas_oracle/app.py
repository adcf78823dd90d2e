"""The gas oracle: blocks in, fee quotes out."""

from __future__ import annotations

import random
from collections.abc import Callable

from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.rpc import RpcClient
from dexlane.domain.breakers.policy import policies
from dexlane.domain.fees import fee_parameters
from dexlane.events.breakers import BreakerKind
from dexlane.runtime.breaker_board import BoardPlace, BreakerMoments
from dexlane.runtime.errors import Transient
from dexlane.runtime.service import Service, run
from dexlane.runtime.spoken_breakers import SpokenBreakers
from gas_oracle.alarms import GAS, GasAlarms
from gas_oracle.fee_window import FeeWindow
from gas_oracle.handlers import Deps, routes
from gas_oracle.metrics import OracleMoments
from gas_oracle.quotes import QuoteRules
from gas_oracle.settings import Settings


def build(settings: Settings) -> Service:
    """The service."""
    service = Service("gas-oracle", settings)
    policy = LinkPolicy(jitter=random.random, call_timeout_s=settings.history_timeout_s)
    clients = {
        chain: RpcClient(settings.rpc_ws_urls[chain], name=f"fees-{chain}", policy=policy, chain_id=chain)
        for chain in settings.chains
    }
    breakers = BreakerMoments(service.metrics, service.log)
    deps = Deps(
        bus=service.bus,
        nodes={chain: NodeRpc(client) for chain, client in clients.items()},
        windows={chain: FeeWindow(fee_parameters(chain), settings.fee_windows) for chain in settings.chains},
        rules={chain: _rules(settings, chain) for chain in settings.chains},
        alarms={chain: _alarms(service, settings, chain, breakers) for chain in settings.chains},
        clock=service.clock,
        moments=OracleMoments(service.metrics, service.log),
    )
    service.include(routes(deps))
    for chain, client in clients.items():
        service.on_start(client.start)
        service.on_stop(client.stop)
        service.ready_when(f"quote {chain}", why_not_fresh(deps, chain, int(settings.quote_max_age_s * 1000)))
    return service


def _rules(settings: Settings, chain: int) -> QuoteRules:
    return QuoteRules(
        tier_blocks=settings.window_blocks,
        probability_bps=settings.inclusion_probability_bps,
        ceilings=settings.ceilings_of(chain),
    )


def _alarms(service: Service, settings: Settings, chain: int, moments: BreakerMoments) -> GasAlarms:
    ceilings, usual = settings.ceilings_of(chain), policies(settings.breakers)
    place = BoardPlace(
        service=service.name,
        chain_id=chain,
        policies=usual | {BreakerKind.GAS: ceilings.breaker(usual[BreakerKind.GAS])},
        clock=service.clock,
        moments=moments,
    )
    return GasAlarms(ceilings, SpokenBreakers(service.bus, place, (GAS,)))


def why_not_fresh(deps: Deps, chain: int, max_age_ms: int) -> Callable[[], bool | str]:
    """A readiness probe: True, or why the chain's quote cannot be relied on."""

    def probe() -> bool | str:
        try:
            deps.quotes.fresh(chain, deps.clock.now_ms(), max_age_ms)
        except Transient as stale:
            return str(stale)
        return True

    return probe


def main() -> None:
    """Console entry."""
    run(build, Settings)
