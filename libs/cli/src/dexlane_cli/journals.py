"""Where the journals of the money services are, and which packages own their tables."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.options import DEFAULT_HOME, Home, console

PACKAGES: dict[str, tuple[str, ...]] = {
    "fast-executor": ("dexlane.chain",),
    "smart-executor": ("dexlane.chain",),
    "paper-sim": ("paper_sim",),
    "portfolio": ("portfolio",),
    "gateway": ("gateway",),
}
"""Packages with ``migrations/versions``, beside the inbox and outbox that every journal has."""


def urls(data_dir: Path, only: str = "") -> dict[str, str]:
    """The journal of each money service: ``DEXLANE_<SERVICE>_DATABASE_URL``, else its file in the data folder."""
    if only and only not in PACKAGES:
        raise CommandError(f"{only!r} keeps no journal; these do: {', '.join(PACKAGES)}", EXIT_USAGE)
    return {
        name: os.environ.get(f"DEXLANE_{name.upper().replace('-', '_')}_DATABASE_URL")
        or f"sqlite+aiosqlite:///{data_dir / name}.db"
        for name in PACKAGES
        if not only or name == only
    }


def migrate_command(
    home: Home = DEFAULT_HOME,
    service: Annotated[str, typer.Option(help="Only this service; all money services without it.")] = "",
) -> None:
    """Bring the journals of the money services to the newest revision. Services also do this when they start."""
    # Imported when used: Alembic takes a third of a second, and no other command should wait for it.
    from dexlane.runtime.migrate import upgrade

    for name, url in urls(home.resolve() / "session" / "data", service).items():
        asyncio.run(upgrade(url, *PACKAGES[name]))
        console.print(f"{name}: newest revision")
