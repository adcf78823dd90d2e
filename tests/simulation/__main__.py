"""``python -m simulation``: live through worlds, one seed after the other, and say what was seen."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Iterator

from simulation.pairs import ALL_PAIRS, Pair, enumerate_pairs, table
from simulation.planted import BUGS, planted
from simulation.processes import remove_home, simulated_surroundings
from simulation.shape import Shape
from simulation.shrinking import shrink
from simulation.world import Outcome, run_world

COLLECT_EVERY = 8
SHOWN = 60


def seeds_of(text: str) -> Iterator[int]:
    """``1..200``, ``17`` or ``1,5,9``."""
    for part in text.split(","):
        first, _, last = part.partition("..")
        yield from range(int(first), int(last or first) + 1)


def main() -> int:
    """Run; 1 when a rule was broken or a replay differed."""
    arguments = _arguments()
    began, total, pairs = time.perf_counter(), Counter[str](), set[tuple[str, str]]()
    seeds = list(seeds_of(arguments.seeds))
    gc.disable()
    try:
        with simulated_surroundings(), planted(arguments.bug):
            if not arguments.no_pairs and not _all_pairs(total, pairs):
                seeds = []
            for place, seed in enumerate(seeds, 1):
                outcome = run_world(seed, trace=arguments.trace)
                total += outcome.counts
                total["violations"] += len(outcome.violations)
                pairs |= outcome.pairs
                if not _tell(outcome, arguments, total):
                    total["failed"] += 1
                    break
                if place % COLLECT_EVERY == 0:
                    gc.collect()
                _progress(place, len(seeds), total, began)
    finally:
        remove_home()
    seconds = time.perf_counter() - began
    print(
        f"{len(seeds)} seeds, {total['crashes']} crashes, {total['intents']} intents, {total['trades']} trades, "
        f"{total['effects']} effects, {total['reorgs']} reorgs, {total['violations']} violations, "
        f"{len(pairs)} pairs, {total['crashes'] / seconds:.1f} crashes/s, {seconds:.1f} s"
    )
    return 1 if total["failed"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", default="1..200", help="1..200, 17 or 1,5,9")
    parser.add_argument("--replay", action="store_true", help="live through every seed twice and compare")
    parser.add_argument("--trace", action="store_true", help="print everything that happened")
    parser.add_argument("--no-pairs", action="store_true", help="leave out the enumeration of boundaries and outcomes")
    parser.add_argument("--bug", choices=sorted(BUGS), help="plant this bug")
    return parser.parse_args()


def _tell(outcome: Outcome, arguments: argparse.Namespace, total: Counter[str]) -> bool:
    if arguments.trace:
        print("\n".join(outcome.trace))
    if outcome.violations:
        _explain(outcome)
        return False
    if arguments.replay:
        again = run_world(outcome.seed)
        total["replays"] += 1
        same = again.digest == outcome.digest
        print(f"seed {outcome.seed}: {outcome.digest} and {again.digest}: {'equal' if same else 'DIFFERENT'}")
        return same
    return True


def _explain(outcome: Outcome) -> None:
    """The seed, the rule, the fewest faults that still break one, and the trace of those."""
    seed = int(outcome.seed)
    print(f"\nseed {seed} breaks {outcome.violations[0]}")
    for more in outcome.violations[1:]:
        print(f"    and {more}")

    def fails(faults: object) -> bool:
        return bool(run_world(seed, allowed=frozenset(faults)).violations)  # type: ignore[call-overload]

    fewest = shrink(outcome.fired, fails)
    shortest = run_world(seed, Shape.of(seed), allowed=frozenset(fewest), trace=True)
    print(f"{len(fewest)} of its {len(outcome.fired)} faults are enough: {', '.join(fewest)}")
    print(f"which break {'; '.join(shortest.violations)}. The end of the trace:")
    print("    " + "\n    ".join(shortest.trace[-SHOWN:]))


def _all_pairs(total: Counter[str], pairs: set[Pair]) -> bool:
    """Live through every boundary under every outcome, and print which were hit."""
    for outcome in enumerate_pairs():
        total += outcome.counts
        total["violations"] += len(outcome.violations)
        pairs |= outcome.pairs
        for sentence in outcome.violations:
            print(f"{outcome.seed} breaks {sentence}")
    print(table(pairs))
    complete = not total["violations"] and pairs >= ALL_PAIRS
    total["failed"] += not complete
    return complete


def _progress(place: int, of: int, total: Counter[str], began: float) -> None:
    if sys.stderr.isatty():
        rate = total["crashes"] / (time.perf_counter() - began)
        sys.stderr.write(f"\r{place}/{of} seeds, {total['crashes']} crashes ({rate:.0f}/s), {total['failed']} failed ")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
