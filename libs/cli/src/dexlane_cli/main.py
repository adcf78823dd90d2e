"""The ``dexlane`` command."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import httpx
import orjson
import typer
from rich.console import Console
from rich.table import Table

from dexlane.events.control import Status
from dexlane.runtime.errors import DexlaneError
from dexlane_cli import (
    allowances,
    books,
    breakers,
    compliance,
    confirmations,
    doctor,
    gas_report,
    gateway_client,
    journals,
    listening,
    rendering,
    route,
    signer,
    tape,
    thoughts,
    token_check,
)
from dexlane_cli.assess import assess_command
from dexlane_cli.code_risk import bytecode_risk_command
from dexlane_cli.errors import EXIT_FAILED, CommandError
from dexlane_cli.levels import levels_command
from dexlane_cli.quote import quote_command
from dexlane_cli.reconcile import examine, tables
from dexlane_cli.risk_report import risk_report_command
from dexlane_cli.session import stop_supervisor, supervisor_pid, write_approval_keys
from dexlane_cli.stack import APPROVER_KEYS, SERVICE_PORTS, Ports, StackOptions, devnet_chains, gateway_url, given_nodes
from dexlane_cli.up import declare_streams, up

app = typer.Typer(
    name="dexlane",
    help="dexlane: dual-lane DEX auto-trading. `dexlane up` starts everything on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(books.app, name="books")
app.command("levels")(levels_command)
app.command("quote")(quote_command)
app.command("assess")(assess_command)
app.command("bytecode-risk")(bytecode_risk_command)
app.command("risk-report")(risk_report_command)
app.add_typer(gas_report.app)
app.add_typer(route.app)
app.add_typer(tape.app, name="tape")
app.add_typer(token_check.app)
app.add_typer(signer.app, name="signer")
app.add_typer(breakers.app, name="breakers")
app.add_typer(thoughts.app, name="thoughts")
app.add_typer(compliance.app, name="compliance")
app.add_typer(confirmations.app, name="confirmations")
console = Console(soft_wrap=True)

Home = Annotated[Path, typer.Option(envvar="DXL_HOME", help="Folder for books, journals, streams and logs.")]
Shift = Annotated[int, typer.Option("--port-shift", help="Added to every port, to run beside another stack.")]
DEFAULT_HOME = Path(".dexlane")


def options_for(home: Path, shift: int) -> StackOptions:
    """The stack that these two options mean, with the nodes or chains given in the environment."""
    nodes = given_nodes()
    return StackOptions(
        home=home.resolve(), ports=Ports(shift), rpc_ws_urls=nodes, chains=(1,) if nodes else devnet_chains()
    )


@app.command("up")
def up_command(
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
    speed: Annotated[float, typer.Option(help="Speed of the recorded flow, 1 to 1000.", min=1, max=1000)] = 100,
    block_time: Annotated[float, typer.Option(help="Seconds between devnet blocks.", min=0.2, max=60)] = 1.0,
    flow: Annotated[bool, typer.Option(help="Replay the recorded flow; without it the chain is quiet.")] = True,
    chains: Annotated[str | None, typer.Option(envvar="CHAINS", help="1 is Ethereum, 1,8453 adds Base.")] = None,
    signer_process: Annotated[
        bool, typer.Option("--signer-process", envvar="DXL_SIGNER_PROCESS", help="Keys lie with a process of its own.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every line of every process.")] = False,
) -> None:
    """Start the bus, the cache, the devnet and all eight services, and show fills as they happen.

    With DEXLANE_RPC_WS_URLS='{"1": "wss://..."}' in the environment those chains are paper-traded instead of the
    devnet.
    """
    nodes = given_nodes(chains)
    options = StackOptions(
        home=home.resolve(),
        ports=Ports(port_shift),
        speed=speed,
        block_time_s=block_time,
        rpc_ws_urls=nodes,
        flow=flow,
        chains=(1,) if nodes else devnet_chains(chains),
        signer_process=signer_process,
    )
    raise typer.Exit(asyncio.run(up(options, verbose=verbose, console=console)))


@app.command()
def down(home: Home = DEFAULT_HOME) -> None:
    """Stop what `dexlane up` started."""
    stopped = stop_supervisor(home.resolve(), timeout_s=40)
    console.print("stopped" if stopped else "nothing runs here")


@app.command()
def status(home: Home = DEFAULT_HOME, port_shift: Shift = 0) -> None:
    """Show whether each service is ready, and why not. Exit code 1 when one is not."""
    options = options_for(home, port_shift)
    table = Table("service", "state", "why not, or what it is")
    all_ready = True
    with httpx.Client(timeout=2, trust_env=False) as client:
        for name in SERVICE_PORTS:
            try:
                answer = client.get(f"http://127.0.0.1:{options.ports.service(name)}/readyz").json()
            except (httpx.HTTPError, ValueError):
                answer = {"ready": False, "reasons": {"process": "does not answer"}}
            told = answer["reasons"] or answer.get("notes", {})
            reasons = "; ".join(f"{key}: {value}" for key, value in told.items())
            all_ready = all_ready and answer["ready"]
            table.add_row(name, "[green]ready[/]" if answer["ready"] else "[red]not ready[/]", reasons)
    console.print(table)
    running = supervisor_pid(options.home)
    console.print(f"supervisor: process {running}" if running else "supervisor: none runs here")
    console.print(gateway_url(options.ports))
    if not all_ready:
        raise typer.Exit(EXIT_FAILED)
    for notice in gateway_client.call(options, "GET", "/overview")["notices"]:
        console.print(notice, style="yellow")


@app.command()
def tail(
    events: Annotated[str, typer.Option(help="Comma-separated names or beginnings, e.g. fill,verdict.rejected")] = "",
    since_start: Annotated[bool, typer.Option("--all", help="Begin with everything that is stored.")] = False,
    count: Annotated[int, typer.Option(help="Stop after that many; 0 means never.", min=0)] = 0,
    port_shift: Shift = 0,
) -> None:
    """Show events in colour as they happen. Blocks and fee quotes appear only when asked for by name."""
    chosen = listening.choose(events.split(","))

    async def follow() -> None:
        shown = 0
        url = f"nats://127.0.0.1:{Ports(port_shift).nats}"
        async for event in listening.listen(url, chosen, since_start=since_start):
            console.print(rendering.line(event), highlight=False)
            shown += 1
            if count and shown >= count:
                return

    asyncio.run(follow())


@app.command()
def halt(
    reason: Annotated[str, typer.Argument(help="Why; it is recorded.")],
    everything: Annotated[bool, typer.Option("--all", help="HALTED: only cancels. Without it exits go on.")] = False,
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
) -> None:
    """Stop entries (REDUCING), or everything but cancels (HALTED) with --all. It holds until `dexlane resume`."""
    scope = Status.HALTED if everything else Status.REDUCING
    gateway_client.call(options_for(home, port_shift), "POST", "/halt", {"scope": scope, "reason": reason})
    console.print(f"trading is {scope}: {reason}")


@app.command()
def resume(
    reason: Annotated[str, typer.Argument(help="Why it is safe to go on; it is recorded.")],
    source: Annotated[
        str, typer.Option(help="Whose word to release: operator, gas, or the service that stopped.")
    ] = "operator",
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
) -> None:
    """Release the operator's halt, or with --source that of the gas oracle or of a service."""
    options = options_for(home, port_shift)
    gateway_client.call(options, "POST", "/resume", {"reason": reason, "source": source})
    console.print(f"the halt of {source} is released")
    if options.signer.exists():
        console.print("the signer's process holds halts by itself: `dexlane signer resume` lets go of them")


