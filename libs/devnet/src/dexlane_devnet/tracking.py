"""How closely the chain's price follows the record: running figures (statistics, hence floats)."""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

SAMPLES_KEPT = 5_000


@dataclass(frozen=True)
class FlowStats:
    """A moment of a running flow.

    Attributes:
        recorded_s: recorded seconds played since the start, over all passes.
        pass_number: 0 for the first pass over the day.
        swaps_failed: recorded swaps that were mined without a Swap log.
        lost_to_reorg: transactions of the flow a reorganisation threw out.
        rewinds: times liquidity and price were brought back to the start of the day.
        samples: recorded swaps behind the deviation figures (the last 5,000 at most).
        median_bps: median absolute deviation of the price after a swap from the recorded one; None without samples.
        p95_bps: 95th percentile of the same.
    """

    recorded_s: int = 0
    pass_number: int = 0
    swaps_sent: int = 0
    swaps_mined: int = 0
    swaps_failed: int = 0
    liquidity_changes: int = 0
    synthetic_trades: int = 0
    shocks: int = 0
    lost_to_reorg: int = 0
    resyncs: int = 0
    rewinds: int = 0
    outstanding: int = 0
    base_fee_wei: int = 0
    samples: int = 0
    median_bps: float | None = None
    p95_bps: float | None = None


@dataclass
class Deviation:
    """Absolute price deviations of the last swaps, in bps."""

    kept: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES_KEPT))

    def add(self, recorded_sqrt: int, chain_sqrt: int) -> None:
        """Note one swap by its recorded and its actual sqrt price (any scale, both the same)."""
        ratio = chain_sqrt / recorded_sqrt
        self.kept.append(abs(ratio * ratio - 1) * 10_000)

    def figures(self) -> tuple[int, float | None, float | None]:
        """(number of samples, median, 95th percentile), rounded to a thousandth of a bp."""
        if not self.kept:
            return 0, None, None
        ordered = sorted(self.kept)
        at_95 = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
        return len(ordered), round(median(ordered), 3), round(at_95, 3)
