"""``make crash``: real processes killed at random moments, real books checked afterwards."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from crash_run import Plan, Result, run


def main() -> int:
    """Run, print one line, exit with 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="crash", description=__doc__)
    parser.add_argument("--crashes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=45.0, help="stop after this time, whatever was reached")
    parser.add_argument("--batch", type=int, default=20, help="crashes between two checks")
    parser.add_argument("--pace", type=float, default=3.0, help="mean seconds between two faults")
    parser.add_argument("--patience", type=float, default=5.0, help="seconds most faults wait for executors that trade")
    parser.add_argument("--lose-broker-every", type=int, default=4, help="batches; the broker loses all it stored")
    parser.add_argument("--postgres", action="store_true", help="journals on a PostgreSQL that is killed, too")
    parser.add_argument("--port-shift", type=int, default=9_000)
    parser.add_argument("--keep", action="store_true", help="keep the data of a run without violations, too")
    options = parser.parse_args()
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    home = Path(tempfile.mkdtemp(prefix="dexlane-crash-"))
    plan = Plan(
        crashes=options.crashes,
        seed=options.seed,
        minutes=options.minutes,
        home=home,
        shift=options.port_shift,
        batch=options.batch,
        pace_s=options.pace,
        patience_s=options.patience,
        on_postgres=options.postgres,
        lose_broker_every=options.lose_broker_every,
    )
    result = asyncio.run(_with_progress(plan))
    report(result, plan)
    if result.violations or options.keep:
        print(f"data kept in {home}")
    else:
        shutil.rmtree(home, ignore_errors=True)
    return 1 if result.violations else 0


async def _with_progress(plan: Plan) -> Result:
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar:
        task = bar.add_task("starting", total=plan.crashes)

        def show(what: str, done: int) -> None:
            bar.update(task, description=what, completed=done)
            if not bar.console.is_terminal:
                print(f"{what} after {done} crashes", flush=True)

        return await run(plan, show)


def report(result: Result, plan: Plan) -> None:
    """Violations with the time line of faults, then the one line."""
    if result.ended_by_themselves:
        print(f"{len(result.ended_by_themselves)} times a service ended or failed by itself:")
        print("\n".join(f"  {line}" for line in sorted(set(result.ended_by_themselves))[:40]))
    print(
        "faults of the executors' node: " + ", ".join(f"{n} {what}" for what, n in sorted(result.node_faults.items()))
    )
    print("killed or restarted: " + ", ".join(f"{n} {name}" for name, n in sorted(result.hits.items())))
    for line in (*(f"{n} {what}" for what, n in result.log_lines.items() if n), *result.database):
        print(line)
    if result.violations:
        print(f"VIOLATED with seed {plan.seed}:")
        print("\n".join(f"  {line}" for line in result.violations[:60]))
        print("time line:")
        print("\n".join(result.timeline))
    print(result.line(plan.seed))


if __name__ == "__main__":
    sys.exit(main())
