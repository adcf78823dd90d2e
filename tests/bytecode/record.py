"""Record answers of the real contracts into the golden files of the project.

    python tests/bytecode/record.py [--answers 3600] [--seed 20260101]

Writes ``libs/common/tests/golden/uniswap_{v2,v3}_bytecode.json.gz``; the same seed gives the same files.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

from dexlane_devnet import DevnetConfig, free_port, start_devnet
from market import Market

GOLDEN = Path(__file__).parents[2] / "libs/common/tests/golden"
_V3_POOLS, _V2_PAIRS, _TAXED_PAIRS = 40, 40, 10


async def record(answers: int, seed: int) -> None:
    """Ask the contracts and write both files."""
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        market = Market(devnet, seed)
        await market.prepare()
        v3 = [await market.v3_pool(answers // _V3_POOLS) for _ in range(_V3_POOLS)]
        v2 = [await market.v2_pair(answers // _V2_PAIRS) for _ in range(_V2_PAIRS)]
        v2 += [await market.v2_pair(answers // _V2_PAIRS, taxed=True) for _ in range(_TAXED_PAIRS)]
    for name, pools in (("uniswap_v3_bytecode", v3), ("uniswap_v2_bytecode", v2)):
        text = json.dumps([_texts(pool) for pool in pools], separators=(",", ":")).replace("},{", "},\n{")
        (GOLDEN / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _texts(value: Any) -> Any:
    """Integers beyond 53 bits as decimal strings, so that every reader of JSON can hold them."""
    if isinstance(value, dict):
        return {name: _texts(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_texts(part) for part in value]
    return str(value) if isinstance(value, int) and abs(value) >= 1 << 53 else value


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=3_600, help="of each protocol")
    parser.add_argument("--seed", type=int, default=20260101)
    options = parser.parse_args()
    asyncio.run(record(options.answers, options.seed))
