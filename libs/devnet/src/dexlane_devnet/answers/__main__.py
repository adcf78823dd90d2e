"""``python -m dexlane_devnet.answers PROTOCOL COUNT SEED OUT.jsonl.gz``."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from pathlib import Path

from dexlane_devnet.answers import PROTOCOLS, Extent, record_answers
from dexlane_devnet.answers.chain import Json
from dexlane_devnet.build import default_cache


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


async def _recorded(protocol: str, count: int, seed: int) -> list[Json]:
    return [pool async for pool in record_answers(protocol, Extent(count), seed, default_cache(), _say)]


def main(arguments: list[str]) -> int:
    """Write one JSON line per pool; gzip without a time stamp, so that equal answers are equal bytes."""
    if len(arguments) != 4 or arguments[0] not in PROTOCOLS:
        sys.stderr.write(f"usage: python -m dexlane_devnet.answers {{{','.join(PROTOCOLS)}}} COUNT SEED OUT.jsonl.gz\n")
        return 2
    protocol, count, seed, out = arguments
    pools = asyncio.run(_recorded(protocol, int(count), int(seed)))
    lines = "".join(json.dumps(pool, separators=(",", ":")) + "\n" for pool in pools)
    Path(out).write_bytes(gzip.compress(lines.encode(), mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
