"""The recorded day: one row per pool event, in chain order (see tapes/README.md for provenance and licence)."""

import csv
import gzip
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from dexlane_devnet.errors import DevnetError

DEFAULT_TAPE = Path(__file__).parent / "tapes" / "ethereum_usdc_weth_500_2024-01-05.csv.gz"
KINDS = ("swap", "mint", "burn", "collect")


@dataclass(frozen=True, slots=True)
class TapeEvent:
    """One recorded event of a V3 pool.

    Amounts are in the token's smallest unit. For swaps they are signed from the pool's view (positive = paid in) and
    ``sqrt_price_x96``, ``liquidity`` and ``tick`` are the pool's values after the swap. For mint and burn ``liquidity``
    is the position's change and the ticks are its range.
    """

    block_number: int
    timestamp: int
    log_index: int
    kind: str
    amount0: int
    amount1: int
    sqrt_price_x96: int
    liquidity: int
    tick: int
    tick_lower: int
    tick_upper: int


@dataclass(frozen=True)
class Tape:
    """A day of events and the hash of the file they came from."""

    events: tuple[TapeEvent, ...]
    digest: str

    @property
    def swaps(self) -> tuple[TapeEvent, ...]:
        return tuple(event for event in self.events if event.kind == "swap")

    @property
    def duration_s(self) -> int:
        """Recorded seconds from the first event to one block after the last."""
        return self.events[-1].timestamp - self.events[0].timestamp + 12


def load_tape(path: Path = DEFAULT_TAPE) -> Tape:
    """Read a tape file.

    Raises:
        DevnetError: the file is missing, holds an unknown kind of event, or is not in chain order.
    """
    if not path.is_file():
        raise DevnetError(f"there is no tape at {path}.")
    raw = path.read_bytes()
    reader = csv.DictReader(io.StringIO(gzip.decompress(raw).decode()))
    events = tuple(_event(row) for row in reader)
    order = [(event.block_number, event.log_index) for event in events]
    if not events or order != sorted(order) or any(event.kind not in KINDS for event in events):
        raise DevnetError(f"the tape {path.name} is empty, out of order or holds an unknown kind of event.")
    return Tape(events, hashlib.sha256(raw).hexdigest())


def _event(row: dict[str, str]) -> TapeEvent:
    def number(name: str) -> int:
        return int(row[name] or "0")

    return TapeEvent(
        block_number=number("block_number"),
        timestamp=number("timestamp"),
        log_index=number("log_index"),
        kind=row["kind"],
        amount0=number("amount0"),
        amount1=number("amount1"),
        sqrt_price_x96=number("sqrt_price_x96"),
        liquidity=number("liquidity"),
        tick=number("tick"),
        tick_lower=number("tick_lower"),
        tick_upper=number("tick_upper"),
    )
