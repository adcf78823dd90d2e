"""Empty journals of the newest revision: hundreds of tests begin with one, and migrating takes longer than most do."""

from __future__ import annotations

import tempfile
from pathlib import Path

from dexlane.runtime.migrate import database_file, upgrade

_files: dict[tuple[str, ...], bytes] = {}
"""By packages: the SQLite file that their revisions give, made once in a process."""


async def migrated(url: str, *packages: str) -> None:
    """Bring a journal to the newest revision, as ``upgrade`` does. A SQLite file that is not there yet becomes a copy
    of one that ``upgrade`` has made."""
    file = database_file(url)
    if file is None or file.exists():
        await upgrade(url, *packages)
        return
    if packages not in _files:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "empty.db"
            await upgrade(f"sqlite+aiosqlite:///{made}", *packages)
            _files[packages] = made.read_bytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(_files[packages])
