"""``python -m simulation``: live through worlds, one seed after the other, and say what was seen."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from simulation.jobs import Lived, Order, worlds
from simulation.long_series import SeriesFile, added_up
from simulation.pairs import ALL_PAIRS, Pair, enumerate_pairs, table
from simulation.planted import BUGS, planted
from simulation.processes import remove_home, simulated_surroundings
from simulation.shape import SERIES, Shape
from simulation.shrinking import shrink
from simulation.world import Outcome, run_world

SHOWN = 60
EACH = ("crashes", "reorgs", "undone", "intents", "signed", "trades", "balances", "off_by", "effects")


def seeds_of(text: str) -> Iterator[int]:
    """``1..200``, ``17`` or ``1,5,9``."""
    for part in text.split(","):
        first, _, last = part.partition("..")
        yield from range(int(first), int(last or first) + 1)


def main() -> int:
    """Run; 1 when a rule was broken or a replay differed."""
    arguments = _arguments()
    if arguments.log is not None:
        return _in_parts(arguments)
    began, total, pairs = time.perf_counter(), Counter[str](), set[tuple[str, str]]()
    seeds = list(seeds_of(arguments.seeds))
    if arguments.no_pairs or _all_pairs(total, pairs):
        order = Order(
            seeds=seeds,
            series=arguments.shape,
            bug=arguments.bug,
            trace=arguments.trace,
            replay=arguments.replay,
        )
        for lived in worlds(order, arguments.jobs):
            total["seeds"] += 1
            total += lived.outcome.counts
            total["violations"] += len(lived.outcome.violations)
            pairs |= lived.outcome.pairs
            if not _tell(lived, arguments):
                total["failed"] += 1
                break
            _progress(len(seeds), total, began)
    print(_summary(total, len(pairs), time.perf_counter() - began))
    return 1 if total["failed"] else 0


def _in_parts(arguments: argparse.Namespace) -> int:
    """Go on with a long series where its file ends, past worlds that break a rule; and add the file up."""
    began = time.process_time()
    series = SeriesFile(arguments.log, arguments.shape, list(seeds_of(arguments.seeds)))
    order = Order(seeds=series.left, series=arguments.shape, bug=arguments.bug)
    for lived in worlds(order, arguments.jobs) if order.seeds else ():
        series.note(lived.outcome)
        if lived.outcome.violations:
            print(f"seed {lived.outcome.seed} breaks {'; '.join(lived.outcome.violations)}", flush=True)
    total = added_up([arguments.log])
    print(_tally(total), f"{time.process_time() - began:.0f} s of processor time for {len(order.seeds)} worlds now")
    return 1 if total["violations"] else 0


def _tally(total: Counter[str]) -> str:
    named = ("worlds", "crashes", "reorgs", "undone", "intents", "signed", "trades", "balances", "off_by", "violations")
    return ", ".join(f"{total[name]} {name}" for name in named) + ";"


def _summary(total: Counter[str], pairs: int, seconds: float) -> str:
    return (
        f"{total['seeds']} seeds, {total['crashes']} crashes, {total['reorgs']} reorgs (they undid {total['undone']} "
        f"transactions), {total['intents']} intents, {total['signed']} transactions signed, {total['trades']} trades, "
        f"{total['effects']} effects, {total['balances']} balances at the ends differ from the chain by "
        f"{total['off_by']} wei, {total['violations']} violations, {pairs} pairs, "
        f"{total['crashes'] / seconds:.1f} crashes/s, {seconds:.1f} s"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", default="1..200", help="1..200, 17 or 1,5,9")
    parser.add_argument("--replay", action="store_true", help="live through every seed twice and compare")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    parser.add_argument("--no-pairs", action="store_true", help="leave out the enumeration of boundaries and outcomes")
    parser.add_argument("--shape", choices=SERIES, default="mixed", help="worlds of every kind, or much of one")
    parser.add_argument("--jobs", type=int, default=1, help="programs that live through worlds side by side")
    parser.add_argument("--each", action="store_true", help="print a line for every world")
    parser.add_argument("--log", type=Path, help="go on with a long series: a line of this file for every few worlds")
    parser.add_argument("--bug", choices=sorted(BUGS), help="plant this bug")
    return parser.parse_args()


def _tell(lived: Lived, arguments: argparse.Namespace) -> bool:
    outcome = lived.outcome
    if arguments.trace:
        print("\n".join(outcome.trace))
    if arguments.each:
        counts = ", ".join(f"{outcome.counts[name]} {name}" for name in EACH)
        print(f"seed {outcome.seed}: {counts}", flush=True)
    if outcome.violations:
        _explain(outcome, arguments)
        return False
    if lived.again is not None:
        same = lived.again == outcome.digest
        print(f"seed {outcome.seed}: {outcome.digest} and {lived.again}: {'equal' if same else 'DIFFERENT'}")
        return same
    return True


def _explain(outcome: Outcome, arguments: argparse.Namespace) -> None:
    """The seed, the rule, the fewest faults that still break one, and the trace of those."""
    seed = int(outcome.seed)
    print(f"\nseed {seed} breaks {outcome.violations[0]}")
    for more in outcome.violations[1:]:
        print(f"    and {more}")

    shape = Shape.named(arguments.shape, seed)

    def fails(faults: object) -> bool:
        return bool(run_world(seed, shape, allowed=frozenset(faults)).violations)  # type: ignore[call-overload]

    with simulated_surroundings(), planted(arguments.bug):
        fewest = shrink(outcome.fired, fails)
        shortest = run_world(seed, shape, allowed=frozenset(fewest), trace=True)
    remove_home()
    print(f"{len(fewest)} of its {len(outcome.fired)} faults are enough: {', '.join(fewest)}")
    print(f"which break {'; '.join(shortest.violations)}. The end of the trace:")
    print("    " + "\n    ".join(shortest.trace[-SHOWN:]))


def _all_pairs(total: Counter[str], pairs: set[Pair]) -> bool:
    """Live through every boundary under every outcome, and print which were hit."""
    with simulated_surroundings():
        outcomes = enumerate_pairs()
    remove_home()
    for outcome in outcomes:
        total += outcome.counts
        total["violations"] += len(outcome.violations)
        pairs |= outcome.pairs
        for sentence in outcome.violations:
            print(f"{outcome.seed} breaks {sentence}")
    print(table(pairs))
    complete = not total["violations"] and pairs >= ALL_PAIRS
    total["failed"] += not complete
    return complete


def _progress(of: int, total: Counter[str], began: float) -> None:
    if sys.stderr.isatty():
        rate = total["crashes"] / (time.perf_counter() - began)
        sys.stderr.write(f"\r{total['seeds']}/{of} seeds, {total['crashes']} crashes ({rate:.0f}/s) ")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
