"""The whole zoo: ``make zoo ARGS="--seeds 5"``. Without ``--held-out`` the families that nobody tunes on stay out."""

from __future__ import annotations

import argparse
import asyncio
import sys

from dexlane_devnet.zoo import FAMILIES, Exchange, Family
from tokens.zoo_run import Result, examine, report, zoo_chain


async def run(families: list[Family], first: int, seeds: int, exchange: Exchange) -> list[Result]:
    """Every family with every seed."""
    results: list[Result] = []
    for seed in range(first, first + seeds):
        async with zoo_chain() as (devnet, client):
            for family in families:
                results.append(await examine(devnet, client, family, seed, exchange))  # noqa: PERF401 - one after the other
    return results


def main() -> int:
    """Print the report; 1 when something was judged wrongly."""
    parser = argparse.ArgumentParser(prog="make zoo", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="specimens of each family")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--held-out", action="store_true", help="with the families that nobody tunes on")
    parser.add_argument(
        "--exchange", choices=("uniswap_v2", "uniswap_v3"), default="uniswap_v2", help="where it trades"
    )
    parser.add_argument("--only", nargs="*", default=[], help="names of families")
    options = parser.parse_args()
    families = [
        family
        for family in FAMILIES
        if (family.name in options.only) or (not options.only and (options.held_out or not family.held_out))
    ]
    results = asyncio.run(run(families, options.first, options.seeds, options.exchange))
    print("\n".join(report(results)))
    return 0 if all(result.right for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
