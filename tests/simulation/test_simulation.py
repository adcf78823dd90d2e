"""A world is the same every time, no rule is broken in any, and every pair of boundary and outcome is lived through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dexlane.domain.fees import fee_parameters, next_base_fee
from simulation.clockwork import StalledError, VirtualLoop
from simulation.demand import FULL_BPS, GWEI, Demand, base_fee_after
from simulation.pairs import ALL_PAIRS, enumerate_pairs
from simulation.shape import Shape
from simulation.shrinking import shrink
from simulation.world import run_world

pytestmark = pytest.mark.long
SEEDS = range(1, 5)
"""Those that every run of the tests lives through; ``make simulate`` takes as many as one wants."""


@pytest.mark.usefixtures("_worlds")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_rule_is_broken_in_the_world_of_a_seed(seed: int) -> None:
    outcome = run_world(seed)
    assert outcome.violations == []
    assert outcome.counts["crashes"] > 0


@pytest.mark.usefixtures("_worlds")
def test_a_trade_survives_a_crash_at_every_boundary_under_every_outcome_of_its_send() -> None:
    outcomes = enumerate_pairs()
    assert [outcome.violations for outcome in outcomes] == [[]] * len(outcomes)
    assert set().union(*(outcome.pairs for outcome in outcomes)) >= ALL_PAIRS


@pytest.mark.usefixtures("_worlds")
@pytest.mark.parametrize(
    ("series", "what"),
    [
        ("stores", "stores lost"),
        ("frozen", "frozen"),
        ("thieves", "thefts"),
        ("signers", "records restored"),
        ("fees", "exits"),
        ("relays", "given to relays"),
        ("controls", "controlled"),
    ],
)
def test_no_rule_is_broken_when_what_a_series_is_about_goes_wrong(series: str, what: str) -> None:
    for seed in range(1, 13):
        outcome = run_world(seed, Shape.named(series, seed))
        assert outcome.violations == [], seed
        if outcome.counts[what]:
            return
    pytest.fail(f"in none of the worlds there were {what}")


@pytest.mark.usefixtures("_worlds")
def test_the_books_equal_the_chain_after_trades_were_undone_again_and_again() -> None:
    worlds = [run_world(seed, Shape.of_reorgs(seed)).counts for seed in (7, 10)]
    assert sum(counts["undone"] for counts in worlds) >= 20
    assert sum(counts["trades"] for counts in worlds) >= 5
    assert all(counts["balances"] > 0 for counts in worlds)
    assert [counts["off_by"] for counts in worlds] == [0, 0]


@pytest.mark.usefixtures("_worlds")
def test_a_seed_gives_the_same_world_every_time() -> None:
    first, again = run_world(5, trace=True), run_world(5, trace=True)
    assert again.trace == first.trace
    assert again.digest == first.digest
    assert run_world(7).digest != first.digest


@pytest.mark.usefixtures("_worlds")
def test_a_world_without_its_faults_is_another_one_in_which_nothing_dies() -> None:
    calm = run_world(5, allowed=frozenset())
    assert calm.fired == []
    assert calm.counts["crashes"] == 0
    assert calm.violations == []


def test_another_program_lives_through_the_same_world() -> None:
    """Hashes of strings differ from program to program; no order may come from them."""
    digests = set()
    for hash_seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "-m", "simulation", "--seeds", "5", "--no-pairs", "--replay", "--jobs", hash_seed],
            cwd=Path(__file__).parents[1],
            env={"PYTHONHASHSEED": hash_seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        line = next(line for line in ran.stdout.splitlines() if line.startswith("seed 5:"))
        assert line.endswith("equal")
        digests.add(line)
    assert len(digests) == 1


def test_twenty_full_blocks_raise_the_base_fee_tenfold_by_both_readings_of_the_rule() -> None:
    ours = theirs = 10 * GWEI
    for _ in range(20):
        ours = base_fee_after(ours, FULL_BPS)
        theirs = next_base_fee(theirs, 30_000_000, 30_000_000, fee_parameters(1))
    assert ours == theirs
    assert 10 * 10 * GWEI < ours < 11 * 10 * GWEI


def test_nobody_is_in_a_hurry_before_accounts_are_opened_nor_when_a_world_comes_to_rest() -> None:
    demand = Demand(116, 400)
    assert {demand.tip_wei(number) for number in range(40)} == {1}
    demand.begins_at = 10
    assert demand.tip_wei(9) == 1
    assert max(demand.tip_wei(number) for number in range(10, 60)) > GWEI
    demand.calm_from = 60
    assert {demand.tip_wei(number) for number in range(60, 100)} == {1}


def test_shrinking_leaves_the_faults_that_are_needed_together() -> None:
    faults = [f"fault {number}" for number in range(40)]
    needed = {"fault 7", "fault 31"}
    assert shrink(faults, lambda kept: needed <= set(kept)) == ["fault 7", "fault 31"]


def test_time_passes_only_when_nothing_is_left_to_do() -> None:
    loop = VirtualLoop()
    order: list[str] = []
    loop.call_later(3_600, lambda: (order.append(f"after {loop.time():.0f} s"), loop.stop()))
    loop.call_soon(order.append, "now")
    loop.run_forever()
    assert order == ["now", "after 3600 s"]
    with pytest.raises(StalledError):
        loop.run_until_complete(loop.create_future())
    loop.close()