@app.command("emergency-stop")
def emergency_stop(
    close_positions: Annotated[bool, typer.Option("--close-positions", help="Sell all that is held first.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")] = "no reason was given",
    exits_within: Annotated[int, typer.Option(help="Seconds for the exits; then all is halted.", min=5)] = 300,
    wait: Annotated[bool, typer.Option(help="Show how far it is until it is done.")] = True,
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
) -> None:
    """Stop everything on all chains: no entries, open transactions are cancelled, and with --close-positions everything
    held is sold before. It goes on without this command. Exit code 1 when something is left at the end."""
    body = {"reason": reason, "close_positions": close_positions, "exits_within_s": exits_within}
    breakers.stop_everything(options_for(home, port_shift), body, wait=wait)


@app.command("reconcile")
def reconcile_command(
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON document.")] = False,
) -> None:
    """Compare the ledger of every live account with the chain, to the wei, and name the transactions behind a
    difference. Exit code 0 only without one."""
    options = options_for(home, port_shift)
    reports = [examine(options, chain_id) for chain_id in options.node_urls]
    if as_json:
        sys.stdout.write(orjson.dumps([report.as_json() for report in reports]).decode() + "\n")
    else:
        for report in reports:
            for table in tables(report):
                console.print(table)
    rows, faults = sum(len(report.lines) for report in reports), sum(len(report.findings) for report in reports)
    if faults:
        raise CommandError(f"{faults} of {rows} balances differ; halt with `dexlane halt` before anything else")
    if not as_json:
        console.print(f"{rows} balances of live accounts agree, difference 0" if rows else "no live account is open")


