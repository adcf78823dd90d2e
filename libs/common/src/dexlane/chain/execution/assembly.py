"""Put an executor together: journal, mirrors, one executor per chain, routes. The services add name, lane and rules."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dexlane.chain.calldata import router_of
from dexlane.chain.direct_calls import routers_of
from dexlane.chain.execution import slots as store
from dexlane.chain.execution.executor import Executor, ExecutorParts
from dexlane.chain.execution.last_values import load_last_values
from dexlane.chain.execution.live import LiveAccess
from dexlane.chain.execution.moments import ExecutionMoments
from dexlane.chain.execution.reservations import MINUTE_MS, Reservations
from dexlane.chain.execution.routes import ExecutionDeps
from dexlane.chain.execution.settings import ExecutorSettings
from dexlane.chain.execution.side_values import SideValues
from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.rpc import Rpc, RpcClient
from dexlane.domain.circumstances import PlanningRules
from dexlane.runtime.journal import Journal
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.runtime.service import Service
from dexlane.values.books import Lane

MIGRATIONS = "dexlane.chain"
CONNECT_WAIT_S = 5.0
DRAIN_S = 5.0


class NodeConnection:
    """A node client that connects when it is first asked for."""

    def __init__(self, url: str, name: str, chain_id: int) -> None:
        self._client = RpcClient(url, name=name, policy=LinkPolicy(jitter=random.random), chain_id=chain_id)
        self._started = False

    async def connect(self) -> Rpc:
        """The connected client. ``RpcUnavailable`` when the node does not answer yet; ask again."""
        if not self._started:
            self._started = True
            await self._client.start()
        await self._client.wait_connected(CONNECT_WAIT_S)
        return NodeRpc(self._client)

    async def stop(self) -> None:
        """Close."""
        if self._started:
            await self._client.stop()


@dataclass(frozen=True)
class _Shared:
    """What all chains of one service have in common."""

    service: Service
    settings: ExecutorSettings
    lane: Lane
    rules: PlanningRules
    journal: Journal
    moments: ExecutionMoments
    side: SideValues
    reservations: Reservations


def assemble(
    service: Service, settings: ExecutorSettings, lane: Lane, rules: PlanningRules, moments: ExecutionMoments
) -> ExecutionDeps:
    """Build the executors of every chain and hang them into the service; returns what the routes need."""
    url = settings.database(service.name)
    journal = Journal(url, clock=service.clock, log=service.log, realm=settings.realm, direct=True)
    shared = _Shared(service, settings, lane, rules, journal, moments, SideValues(), Reservations())
    executors: dict[int, Executor] = {}

    async def open_journal() -> None:
        await upgrade(url, MIGRATIONS)
        await journal.recover()
        async with journal.reading() as conn:
            since_ms = service.clock.now_ms() - MINUTE_MS
            shared.reservations.restore(await store.load_reservations(conn, since_ms))
        for chain_id, executor in executors.items():
            await load_last_values(service.bus, shared.side, chain_id)
            executor.books_changed()

    async def close_journal() -> None:
        await journal.drained(DRAIN_S)
        await journal.stop()

    service.on_start(open_journal)
    service.on_stop(close_journal)
    service.background("outbox", lambda: journal.relay(service.bus))
    for chain_id in settings.chains:
        executors[chain_id] = _executor(chain_id, shared)
    return ExecutionDeps(service.name, lane, executors, shared.side)


def _executor(chain_id: int, shared: _Shared) -> Executor:
    service, settings = shared.service, shared.settings
    node = NodeConnection(settings.rpc_ws_urls[chain_id][0], f"{service.name}-{chain_id}", chain_id)
    mirror = PoolMirror(chain_id)
    access = LiveAccess(
        chain_id=chain_id,
        lane=shared.lane,
        url=settings.rpc_ws_urls[chain_id][0],
        connect=node.connect,
        key_files=settings.key_files(),
        guard_path=settings.data_dir / f"{service.name}-guard-{chain_id}.db",
        is_devnet_expected=settings.network == "devnet",
        real_money_words=settings.live_trading_on_real_chains,
        deployment=router_of(chain_id),
        others=routers_of(chain_id)[1:],
        signing=settings.signing_rules(),
        sending=settings.send_policy(),
    )
    parts = ExecutorParts(
        service=service.name,
        lane=shared.lane,
        mirror=mirror,
        journal=shared.journal,
        clock=service.clock,
        moments=shared.moments,
        side=shared.side,
        reservations=shared.reservations,
        rules=shared.rules,
    )
    executor = Executor(parts, access)

    async def close() -> None:
        await executor.live.close()
        await node.stop()

    service.on_stop(close)
    service.background(f"mirror {chain_id}", _following(mirror, service))
    service.background(f"settle {chain_id}", executor.run)
    service.ready_when(f"mirror {chain_id}", _probe(mirror, service, settings.max_state_age_ms))
    service.ready_when(f"books {chain_id}", executor.why_not_ready)
    return executor


def _following(mirror: PoolMirror, service: Service) -> Callable[[], Awaitable[None]]:
    return lambda: mirror.run(service.bus, service.clock, service.log)


def _probe(mirror: PoolMirror, service: Service, max_age_ms: int) -> Callable[[], bool | str]:
    return lambda: mirror.why_not_current(service.clock.now_ms(), max_age_ms)
