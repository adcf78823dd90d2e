"""The whole zoo: ``make zoo ARGS="--seeds 5"``. Without ``--held-out`` the families that nobody tunes on stay out."""

from __future__ import annotations

import argparse
import asyncio
import sys

from dexlane_devnet.errors import DevnetError
from dexlane_devnet.zoo import FAMILIES, SURROUNDINGS, Family
from tokens.zoo_run import Result, Stage, examine, examine_surroundings, report, zoo_chain


async def run_surroundings(first: int, seeds: int, held_out: bool) -> list[Result]:
    """Every arrangement of a plain token with every seed."""
    results: list[Result] = []
    for seed in range(first, first + seeds):
        async with zoo_chain() as (devnet, client):
            for each in SURROUNDINGS:
                if held_out or not each.held_out:
                    results.append(await examine_surroundings(devnet, client, each, seed))  # noqa: PERF401
    return results


async def run(families: list[Family], first: int, seeds: int, stage: Stage) -> list[Result]:
    """Every family with every seed; pools of Uniswap V3 take no token of which less arrives than was sent."""
    results: list[Result] = []
    unfit: dict[str, str] = {}
    for seed in range(first, first + seeds):
        async with zoo_chain() as (devnet, client):
            for family in families:
                try:
                    results.append(await examine(devnet, client, family, seed, stage))
                except DevnetError as error:
                    if stage.exchange == "uniswap_v2":
                        raise
                    unfit[family.name] = str(error)
    for name, reason in sorted(unfit.items()):
        print(f"{name} is left out: {reason}")
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
    parser.add_argument(
        "--knows", choices=("uniswap_v2", "uniswap_v3"), help="whose pool their code names, where that is another's"
    )
    parser.add_argument("--live", action="store_true", help="also buy and sell each specimen by transactions")
    parser.add_argument("--surroundings", action="store_true", help="plain tokens in different surroundings instead")
    parser.add_argument("--only", nargs="*", default=[], help="names of families")
    options = parser.parse_args()
    families = [
        family
        for family in FAMILIES
        if (family.name in options.only) or (not options.only and (options.held_out or not family.held_out))
    ]
    stage = Stage(options.exchange, options.knows, options.live)
    if options.surroundings:
        results = asyncio.run(run_surroundings(options.first, options.seeds, options.held_out))
    else:
        results = asyncio.run(run(families, options.first, options.seeds, stage))
    print("\n".join(report(results)))
    return 0 if all(result.right for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
