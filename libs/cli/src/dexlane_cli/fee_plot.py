"""The gas report as a picture: saving by deadline for our policy, perfect foresight and two baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dexlane_cli.errors import EXIT_USAGE, CommandError

OURS, LIMIT, OTHERS = "#0b6e4f", "#8d99ae", ("#c8553d", "#588b8b")
COMPARED = ("node_default", "two_base_plus_tip")
OFTEN = 0.005
"""From this share of missed trades on a point is crossed: it shows only what was included."""
WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 4.2, 3.4, 110


def draw(report: dict[str, Any], path: Path) -> None:
    """Write a PNG, one panel per file. Raises ``CommandError`` without matplotlib or where it cannot write."""
    # Imported when used: it is an extra of this option only, and a big one.
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CommandError("--plot needs matplotlib: pip install 'dexlane-cli[fees]'", EXIT_USAGE) from error
    files = report["files"]
    figure = Figure(figsize=(WIDTH_INCHES * len(files), HEIGHT_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    for panel, file in zip(figure.subplots(1, len(files), squeeze=False)[0], files, strict=True):
        _panel(panel, file)
    try:
        figure.savefig(path, dpi=DOTS_PER_INCH, format="png")
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}", EXIT_USAGE) from error


def _panel(panel: Any, file: dict[str, Any]) -> None:
    entries = file["deadlines"]
    main = entries[0]["main_baseline"]
    places = list(range(len(entries)))
    wallet = [entry["baselines"][main]["paid_gwei"] for entry in entries]

    def saved(paid: list[float | None]) -> list[float]:
        return [float("nan") if one is None else 100 * (1 - one / base) for one, base in zip(paid, wallet, strict=True)]

    panel.plot(places, saved([entry["foresight_paid_gwei"] for entry in entries]), "--", color=LIMIT, label="foresight")
    ours = [entry["baselines"][main] for entry in entries]
    panel.plot(places, [100 * one["saving"] for one in ours], "o-", color=OURS, label="dexlane")
    low, high = ([100 * one["saving_ci95"][bound] for one in ours] for bound in (0, 1))
    panel.fill_between(places, low, high, color=OURS, alpha=0.15, linewidth=0)
    for name, colour in zip(COMPARED, OTHERS, strict=True):
        if name in entries[0]["baselines"]:
            paid = [entry["baselines"][name]["paid_gwei"] for entry in entries]
            panel.plot(places, saved(paid), "-", color=colour, linewidth=1, label=name.replace("_", " "))
    for paid, missed in _curves(entries):
        often = [place for place, share in zip(places, missed, strict=True) if share > OFTEN]
        panel.plot(often, [saved(paid)[place] for place in often], "x", color="black", markersize=6)
    panel.axhline(0, color="black", linewidth=0.6)
    panel.axhline(23.1, color="black", linewidth=0.6, linestyle=":")
    panel.set_xticks(places, [str(entry["deadline"]) for entry in entries])
    panel.set_title(file["file"].removesuffix(".parquet"), fontsize=8)
    panel.set_xlabel("deadline in blocks", fontsize=8)
    panel.set_ylabel(f"% paid less than {main.replace('_', ' ')}", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.legend(fontsize=7, frameon=False)


def _curves(entries: list[dict[str, Any]]) -> list[tuple[list[float | None], list[float]]]:
    """What our policy and the compared baselines paid, and the share of trades they missed, by deadline."""
    trades = [entry["trades"] for entry in entries]
    sources = [[entry["policy"] for entry in entries]]
    sources += [[entry["baselines"][name] for entry in entries] for name in COMPARED if name in entries[0]["baselines"]]
    return [
        (
            [one["paid_gwei"] for one in source],
            [one["missed"] / count for one, count in zip(source, trades, strict=True)],
        )
        for source in sources
    ]
