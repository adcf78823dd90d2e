"""``dexlane signer``: look at a signer's process and stop it, over its control socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import orjson
import typer

from dexlane.runtime.signer_control import tell
from dexlane_cli.errors import CommandError

app = typer.Typer(help="Look at a signer and stop it. Resuming is for its owner: `dexlane-signer resume`.")
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
