"""Which rules run here: a name for the code that decides."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import dexlane

DECIDING = ("values", "events", "domain")
"""The layers whose functions decide; nothing below them does."""


@cache
def code_version() -> str:
    """Sixteen hex digits over the sources of all layers that decide: equal code has an equal name everywhere."""
    seen = hashlib.sha256()
    root = Path(dexlane.__file__).parent
    for layer in DECIDING:
        for path in sorted((root / layer).rglob("*.py")):
            seen.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return seen.hexdigest()[:16]
