"""``dexlane doctor``: is this machine able to run dexlane, and is what runs here well?"""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.text import Text

from dexlane.chain.link import host_of
from dexlane.runtime.declare import declare
from dexlane_cli import probes
from dexlane_cli.errors import EXIT_FAILED, CommandError
from dexlane_cli.listening import connect
from dexlane_cli.nodes import require_nodes
from dexlane_cli.options import DEFAULT_HOME, Home, Shift, console, options_for
from dexlane_cli.session import supervisor_pid
from dexlane_cli.stack import StackOptions, cache_binary

MIN_PYTHON = (3, 11)
MIN_NODE = 20
MIN_FREE_BYTES = 3 * 1024**3


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: whether it is well, and what to do when it is not."""

    name: str
    well: bool
    sentence: str


def python_version() -> Finding:
    """Python is new enough."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    well = sys.version_info >= MIN_PYTHON
    return Finding("python", well, version if well else f"{version} is too old; install Python 3.11 or newer")


def node_version() -> Finding:
    """Node is there and new enough; npm fetches the devnet's parts."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return Finding("node", False, "Node 20 with npm is missing; the devnet's contracts come through npm")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    major = int(said.lstrip("v").split(".")[0] or 0)
    return Finding("node", major >= MIN_NODE, said if major >= MIN_NODE else f"{said} is too old; install Node 20")


def binaries() -> Finding:
    """The servers that the lock installs are there."""
    nats_server = Path(sys.executable).parent / "nats-server"
    missing = [str(path) for path in (nats_server, Path(cache_binary())) if not path.exists()]
    return Finding(
        "servers", not missing, "nats-server and valkey are installed" if not missing else "missing; run `make setup`"
    )


def disk(home: Path) -> Finding:
    """There is room for streams, journals and the chain."""
    place = home if home.exists() else home.parent
    free = shutil.disk_usage(place).free
    text = f"{free / 1024**3:.1f} GiB free"
    return Finding("disk", free >= MIN_FREE_BYTES, text if free >= MIN_FREE_BYTES else f"{text}; 3 GiB are needed")


def ports(options: StackOptions) -> Finding:
    """The ports are free, or held by the dexlane that runs here."""
    if supervisor_pid(options.home) is not None:
        return Finding("ports", True, "held by the dexlane that runs here")
    taken = [f"{port} ({name})" for name, port in options.ports.all(options.devnets).items() if _is_taken(port)]
    return Finding("ports", not taken, "free" if not taken else f"taken: {', '.join(taken)}; use --port-shift 100")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def bus(options: StackOptions) -> Finding:
    """The bus answers and its streams are as declared."""
    url = f"nats://127.0.0.1:{options.ports.nats}"
    try:
        client = await connect(url, attempts=2)
    except CommandError as error:
        return Finding("bus", False, str(error))
    try:
        differences = await declare(client.jetstream(), apply=False)
    finally:
        await client.close()
    text = "streams are as declared" if not differences else "; ".join(str(item) for item in differences)
    return Finding("bus", not differences, text)


async def chain(options: StackOptions) -> Finding:
    """Every configured node answers, and on its chain; of several for one chain each is looked at."""
    faults: list[str] = []
    well: list[str] = []
    for chain_id, urls in options.node_urls.items():
        for url in urls:
            try:
                await require_nodes({chain_id: [url]})
            except CommandError:
                faults.append(f"{host_of(url)} (chain {chain_id})")
            else:
                well.append(f"{host_of(url)} (chain {chain_id})")
    if faults:
        return Finding(
            "chain",
            False,
            f"no answer, or another chain's, from {', '.join(faults)}; answers: {', '.join(well) or 'none'}",
        )
    return Finding("chain", True, f"{', '.join(well)} answer" if len(well) > 1 else f"{well[0]} answers")


async def providers(options: StackOptions) -> Finding:
    """No provider is late, frozen or dropped."""
    answer = await probes.fetch(f"http://127.0.0.1:{options.ports.service('market-feed')}/providers")
    if answer is None:
        return Finding("providers", False, "market-feed does not answer; look at its log")
    wrong = [
        f"{name} of chain {chain_id} {state['wrong']}"
        for chain_id, states in answer.items()
        for name, state in states.items()
        if state["wrong"]
    ]
    return Finding("providers", not wrong, "; ".join(wrong) or "all fit")


async def executors(options: StackOptions) -> Finding:
    """Somebody acts on every chain in both lanes; says who."""
    said: list[str] = []
    well = True
    for name in ("fast-executor", "smart-executor"):
        answer = await probes.fetch(f"http://127.0.0.1:{options.ports.service(name)}/readyz")
        well = well and answer is not None
        notes = {} if answer is None else answer["notes"]
        said += [f"{name} on {chain} {role}" for chain, role in notes.items()] or [f"{name} is not ready; see its log"]
    return Finding("executors", well, "; ".join(said))


def examine(options: StackOptions) -> list[Finding]:
    """Look at everything. What only a running system has is looked at only when one runs here."""
    still: list[Callable[[], Finding]] = [python_version, node_version, binaries]
    findings = [look() for look in still]
    findings += [disk(options.home), ports(options)]
    if supervisor_pid(options.home) is not None:
        findings += [asyncio.run(bus(options)), asyncio.run(chain(options)), asyncio.run(providers(options))]
        findings.append(asyncio.run(executors(options)))
    return findings


def doctor_command(home: Home = DEFAULT_HOME, port_shift: Shift = 0) -> None:
    """Look at versions, servers, disk, ports and, when dexlane runs, at bus and chain. Exit code 1 on a fault."""
    findings = examine(options_for(home, port_shift))
    for finding in findings:
        mark = Text("ok  ", "green") if finding.well else Text("fault", "red")
        console.print(mark, f"{finding.name:<8} {finding.sentence}", highlight=False)
    if not all(finding.well for finding in findings):
        raise typer.Exit(EXIT_FAILED)
