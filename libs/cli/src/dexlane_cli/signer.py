"""``dexlane signer``: look at a signer and stop it, over its control socket; let go of a halt of one's own stack."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import orjson
import typer

from dexlane.runtime.signer_control import tell
from dexlane_cli.errors import CommandError
from dexlane_cli.stack import StackOptions
from dexlane_signer import HALT_FILE, Level, NonceGuard

app = typer.Typer(
    help="Look at a signer and stop it. Resuming is for its owner: here of a stack, else `dexlane-signer resume`."
)
Control = Annotated[Path, typer.Option("--control", envvar="DXL_SIGNER_CONTROL", help="Control socket of the signer.")]


def _said(control: Path, said: dict[str, str]) -> dict[str, object]:
    answer = asyncio.run(tell(control, said))
    if "refused" in answer:
        raise CommandError(str(answer["refused"]))
    return answer


@app.command("status")
def status(control: Control) -> None:
    """What holds, who set it, the age of the control plane's last sign of life, and what was counted."""
    typer.echo(orjson.dumps(_said(control, {"do": "status"}), option=orjson.OPT_INDENT_2).decode())


@app.command("halt")
def halt(
    reason: Annotated[str, typer.Argument(help="Why; it is recorded.")],
    control: Control,
    reducing: Annotated[bool, typer.Option("--reducing", help="Go on signing exits.")] = False,
) -> None:
    """Cancels only, at once and until a person resumes; needs neither the gateway nor the bus."""
    level = "reducing" if reducing else "halted"
    answer = _said(control, {"do": "halt", "level": level, "source": "operator", "reason": reason})
    typer.echo(f"the signer is {answer['level']}")


@app.command("resume")
def resume(
    reason: Annotated[str, typer.Argument(help="Why it is safe to go on; it is recorded.")],
    home: Annotated[Path, typer.Option(envvar="DXL_HOME", help="Folder of the stack.")] = Path(".dexlane"),
) -> None:
    """Release what the signers of `dexlane up` latched, in the process or inside executors. Whoever can write their
    records is their owner; a halt that the bus still carries is released by `dexlane resume`."""
    records = StackOptions(home=home.resolve()).signer_records()
    if not records:
        raise CommandError(f"there is no record of a signer in {home}")
    for record in records:
        if record.with_name(HALT_FILE).exists():
            raise CommandError(f"the file {record.with_name(HALT_FILE)} still halts; remove it first")
    for record in records:
        typer.echo(f"{record.name}: {_released(record, reason)}")


def _released(record: Path, reason: str) -> str:
    guard = NonceGuard(record)
    try:
        held = guard.latch()
        if held.level is Level.ACTIVE:
            return "nothing was halted"
        guard.resume(reason)
    finally:
        guard.close()
    return f"released: {held.sentence}"
