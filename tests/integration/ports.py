"""Ports for systems of tests, of which several may run on this machine at once."""

from __future__ import annotations

import os
from contextlib import suppress

from dexlane_cli.errors import CommandError
from dexlane_cli.session import require_free_ports
from dexlane_cli.stack import DEVNETS, Ports

PLACES = 110


def free_shift() -> int:
    """A shift with which every port of a system is free now. Each process of tests begins to look somewhere else."""
    for tried in range(PLACES):
        shift = 1_000 + (os.getpid() + tried) % PLACES * 100
        with suppress(CommandError):
            require_free_ports(Ports(shift), devnets=DEVNETS)
            return shift
    raise RuntimeError("no shift leaves all ports of a system free")
