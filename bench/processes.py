"""What the running system costs: proportional memory and processor time of a process and everything below it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SURROUNDINGS = ("anvil", "dexlane_devnet")


@dataclass(frozen=True)
class Cost:
    """Of one process: proportional set size in MiB, and processor seconds since its start."""

    name: str
    pss_mib: float
    cpu_s: float

    @property
    def is_surroundings(self) -> bool:
        """Whether it plays the world around dexlane: the chain and its flow."""
        return self.name.startswith(SURROUNDINGS)


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, open_ends = [], [root]
    while open_ends:
        pid = open_ends.pop()
        found.append(pid)
        open_ends += children.get(pid, [])
    return found


def cost(pid: int) -> Cost | None:
    """What one process costs; None when it ended."""
    folder = Path(f"/proc/{pid}")
    try:
        rollup = (folder / "smaps_rollup").read_text()
        fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        arguments = (folder / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    pss_kib = next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
    return Cost(_name(arguments), pss_kib / 1024, (int(fields[11]) + int(fields[12])) / TICKS_PER_S)


def _name(arguments: list[bytes]) -> str:
    words = [Path(word.decode(errors="replace")).name for word in arguments if word]
    known = [word for word in words if word.startswith(("dexlane", "nats-server", "valkey", "anvil"))]
    return known[0] if known else (words[0] if words else "?")


def costs(root: int) -> list[Cost]:
    """Every process of the tree."""
    return [found for pid in tree(root) if (found := cost(pid)) is not None]
