"""Convert a demeter-fetch raw-log parquet of one V3 pool into the compact tape the package ships.

Usage: python libs/devnet/tools/convert_tape.py RAWLOGS.parquet OUT.csv.gz
Needs pyarrow (a development dependency only). No value is changed: words of topics and data become decimal strings.
"""

import csv
import gzip
import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

KINDS = {
    "0xc42079f94a6350d7e6235f29174924f928cc2ac818eb64fed8004e115fbcca67": "swap",
    "0x7a53080ba414158be7ec69b987b5fb7d07dee101fe85488f0853ae16239d0bde": "mint",
    "0x0c396cd989a39f4459b5fa1aed6a9a8dcdbc45908acfd67e028cd568da98982c": "burn",
    "0x70935338e69775456a85ddef226c395fb668b63fa0115f5f20610b388e6ca9c0": "collect",
}
COLUMNS = (
    "block_number", "timestamp", "log_index", "kind", "amount0", "amount1",
    "sqrt_price_x96", "liquidity", "tick", "tick_lower", "tick_upper",
)  # fmt: skip


def signed(word: str) -> int:
    """A 32-byte hex word as a two's complement integer."""
    value = int(word, 16)
    return value - (1 << 256) if value >> 255 else value


def convert_row(row: dict[str, str]) -> dict[str, object]:
    """One raw log as one tape row (field order of Uniswap V3 core's IUniswapV3PoolEvents)."""
    topics = json.loads(row["topics"])
    data = row["data"].removeprefix("0x")
    words = [signed(data[i : i + 64]) for i in range(0, len(data), 64)]
    kind = KINDS[topics[0]]
    out: dict[str, object] = {
        "block_number": int(row["block_number"]),
        "timestamp": int(datetime.fromisoformat(row["block_timestamp"]).replace(tzinfo=UTC).timestamp()),
        "log_index": int(row["log_index"]),
        "kind": kind,
    }
    if kind == "swap":
        names = ("amount0", "amount1", "sqrt_price_x96", "liquidity", "tick")
        return out | dict(zip(names, words, strict=True))
    out |= {"tick_lower": signed(topics[2]), "tick_upper": signed(topics[3])}
    fields: dict[str, tuple[str, ...]] = {
        "mint": ("sender", "liquidity", "amount0", "amount1"),
        "burn": ("liquidity", "amount0", "amount1"),
        "collect": ("recipient", "amount0", "amount1"),
    }
    return out | {name: word for name, word in zip(fields[kind], words, strict=True) if name in COLUMNS}


def main(source: str, target: str) -> None:
    rows = [convert_row(row) for row in pq.read_table(source).to_pylist()]
    rows.sort(key=lambda row: (row["block_number"], row["log_index"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    # mtime=0 and no file name keep the output identical from run to run.
    Path(target).write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
