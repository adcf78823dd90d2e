"""Put an executor together: journal, mirrors, one executor per chain, routes. The services add name, lane and rules."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from dexlane.chain.calldata import router_of
from dexlane.chain.direct_calls import routers_of
from dexlane.chain.execution import slots as store
from dexlane.chain.execution.brakes import Brakes, restored_brakes
from dexlane.chain.execution.connections import NodeConnections
from dexlane.chain.execution.executor import Executor, ExecutorParts
from dexlane.chain.execution.fencing import FencedJournal, JournalLeaseStore, LeaseKey, Term
from dexlane.chain.execution.last_values import load_last_values
from dexlane.chain.execution.live import LiveAccess
from dexlane.chain.execution.market_view import MarketView
from dexlane.chain.execution.moments import ExecutionMoments
from dexlane.chain.execution.relay_board import RelayBoard, RelaySet
from dexlane.chain.execution.reservations import RECALL_MS, Reservations
from dexlane.chain.execution.routes import ExecutionDeps
from dexlane.chain.execution.seat import Seat
from dexlane.chain.execution.settings import ExecutorSettings
from dexlane.chain.execution.side_values import SideValues
from dexlane.chain.execution.told_before import ToldOnBus
from dexlane.chain.network import is_loopback
from dexlane.chain.relays.auth import AuthKey
from dexlane.chain.relays.catalogue import connected, named
from dexlane.domain.breakers.policy import policies
from dexlane.domain.circumstances import PlanningRules
from dexlane.domain.fees import fee_parameters
from dexlane.runtime.breaker_board import BoardPlace
from dexlane.runtime.database import DATABASE_ERRORS
from dexlane.runtime.disk_room import DiskRoom
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import Journal
from dexlane.runtime.lease import Lease, LeasePolicy, instance_name
from dexlane.runtime.migrate import database_file, upgrade
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.runtime.service import Service
from dexlane.values.books import Lane

MIGRATIONS = "dexlane.chain"
DRAIN_S = 5.0
SMART_P95_MS = 5_000
"""The smart lane gathers evidence and searches routes before it sends; its latency has another limit."""


@dataclass(frozen=True)
class _Shared:
    """What all chains and terms of one service have in common."""

    service: Service
    settings: ExecutorSettings
    lane: Lane
    rules: PlanningRules
    journal: Journal
    moments: ExecutionMoments
    side: SideValues
    room: DiskRoom


def assemble(
    service: Service, settings: ExecutorSettings, lane: Lane, rules: PlanningRules, moments: ExecutionMoments
) -> ExecutionDeps:
    """Build the seats of every chain and hang them into the service; returns what the routes need."""
    url = settings.database(service.name)
    journal = Journal(url, clock=service.clock, log=service.log, realm=settings.realm, direct=True)
    room = _room(service, settings, url)
    shared = _Shared(service, settings, lane, rules, journal, moments, SideValues(), room)

    async def open_journal() -> None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        await upgrade(url, MIGRATIONS)
        for chain_id in settings.chains:
            await load_last_values(service.bus, shared.side, chain_id)

    async def close_journal() -> None:
        await journal.drained(DRAIN_S)
        await journal.stop()

    service.on_start(open_journal)
    service.on_stop(close_journal)
    service.background("outbox", lambda: journal.relay(service.bus))
    service.ready_when("disk", room.probe)
    return ExecutionDeps(service.name, lane, {chain: _seat(chain, shared) for chain in settings.chains}, shared.side)


def _room(service: Service, settings: ExecutorSettings, url: str) -> DiskRoom:
    """Where the signer's record lies, and the journal when it is a file. A server's disk is the server's to watch."""
    file = database_file(url)
    places = {settings.data_dir, *(() if file is None else (file.parent,))}
    return DiskRoom(sorted(places), settings.min_free_disk_mb * 1_000_000, service.clock)


