"""The whole stack in the hands of a test: the processes of ``dexlane up``, with bad lines to the node in between."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson

from crash_database import DATABASE, DatabaseLine, create_databases, database_spec, port_of, processes
from crash_rows import database_of
from crash_signers import ASKERS, SIGNERS, control_sockets, prepare_signers, signer_socket, signer_specs
from dexlane.runtime.declare import declare
from dexlane.runtime.sealing import Sealer, sealer_from
from dexlane.runtime.signer_control import tell
from dexlane.testing.rpc_proxy import FaultProxy
from dexlane.testing.servers import LocalPostgres, prepare_postgres, shared_folder
from dexlane.testing.strict_node import StrictNode
from dexlane_cli.journals import PACKAGES
from dexlane_cli.launching import Forking, ForkServer, ProcessSpec
from dexlane_cli.listening import connect
from dexlane_cli.session import prepare, require_free_ports
from dexlane_cli.stack import EXECUTORS, SERVICE_PORTS, Ports, StackOptions, infrastructure, services
from dexlane_cli.supervisor import Supervisor

BACKOFF_S = (0.1, 0.1, 0.5)
"""Restarts are quick here: what is tested is the crash, not the patience after it."""
READY_TIMEOUT_S = 240.0
"""The first start is not what is tested, and the machine may be busy."""
INFRASTRUCTURE = ("nats", "cache")
TARGETS = (*SERVICE_PORTS, *SIGNERS, *INFRASTRUCTURE)
"""Everything that may be killed. The devnet may not: its state lies in its memory alone."""

BOOK = """
[books.{name}]
chain_id = 1
mode = "{mode}"
level = 10
profile = "aggressive"
quote = "USDC"
strategies = ["price_gap", "momentum"]
slippage_tolerance_bps = 100
gas_reserve = "0.05 ETH"
{accounts}
[books.{name}.controls]
duplicate_blocks = 0
collar_bps = "off"
max_heat_bps = "off"
max_daily_loss_usd = "off"
caps = "off"
confirm_first_trades = 0
confirm_above_usd = "off"
confirm_new_tokens = false
budget_by_market = false

[books.{name}.exits]
stop_loss_bps = 2000
take_profit_bps = 2000
max_age_s = 5

[books.{name}.limits.fast]
capital = "200000 USDC"
max_trade = "5000 USDC"
max_daily_loss = "100000 USDC"
max_open_positions = 100
max_orders_per_minute = 600

