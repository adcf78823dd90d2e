"""The commands by name. Each is imported when it is called for: to import all of them takes two seconds."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


class Lazy(NamedTuple):
    """Where a command is, and its line in the list of commands."""

    target: str
    help: str


COMMANDS = {
    "up": Lazy("up:up_command", "Start everything on this machine, and show fills as they happen."),
    "down": Lazy("running:down_command", "Stop what `dexlane up` started."),
    "status": Lazy("running:status_command", "Show whether each service is ready, and why not."),
    "tail": Lazy("listening:tail_command", "Show events in colour as they happen."),
    "halt": Lazy("halting:halt_command", "Stop entries, or everything but cancels with --all, until `dexlane resume`."),
    "resume": Lazy("halting:resume_command", "Release the operator's halt, or that of a service."),
    "emergency-stop": Lazy("halting:emergency_stop_command", "Stop everything on all chains."),
    "books": Lazy("books:app", "Show the books, or add one."),
    "levels": Lazy("levels:levels_command", "Show what each level allows."),
    "confirmations": Lazy("confirmations:app", "List trades that wait for a person, and confirm or decline one."),
    "breakers": Lazy("breakers:app", "List circuit breakers, and reset one with a reason."),
    "reconcile": Lazy("reconcile:reconcile_command", "Compare the live ledger with the chain, to the wei."),
    "allowances": Lazy("allowances:allowances_command", "List who may take tokens of the live accounts, by the chain."),
    "signer": Lazy("signer:app", "Look at a signer and stop it."),
    "approval-keys": Lazy("session:approval_keys_command", "Make the keys that approvals are sealed with."),
    "thoughts": Lazy("thoughts:app", "Show, export and verify recorded decisions, or compute them again."),
    "token-check": Lazy("token_check:token_check_command", "Check a token by trading it in simulated blocks."),
    "bytecode-risk": Lazy("code_risk:bytecode_risk_command", "Judge runtime codes: a score and flags for each line."),
    "risk-report": Lazy("risk_report:risk_report_command", "How often `bytecode-risk` is right, on labelled codes."),
    "assess": Lazy("assess:assess_command", "Judge many opportunities from given evidence."),
    "compliance": Lazy("compliance:app", "Sanctions and rules of jurisdictions: what they say about addresses."),
    "quote": Lazy("quote:quote_command", "Answer questions about pools exactly: JSON lines in, JSON lines out."),
    "route": Lazy("route:route_command", "Find the best way to sell an amount, by exact quotes, net of gas."),
    "tape": Lazy("tape:app", "Recorded pool events in one small file, replayed with our own maths."),
    "gas-report": Lazy("gas_report:gas_report_command", "Replay the fee policy on recorded blocks."),
    "doctor": Lazy("doctor:doctor_command", "Look at versions, servers, disk, ports, bus and chain."),
    "streams": Lazy("whole_system:streams_command", "Declare streams and the pool bucket on the server."),
    "migrate": Lazy("journals:migrate_command", "Bring the journals of the money services to the newest revision."),
}


class Commands(TyperGroup):
    """The group of all commands. Its list is made of stand-ins, which know their line and no more."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update({name: TyperCommand(name, help=one.help) for name, one in COMMANDS.items()})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself."""
        name, stand_in, rest = super().resolve_command(ctx, args)
        return name, stand_in if name is None else loaded(name), rest


def loaded(name: str) -> Any:
    """Import a command."""
    module, _, attribute = COMMANDS[name].target.partition(":")
    found = getattr(import_module(f"dexlane_cli.{module}"), attribute)
    if isinstance(found, typer.Typer):
        return get_group(found)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return get_command(alone)