def _seat(chain_id: int, shared: _Shared) -> Seat:
    service, settings, moments = shared.service, shared.settings, shared.moments
    node = NodeConnections(chain_id, settings.rpc_ws_urls[chain_id], service.clock, service.log)
    mirror = PoolMirror(chain_id)
    view = MarketView(mirror, shared.side, service.clock, settings.transfer_taxes.get(chain_id, {}))
    access = _access(chain_id, shared, node)

    async def take_up(term: Term) -> Executor:
        await shared.journal.recover(chain_id)
        reservations = await restored(shared.journal, chain_id, service.clock.now_ms())
        brakes = await _brakes(shared, chain_id)
        parts = ExecutorParts(
            service=service.name,
            lane=shared.lane,
            mirror=mirror,
            view=view,
            journal=FencedJournal(shared.journal, term),
            clock=service.clock,
            moments=moments,
            side=shared.side,
            reservations=reservations,
            rules=shared.rules,
            why_no_room=shared.room.why_not,
            brakes=brakes,
        )
        executor = Executor(parts, access)
        executor.books_changed()
        return executor

    key = LeaseKey(service.name, chain_id)
    policy = LeasePolicy(ttl_s=settings.lease_ttl_s, margin_s=settings.lease_ttl_s / 4)
    lease = Lease(JournalLeaseStore(shared.journal, key), instance_name(), clock=service.clock, policy=policy)
    seat = Seat(lease, key, view, take_up)
    mirror.on_block(seat.on_block)
    service.on_stop(node.stop)
    service.on_stop(seat.leave)
    service.background(f"providers {chain_id}", node.watch)
    service.background(f"mirror {chain_id}", _following(mirror, service))
    service.background(f"lease {chain_id}", lease.run)
    service.background(f"seat {chain_id}", lambda: seat.run(service.clock, moments))
    service.ready_when(f"mirror {chain_id}", _probe(mirror, service, settings.max_state_age_ms))
    service.ready_when(f"books {chain_id}", seat.why_not_ready)
    service.says(f"chain {chain_id}", seat.role)
    return seat


def _access(chain_id: int, shared: _Shared, node: NodeConnections) -> LiveAccess:
    settings = shared.settings
    urls = settings.rpc_ws_urls[chain_id]
    return LiveAccess(
        chain_id=chain_id,
        lane=shared.lane,
        url=next((url for url in urls if not is_loopback(url)), urls[0]),  # one that is remote makes all of them real
        connect=node.connect,
        witnesses=node.witnesses,
        jitter_bps=_jitter_bps,
        key_files=settings.key_files(),
        guard_path=settings.data_dir / f"{shared.service.name}-guard-{chain_id}.db",
        signer_socket=settings.signer_socket,
        control_path=settings.control_path(shared.service.name, chain_id),
        is_devnet_expected=settings.network == "devnet",
        real_money_words=settings.live_trading_on_real_chains,
        deployment=router_of(chain_id),
        others=routers_of(chain_id)[1:],
        signing=settings.signing_rules(),
        sending=replace(settings.send_policy(), least_tip_wei=fee_parameters(chain_id).minimum_tip_wei),
        relays=_relays(chain_id, shared),
        told=ToldOnBus(shared.service.bus),
        race=settings.race_policy(),
    )


def _relays(chain_id: int, shared: _Shared) -> RelayBoard | None:
    """The chain's relays; None where settings name none."""
    service, settings = shared.service, shared.settings
    specs = named(chain_id, settings.relays.get(chain_id, ()))
    if not specs:
        return None
    auth = None if settings.relay_auth_key_file is None else AuthKey.read(settings.relay_auth_key_file)
    relays = RelaySet(chain_id, connected(specs, auth), None if auth is None else auth.address)
    board = RelayBoard(relays, clock=service.clock, moments=shared.moments.relays, jitter_bps=_jitter_bps)
    service.on_stop(board.stop)
    return board


def _jitter_bps() -> int:
    return int(10_000 * random.random())  # noqa: S311  no secret


async def _brakes(shared: _Shared, chain_id: int) -> Brakes:
    """The brakes of a term, as the journal and the bus remember them. ``Transient`` without the journal."""
    changes = dict(shared.settings.breakers)
    if shared.lane is Lane.SMART:
        changes["latency"] = {"p95_ms": SMART_P95_MS, **changes.get("latency", {})}
    place = BoardPlace(
        service=shared.service.name,
        chain_id=chain_id,
        policies=policies(changes),
        clock=shared.service.clock,
        moments=shared.moments.breakers,
        on_change=shared.side.take_breaker,
    )
    return await restored_brakes(shared.journal, shared.side, place, shared.lane)


async def restored(journal: Journal, chain_id: int, now_ms: int) -> Reservations:
    """What the open intents of a chain reserve, by the journal. ``Transient`` when it does not answer."""
    reservations = Reservations()
    try:
        async with journal.reading() as conn:
            reservations.restore(await store.load_reservations(conn, chain_id, now_ms - RECALL_MS))
    except DATABASE_ERRORS as error:
        raise Transient(f"the journal could not be read: {error}") from error
    return reservations


def _following(mirror: PoolMirror, service: Service) -> Callable[[], Awaitable[None]]:
    return lambda: mirror.run(service.bus, service.clock, service.log)


def _probe(mirror: PoolMirror, service: Service, max_age_ms: int) -> Callable[[], bool | str]:
    return lambda: mirror.why_not_current(service.clock.now_ms(), max_age_ms)