[books.{name}.limits.smart]
capital = "200000 USDC"
max_trade = "5000 USDC"
max_daily_loss = "100000 USDC"
max_open_positions = 100
max_orders_per_minute = 600
"""
PATIENT_BREAKERS = {
    "transaction": {"failures": 1_000_000},
    "dex": {"failures": 1_000_000},
    "rpc": {"errors_bps": 10_001},
    "slippage": {"bad_fills": 1_000_000},
    "latency": {"p95_ms": 10**9},
    "losses": {"losses_in_a_row": 1_000_000, "hour_loss_bps": 10**6, "day_loss_bps": 10**6},
    "volatility": {"range_bps": 10**9, "max_age_ms": 3_600_000},
    "drawdown": {"drawdown_bps": 10**9, "max_age_ms": 3_600_000},
}
"""Breakers that go on counting and hold nothing: a quarter of an hour of crashes would open each of them, and then
nothing would be traded that a crash could hit."""
LIVE = {"live-one": ("live-fast", "live-smart"), "live-two": ("spare-1", "spare-2")}


def books_text() -> str:
    """A paper book and two live ones, so that each executor drives two accounts; positions are closed after seconds.
    What would keep them from trading all the time is off: crashes are to hit trades."""
    text = BOOK.format(name="paper-one", mode="paper", accounts="")
    for name, (fast, smart) in LIVE.items():
        accounts = f'\n[books.{name}.accounts]\nfast = "{fast}"\nsmart = "{smart}"\n'
        text += BOOK.format(name=name, mode="live", accounts=accounts)
    return text


class CrashStack:
    """Infrastructure, services, and the lines between services and node."""

    def __init__(self, options: StackOptions, *, seed: int, postgres: LocalPostgres | None = None) -> None:
        self.options = options
        self.postgres = postgres
        node_url = f"ws://127.0.0.1:{options.ports.devnet(1)}"
        self.rpc_url = node_url.replace("ws://", "http://")
        self.executors_node = StrictNode(node_url, seed=seed)
        self.feed_node = FaultProxy(node_url, seed=seed + 1)
        self.database_line = None if postgres is None else DatabaseLine(port_of(postgres), seed=seed)
        specs = infrastructure(options) + ([] if postgres is None else [database_spec(postgres)])
        self.infrastructure = Supervisor(specs, self.logs, self._noted, backoff_s=BACKOFF_S)
        self.services: Supervisor | None = None
        self.said: list[str] = []
        self.consumers: set[str] = set()
        """Durable consumers of decisions that were ever there: each must be there again when all is still."""

    @property
    def logs(self) -> Path:
        """Where every process's output lies."""
        return self.options.session / "logs"

    @property
    def data(self) -> Path | str:
        """Where the journals lie: a folder, or the URL of a PostgreSQL server."""
        return self.options.session / "data" if self.postgres is None else self.postgres.url.rpartition("/")[0]

    @property
    def targets(self) -> tuple[str, ...]:
        """Everything that may be killed."""
        return TARGETS if self.postgres is None else (*TARGETS, DATABASE)

    @property
    def nats_url(self) -> str:
        """The bus."""
        return f"nats://127.0.0.1:{self.options.ports.nats}"

    @property
    def failed(self) -> str | None:
        """Why a supervisor gave up, if one did."""
        for supervisor in (self.infrastructure, self.services):
            if supervisor is not None and supervisor.failed.done():
                return supervisor.failed.result()
        return None

    def sealer(self) -> Sealer:
        """What the risk-scorer of this stack seals with."""
        sealer = sealer_from(self.options.approvals / "risk-scorer.key")
        if sealer is None:
            raise RuntimeError("the stack has no approval keys")
        return sealer

    def pid(self, name: str) -> int | None:
        """The process of that name while it runs."""
        supervisor = self.infrastructure if name in self.infrastructure.children else self.services
        return None if supervisor is None else supervisor.children[name].pid

    def signal(self, name: str, number: signal.Signals) -> bool:
        """Send a signal; whether somebody was there to get it. The database's goes to all its processes."""
        pid = self.pid(name)
        if pid is None:
            return False
        pids = [pid]
        if name == DATABASE and number is signal.SIGTERM:
            number = signal.SIGINT  # at SIGTERM it would wait for its clients to leave, and they never do
        elif name == DATABASE:
            pids = processes(pid)
        hit = False
        for each in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)
                hit = True
        return hit

    def resume_all(self) -> None:
        """Nothing stays stopped."""
        for name in self.targets:
            self.signal(name, signal.SIGCONT)

    async def declare_streams(self) -> None:
        """Create what is missing on the broker."""
        client = await connect(self.nats_url, attempts=60)
        try:
            await declare(client.jetstream(), apply=True)
        finally:
            await client.close()

    async def wipe_broker(self) -> None:
        """The broker's process and everything it stored are gone; it starts again, empty, and the streams are declared
        as ``dexlane streams`` would."""
        self.signal("nats", signal.SIGSTOP)
        store = self.options.session / "nats"
        gone = store.rename(store.with_name(f"nats-gone-{os.urandom(3).hex()}"))
        store.mkdir()
        self.signal("nats", signal.SIGKILL)
        await asyncio.sleep(0.5)
        await self.declare_streams()
        await asyncio.to_thread(shutil.rmtree, gone)

    async def rpc(self, method: str, *params: Any) -> Any:
        """Ask the devnet itself."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            answer = (await client.post(self.rpc_url, json=request)).json()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    async def rpc_batch(self, calls: list[tuple[str, list[Any]]]) -> list[Any]:
        """Many at once, in their order."""
        requests = [{"jsonrpc": "2.0", "id": n, "method": m, "params": p} for n, (m, p) in enumerate(calls)]
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            answers = (await client.post(self.rpc_url, json=requests)).json()
        by_id = {answer["id"]: answer["result"] for answer in answers}
        return [by_id[n] for n in range(len(calls))]

    async def not_ready(self, names: Iterable[str] = (*SERVICE_PORTS, *SIGNERS)) -> dict[str, str]:
        """Every service and signer that is not ready, and why."""
        reasons: dict[str, str] = {}
        async with httpx.AsyncClient(timeout=3, trust_env=False) as client:
            for name in names:
                if name in SIGNERS:
                    status = await tell(control_sockets(self.options)[name], {"do": "status"})
                    if "level" not in status:
                        reasons[name] = str(status.get("refused"))
                    continue
                try:
                    answer = await client.get(f"http://127.0.0.1:{self.options.ports.service(name)}/readyz")
                except httpx.HTTPError as error:
                    reasons[name] = type(error).__name__
                else:
                    if answer.status_code != 200:
                        reasons[name] = answer.text[:300]
        return reasons

    def _noted(self, name: str, line: str) -> None:
        if name == "supervisor" or '"level":"error"' in line:
            self.said.append(f"{name}: {line[:600]}")

    def _spec(self, spec: ProcessSpec) -> ProcessSpec:
        if spec.name in SIGNERS:
            return spec
        line = self.executors_node if spec.name in EXECUTORS else self.feed_node
        prefix = f"DEXLANE_{spec.name.upper().replace('-', '_')}_"
        changed = {**spec.environment, "DEXLANE_RPC_WS_URLS": orjson.dumps({"1": [line.url]}).decode()}
        changed["DEXLANE_BREAKERS"] = orjson.dumps(PATIENT_BREAKERS).decode()
        if spec.name in ASKERS:
            changed[f"{prefix}SIGNER_SOCKET"] = str(signer_socket(self.options, spec.name))
        if self.database_line is not None and spec.name in PACKAGES:
            url = f"postgresql+asyncpg://postgres@127.0.0.1:{self.database_line.port}/{database_of(spec.name)}"
            changed[f"{prefix}DATABASE_URL"] = url
        return dataclasses.replace(spec, environment=changed, ready_timeout_s=READY_TIMEOUT_S)


@asynccontextmanager
async def running(home: Path, *, shift: int, seed: int, on_postgres: bool = False) -> AsyncIterator[CrashStack]:
    """A started stack; everything is stopped at the end, and what lies in ``home`` stays."""
    options = StackOptions(home=home, ports=Ports(shift), flow=False, block_time_s=1.0, signer_process=True)
    options = dataclasses.replace(options, signer_controls=tuple(control_sockets(options).values()))
    require_free_ports(options.ports, devnets=options.devnets)
    options.books_file.parent.mkdir(parents=True, exist_ok=True)
    options.books_file.write_text(books_text())
    prepare(options)
    prepare_signers(options)
    with _prepared_postgres(on_postgres) as postgres:
        async with _started(CrashStack(options, seed=seed, postgres=postgres)) as stack:
            yield stack


@contextlib.contextmanager
def _prepared_postgres(wanted: bool) -> Iterator[LocalPostgres | None]:
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="dexlane-crash-db-", dir=shared_folder()) as folder:
        yield prepare_postgres(Path(folder))


@asynccontextmanager
async def _started(stack: CrashStack) -> AsyncIterator[CrashStack]:
    try:
        await stack.infrastructure.start()
        await stack.declare_streams()
        if stack.postgres is not None:
            await create_databases(stack.postgres)
        async with stack.executors_node, stack.feed_node, stack.database_line or contextlib.nullcontext():
            specs = [stack._spec(spec) for spec in [*signer_specs(stack.options), *services(stack.options)]]
            forking = Forking(ForkServer(), stack._noted) if ForkServer.is_possible() else None
            stack.services = Supervisor(specs, stack.logs, stack._noted, backoff_s=BACKOFF_S, launcher=forking)
            try:
                await stack.services.start()
                yield stack
            finally:
                stack.resume_all()
                await stack.services.stop()
    finally:
        await stack.infrastructure.stop()
