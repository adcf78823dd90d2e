"""Where the journals of the money services are, and which packages own their tables."""

from __future__ import annotations

import os
from pathlib import Path

from dexlane_cli.errors import EXIT_USAGE, CommandError

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