@app.command("allowances")
def allowances_command(
    home: Home = DEFAULT_HOME,
    port_shift: Shift = 0,
    blocks: Annotated[int, typer.Option(help="Last blocks whose logs are searched for approvals.", min=1)] = 50_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array instead of a table.")] = False,
) -> None:
    """List who may take tokens of the live accounts, by the chain. Exit code 1 when one is not expected: only Permit2
    may, for books that are switched on."""
    rows = allowances.list_allowances(options_for(home, port_shift), blocks)
    table = allowances.show(rows, as_json=as_json)
    if table is not None:
        console.print(table)
    if not all(row["expected"] for row in rows):
        raise typer.Exit(EXIT_FAILED)


@app.command("approval-keys")
def approval_keys_command(
    folder: Annotated[Path, typer.Argument(help="Where they lie; old ones stay.")],
) -> None:
    """Make the keys that risk-scorer, portfolio and gateway seal with, and print the public ones for signers."""
    write_approval_keys(folder)
    console.print_json((folder / APPROVER_KEYS).read_text())


@app.command("doctor")
def doctor_command(home: Home = DEFAULT_HOME, port_shift: Shift = 0) -> None:
    """Look at versions, servers, disk, ports and, when dexlane runs, at bus and chain. Exit code 1 on a fault."""
    findings = doctor.examine(options_for(home, port_shift))
    for finding in findings:
        mark = "[green]ok  [/]" if finding.well else "[red]fault[/]"
        console.print(f"{mark} {finding.name:<8} {finding.sentence}", highlight=False)
    if not all(finding.well for finding in findings):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def streams(
    url: Annotated[str, typer.Option(help="NATS server.", envvar="DEXLANE_NATS_URL")] = "nats://127.0.0.1:14222",
) -> None:
    """Declare streams and the pool bucket on the server and print what differed."""
    differences = asyncio.run(declare_streams(url))
    for difference in differences:
        console.print(difference, highlight=False)
    if not differences:
        console.print("streams and buckets are as declared")


@app.command()
def migrate(
    home: Home = DEFAULT_HOME,
    service: Annotated[str, typer.Option(help="Only this service; all money services without it.")] = "",
) -> None:
    """Bring the journals of the money services to the newest revision. Services also do this when they start."""
    # Imported when used: Alembic takes a third of a second, and no other command should wait for it.
    from dexlane.runtime.migrate import upgrade

    for name, url in journals.urls(home.resolve() / "session" / "data", service).items():
        asyncio.run(upgrade(url, *journals.PACKAGES[name]))
        console.print(f"{name}: newest revision")


def main() -> None:
    """Run a command; a known fault is one sentence on standard error and an exit code."""
    try:
        app()
    except CommandError as error:
        sys.stderr.write(f"dexlane: {error}\n")
        sys.exit(error.code)
    except DexlaneError as error:
        sys.stderr.write(f"dexlane: {error}\n")
        sys.exit(EXIT_FAILED)
