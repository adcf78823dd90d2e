"""The real services, each built as its own program does, in a simulated world."""

from __future__ import annotations

import asyncio
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple
from unittest.mock import patch

import orjson
from sqlalchemy.exc import SAWarning

import fast_executor.app
import fast_executor.settings
import paper_sim.app
import paper_sim.settings
import portfolio.app
import portfolio.settings
import smart_executor.app
import smart_executor.settings
from dexlane.chain.execution import assembly, keys
from dexlane.chain.relays.catalogue import RelaySpec
from dexlane.events.base import Event
from dexlane.events.control import TradingStatus
from dexlane.runtime import lease, pool_mirror, service
from dexlane.runtime.consuming import Routes
from dexlane.runtime.journal import Journal
from dexlane.runtime.migrate import upgrade
from dexlane.runtime.service import Service
from dexlane.testing.builders import CHAIN_ID
from dexlane.values.books import Lane
from dexlane_signer import PrivateKey, brake, server
from gateway.projections.recovery import last_value
from gateway.settings import Settings as GatewaySettings
from gateway.statuses import OPERATOR, StatusKeeper
from simulation.disk import simulated_disk
from simulation.links import SimulatedFollower
from simulation.lives import CURRENT
from simulation.relays import SimulatedRelay, specs
from simulation.services import QUIET, SharedMetrics, SimulatedService, bus_of_world

KEYS = {Lane.FAST: "0x" + "11" * 32, Lane.SMART: "0x" + "22" * 32}
ACCOUNTS = {lane: PrivateKey.from_hex(key).address for lane, key in KEYS.items()}
TABLES = {
    "fast-executor": "dexlane.chain",
    "smart-executor": "dexlane.chain",
    "portfolio": "portfolio",
    "paper-sim": "paper_sim",
    "gateway": "gateway",
}
"""Whose tables lie in which service's journal."""
LEASE_TTL_S = 2
"""Much less than a block, so that who is started again is back in the next one."""
LOOKS_PER_LEASE = 2
"""In time that is free, a renewal is what a lease costs: holders renew it twice, and who waits looks as often."""
BRAKE_LOOKS_EVERY_S = 3.0
FOLLOWS_EVERY_S = 1.0
"""The signer's brake looks for its file, and for what the gateway released, less often: most looks are at nothing."""
Build = Callable[[], Service]


@cache
def home() -> Path:
    """Where this program's simulated disks lie: in memory, where the machine has a disk there."""
    shared = Path("/dev/shm")  # noqa: S108  the point is that it is memory
    return Path(mkdtemp(prefix="dexlane-simulation-", dir=shared if shared.is_dir() else None))


def remove_home() -> None:
    """Leave nothing behind, and nothing that knows the way there."""
    shutil.rmtree(home(), ignore_errors=True)
    home.cache_clear()
    _templates.cache_clear()
    builders.cache_clear()


@cache
def _templates() -> Path:
    """Journals without a row, brought to the newest revision by the real migrations."""
    folder = home() / "templates"
    folder.mkdir()
    for package in sorted(set(TABLES.values())):
        asyncio.run(upgrade(f"sqlite+aiosqlite:///{folder / package}.db", package))
    keys_file = home() / "keys.json"
    keys_file.touch(0o600)
    keys_file.write_bytes(orjson.dumps({ACCOUNTS[lane]: key for lane, key in KEYS.items()}))
    return folder


def fresh_disks() -> Path:
    """Empty journals and no signer's record; the folder they lie in."""
    templates, folder = _templates(), home() / "disks"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, package in TABLES.items():
        shutil.copyfile(templates / f"{package}.db", folder / f"{name}.db")
    return folder


def socket_of(executor: str) -> Path:
    """Where the signer of an executor listens."""
    return home() / f"{executor}.sock"


class Terms(NamedTuple):
    """What of a world's shape the services' settings say. Keys lie in the executors, or in signers of their own."""

    confirmations: int
    signer_elsewhere: bool
    relays: tuple[str, ...]
    usual_breakers: bool


NEVER = 10**9
WIDE_BREAKERS = {
    "transaction": {"failures": NEVER},
    "dex": {"failures": NEVER},
    "rpc": {"min_samples": NEVER},
    "slippage": {"bad_fills": NEVER},
    "latency": {"min_samples": NEVER},
    "losses": {"losses_in_a_row": NEVER, "hour_loss_bps": NEVER, "day_loss_bps": NEVER},
    "drawdown": {"drawdown_bps": NEVER},
}
"""Breakers that no world opens by what happens in it."""


