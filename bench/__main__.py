"""``make bench``: print every promised figure beside its floor of the same run."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable

from bench import (
    assessments,
    fees,
    floor,
    handover,
    ingest,
    key_stores,
    markets,
    mirrors,
    path,
    plans,
    policy,
    quotes,
    routes,
    signer,
    signing,
    thoughts,
    tokens,
)
from bench.stages import HANDED


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long the system trades")
    parser.add_argument("--requests", type=int, default=1_000_000, help="how many with --only policy")
    parts: dict[str, Callable[[], None]] = {
        "ingest": _ingest,
        "quotes": quotes.run,
        "plans": lambda: plans.show(plans.run()),
        "routes": lambda: print("\n".join(routes.report())),
        "markets": lambda: markets.show(markets.run()),
        "tokens": lambda: tokens.show(tokens.run()),
        "assessments": lambda: assessments.show(assessments.run()),
        "signing": lambda: signing.show(signing.run()),
        "signer": signer.show,
        "key-stores": key_stores.show,
        "fees": lambda: fees.show(fees.run()),
        "thoughts": lambda: thoughts.show(thoughts.run()),
        "handover": lambda: handover.show(handover.run()),
        "floor": _floor,
        "path": lambda: show(path.run(options.seconds)),
    }
    alone: dict[str, Callable[[], None]] = {"policy": lambda: policy.show(policy.run(options.requests))}
    parser.add_argument("--only", choices=[*parts, *alone], help=f"one part; {', '.join(alone)} only when named")
    options = parser.parse_args()
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for part in [(parts | alone)[options.only]] if options.only else parts.values():
        part()


def _ingest() -> None:
    ingest.show()
    mirrors.show()


def _floor() -> None:
    print(f"floor: one write on disk (4 KiB append + fsync): {floor.fsync_floor()}")
    print(f"floor: two stored hops, plain nats-py, one process: {floor.hops_floor()}")


def show(result: path.PathResult) -> None:
    """One line for each figure."""
    print(f"start until every /readyz: first {result.ready_s:.1f} s, again {result.again_ready_s:.1f} s (aim 20)")
    print(f"load: {result.swaps_per_s:.1f} swaps/s; fills: {result.live_fills} live, {result.paper_fills} paper")
    handed = result.stages.get(HANDED, "no live trade in the time; run longer")
    print(f"log received -> signed live transaction handed over, fast lane: {handed} (promised p50 5, p99 20)")
    floor_found = result.floor or "no block was told"
    print(f"  beside it, the bare floor: two stored hops, plain nats-py, and a write, begun by a block: {floor_found}")
    for stage, found in result.stages.items():
        print(f"  until {stage:<22} {found}")
    for around in (False, True):
        shown = [item for item in result.costs if item.is_surroundings is around]
        print("the chain and its flow:" if around else "dexlane:")
        for item in sorted(shown, key=lambda item: -item.pss_mib):
            print(f"  {item.name:<24} {item.pss_mib:7.1f} MiB  {item.cpu_s:7.1f} CPU-s")
    services = [item for item in result.costs if item.name.startswith("dexlane-")]
    memory_mib = sum(item.pss_mib for item in services)
    print(f"eight services and what they are forked from: {memory_mib:.0f} MiB PSS (promised 1,024)")
    print(f"all but the chain: {result.cpu_cores:.2f} cores (promised 1)")


if __name__ == "__main__":
    main()
