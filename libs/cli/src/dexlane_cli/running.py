"""``dexlane status`` and ``dexlane down``: what runs on this machine, and its end."""

from __future__ import annotations

import httpx
import typer
from rich.table import Table
from rich.text import Text

from dexlane_cli import gateway_client
from dexlane_cli.errors import EXIT_FAILED
from dexlane_cli.options import DEFAULT_HOME, Home, Shift, console, options_for
from dexlane_cli.session import stop_supervisor, supervisor_pid
from dexlane_cli.stack import SERVICE_PORTS, gateway_url


def down_command(home: Home = DEFAULT_HOME) -> None:
    """Stop what `dexlane up` started."""
    stopped = stop_supervisor(home.resolve(), timeout_s=40)
    console.print("stopped" if stopped else "nothing runs here")


def status_command(home: Home = DEFAULT_HOME, port_shift: Shift = 0) -> None:
    """Show whether each service is ready, and why not. Exit code 1 when one is not."""
    options = options_for(home, port_shift)
    table = Table("service", "state", "why not, or what it is")
    all_ready = True
    with httpx.Client(timeout=2, trust_env=False) as client:
        for name in SERVICE_PORTS:
            try:
                answer = client.get(f"http://127.0.0.1:{options.ports.service(name)}/readyz").json()
            except (httpx.HTTPError, ValueError):
                answer = {"service": name, "ready": False, "reasons": {"process": "does not answer"}}
            if not isinstance(answer, dict) or answer.get("service") != name:
                answer = {"ready": False, "reasons": {"process": "another program answers here"}}
            told = answer["reasons"] or answer.get("notes", {})
            reasons = "; ".join(f"{key}: {value}" for key, value in told.items())
            all_ready = all_ready and answer["ready"]
            table.add_row(name, Text("ready", "green") if answer["ready"] else Text("not ready", "red"), reasons)
    console.print(table)
    running = supervisor_pid(options.home)
    console.print(f"supervisor: process {running}" if running else "supervisor: none runs here")
    console.print(gateway_url(options.ports))
    if not all_ready:
        raise typer.Exit(EXIT_FAILED)
    for notice in gateway_client.call(options, "GET", "/overview")["notices"]:
        console.print(notice, style="yellow")