@cache
def builders(world: Terms) -> dict[str, Build]:
    """How each service is made, as its ``app.build`` does it."""
    breakers = {} if world.usual_breakers else {"breakers": WIDE_BREAKERS}
    data = {"data_dir": home() / "disks", "log_level": "ERROR"}
    terms = {
        "confirmations": world.confirmations,
        "lease_ttl_s": LEASE_TTL_S,
        "relays": {CHAIN_ID: specs(world.relays)},
        **breakers,
    }

    def signing(executor: str) -> dict[str, Any]:
        keys = (
            {"signer_socket": socket_of(executor)}
            if world.signer_elsewhere
            else {"private_keys_file": home() / "keys.json"}
        )
        return {**data, **terms, **keys}

    fast = fast_executor.settings.Settings(**signing("fast-executor"))
    smart = smart_executor.settings.Settings(**signing("smart-executor"))
    books = portfolio.settings.Settings(**data, **breakers)
    paper = paper_sim.settings.Settings(**data, confirmations=world.confirmations)
    gate = GatewaySettings(**data)
    return {
        "fast-executor": lambda: fast_executor.app.build(fast),
        "smart-executor": lambda: smart_executor.app.build(smart),
        "portfolio": lambda: portfolio.app.build(books),
        "paper-sim": lambda: paper_sim.app.build(paper),
        "gateway": lambda: _gateway(gate),
    }


class GatewayService(SimulatedService):
    """The part of the gateway that the others depend on: its status keeper and its journal."""

    keeper: StatusKeeper


def _gateway(settings: GatewaySettings) -> Service:
    made = GatewayService("gateway", settings)
    journal = Journal(settings.database("gateway"), clock=made.clock, log=made.log)
    keeper = made.keeper = StatusKeeper(journal, settings.chains)
    routes = Routes()

    @routes.follow(TradingStatus, from_="last")
    async def remember(event: TradingStatus) -> None:
        await keeper.remember(event)

    async def start() -> None:
        await journal.recover()
        words = [await last_value(made.bus, TradingStatus, chain, OPERATOR) for chain in settings.chains]
        await keeper.load(word for word in words if word)

    made.on_start(start)
    made.background("outbox", lambda: journal.relay(made.bus))
    made.include(routes)
    return made


def _providers(*_: object) -> Any:
    life = CURRENT.get()
    assert life is not None
    world: Any = life.process.witness
    return world.providers(life)


def _relays(wanted: Sequence[RelaySpec], _auth: object) -> tuple[SimulatedRelay, ...]:
    return tuple(SimulatedRelay(spec.name) for spec in wanted)


class _Dice:
    """Stands where the assembly has the module ``random``."""

    @staticmethod
    def random() -> float:
        """A draw of the world."""
        life = CURRENT.get()
        assert life is not None
        world: Any = life.process.witness
        return float(world.chance.of(f"jitter {life.process.name}").random())


def _instance_name() -> str:
    life = CURRENT.get()
    assert life is not None
    return f"{life.process.name}.{life.number}"


async def _upgraded(*_: object) -> None:
    """The journals are copies of upgraded ones."""


READ_MESSAGES = 256


def _read_once() -> classmethod[Event, [bytes | str], Event]:
    """``Event.from_wire`` that reads the bytes of a message once for all who are given it: events are frozen."""
    from_wire = Event.from_wire.__func__  # type: ignore[attr-defined]

    @lru_cache(READ_MESSAGES)
    def read(event_type: type[Event], data: bytes | str) -> Event:
        return from_wire(event_type, data)

    return classmethod(read)


@contextmanager
def simulated_surroundings() -> Iterator[None]:
    """While this lasts the real services can be built inside simulated processes, and only there."""
    with ExitStack() as stack, warnings.catch_warnings():
        # Connections of the dead are not given back to their pool, as they should not be.
        warnings.simplefilter("ignore", SAWarning)
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        stack.enter_context(simulated_disk())
        for app in (fast_executor.app, smart_executor.app, portfolio.app, paper_sim.app):
            stack.enter_context(patch.object(app, "Service", SimulatedService))
        for module in (assembly, portfolio.app, paper_sim.app):
            stack.enter_context(patch.object(module, "upgrade", _upgraded))
        stack.enter_context(patch.object(assembly, "NodeConnections", _providers))
        stack.enter_context(patch.object(assembly, "connected", _relays))
        stack.enter_context(patch.object(assembly, "random", _Dice))
        stack.enter_context(patch.object(lease, "LOOKS_PER_LEASE", LOOKS_PER_LEASE))
        stack.enter_context(patch.object(lease, "RENEWALS_PER_LEASE", LOOKS_PER_LEASE))
        stack.enter_context(patch.object(brake, "LOOK_EVERY_S", BRAKE_LOOKS_EVERY_S))
        stack.enter_context(patch.object(keys, "FOLLOW_EVERY_S", FOLLOWS_EVERY_S))
        stack.enter_context(patch.object(assembly, "instance_name", _instance_name))
        stack.enter_context(patch.object(Event, "from_wire", _read_once()))
        stack.enter_context(patch.object(server, "listen", lambda path: path))
        stack.enter_context(patch.object(server, "is_known", lambda *_: True))
        stack.enter_context(patch.object(service, "Bus", bus_of_world))
        stack.enter_context(patch.object(service, "Metrics", SharedMetrics))
        stack.enter_context(patch.object(service, "configure_logging", lambda *_: QUIET))
        stack.enter_context(patch.object(pool_mirror, "Follower", SimulatedFollower))
        stack.enter_context(patch.object(pool_mirror, "keep_for_good", lambda: None))
        yield
