"""The whole system on one machine, in the foreground, and what its owner sees of it."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.text import Text

from dexlane.events.execution import FillIncluded, FillReversed, IntentFailed
from dexlane.events.portfolio import ExitTriggered
from dexlane.runtime.cancelling import cancelled
from dexlane.runtime.declare import declare
from dexlane_cli.default_books import write_default_books
from dexlane_cli.gateway_client import token, token_file
from dexlane_cli.launching import Caretaker, Executing, Forking, ForkServer
from dexlane_cli.listening import connect, listen
from dexlane_cli.nodes import require_nodes
from dexlane_cli.options import console
from dexlane_cli.rendering import line
from dexlane_cli.session import lock, pid_file, prepare, require_free_ports
from dexlane_cli.signer_files import live_books, with_signers, write_signer_files
from dexlane_cli.stack import (
    SERVICE_PORTS,
    StackOptions,
    gateway_url,
    infrastructure,
    services,
    signer,
)
from dexlane_cli.supervisor import Supervisor

HONESTY = "The recorded flow of the devnet does not react to us, so profits here prove nothing but that it works."


class Screen:
    """What the person at the terminal sees: progress, warnings of the processes, fills."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self._console = console
        self._verbose = verbose

    def process_line(self, name: str, text: str) -> None:
        """Pass on what matters: everything when verbose, else warnings, errors and progress of the first start."""
        record = _json(text)
        level = record.get("level") if record else None
        if self._verbose or level in {"error"} or name == "supervisor" or _is_progress(name, record, text):
            said = f"{record.get('event')} {record.get('reason', '')}" if record else text
            style = "red" if level == "error" else "dim"
            self._console.print(Text(f"{name:>14}", "bold"), f"| {said}", style=style, highlight=False)

    def say(self, text: str | Text, style: str = "") -> None:
        """One line of our own."""
        self._console.print(text, style=style, highlight=False)


def _json(text: str) -> dict[str, object] | None:
    if not text.startswith("{"):
        return None
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def _is_progress(name: str, record: dict[str, object] | None, text: str) -> bool:
    return name.startswith("devnet") and record is None and text.startswith("devnet:")


def token_line(options: StackOptions, *, to_a_person: bool) -> str:
    """The token of this run for the person at the terminal. Output that is collected is told only where it lies: it
    would be a token for whoever reads it."""
    told = token(options) if to_a_person else f"in {token_file(options)}"
    return f"token of this run, asked for when you halt, resume or close: {told}"


async def declare_streams(url: str) -> list[str]:
    """Create what is missing on the server; returns the differences as lines."""
    client = await connect(url, attempts=3)
    try:
        return [str(difference) for difference in await declare(client.jetstream(), apply=True)]
    finally:
        await client.close()


async def up(options: StackOptions, server: ForkServer | None, *, verbose: bool, console: Console) -> int:
    """Run until Ctrl-C or ``dexlane down``; returns the exit code. Services come of the fork server, if any."""
    with lock(options.home) as held:
        require_free_ports(options.ports, devnets=options.devnets)
        await require_nodes(options.rpc_ws_urls)
        write_default_books(options)
        options = with_signers(options)
        prepare(options)
        if options.signer_process:
            write_signer_files(options, live_books(options))
        screen = Screen(console, verbose=verbose)
        report = screen.process_line
        caretaker = Caretaker(held, pid_file(options.home), report)
        supervisor = Supervisor(
            [*infrastructure(options), *signer(options), *services(options)],
            options.session / "logs",
            report,
            launcher=Executing(caretaker) if server is None else Forking(server, report, caretaker),
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
            loop.add_signal_handler(signal.SIGHUP, stop.set)
        try:
            return await _live(options, supervisor, screen, stop=stop)
        finally:
            screen.say("stopping ...", "dim")
            await supervisor.stop()
            caretaker.close()
            screen.say("stopped", "dim")


async def _live(
    options: StackOptions,
    supervisor: Supervisor,
    screen: Screen,
    *,
    stop: asyncio.Event,
) -> int:
    began = time.monotonic()
    chain = "the devnet" if options.chains == (1,) and options.uses_devnet else f"chains {sorted(options.node_urls)}"
    screen.say(f"starting the bus, the cache and {chain} ...")
    nats_url = f"nats://127.0.0.1:{options.ports.nats}"

    async def after_infrastructure() -> None:
        await declare_streams(nats_url)
        screen.say(f"starting {len(SERVICE_PORTS)} services ...")

    starting = asyncio.create_task(supervisor.start({0: after_infrastructure}))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        await cancelled([starting])
        return 0
    await starting
    screen.say(f"ready after {time.monotonic() - began:.1f} s: {gateway_url(options.ports)}", "green")
    if options.uses_devnet:
        screen.say(HONESTY, "yellow")
    screen.say(token_line(options, to_a_person=console.is_terminal))
    screen.say("fills appear below; stop with Ctrl-C or `make stop`", "dim")
    fills = asyncio.create_task(_show_fills(nats_url, screen))
    ends: list[asyncio.Future[Any]] = [stopping, supervisor.failed, fills]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    await cancelled([fills])
    if not fills.cancelled():
        fills.result()
    if supervisor.failed.done():
        screen.say(supervisor.failed.result(), "bold red")
        return 1
    return 0


async def _show_fills(nats_url: str, screen: Screen) -> None:
    types = (FillIncluded, FillReversed, IntentFailed, ExitTriggered)
    failed: set[str] = set()
    async for event in listen(nats_url, types, since_start=True):
        if isinstance(event, IntentFailed):
            # A failure is told when it is mined and again when it is final; a person needs it once.
            if event.intent_id in failed:
                continue
            failed.add(event.intent_id)
        screen.say(line(event))


def streams_command(
    url: Annotated[str, typer.Option(help="NATS server.", envvar="DEXLANE_NATS_URL")] = "nats://127.0.0.1:14222",
) -> None:
    """Declare streams and the pool bucket on the server and print what differed."""
    differences = asyncio.run(declare_streams(url))
    for difference in differences:
        console.print(difference, highlight=False)
    if not differences:
        console.print("streams and buckets are as declared")
