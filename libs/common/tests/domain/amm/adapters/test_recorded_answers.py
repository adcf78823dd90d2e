"""Adapters against recorded answers of their contracts: amounts and next states to the wei.

``libs/common/tests/golden/README.md`` says where the answers come from. ``make bytecode`` records 100,000 anew of each
protocol, on a chain that it starts; ``DEXLANE_BYTECODE_ANSWERS`` and ``DEXLANE_SEED`` name another number and a seed.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import pytest

from dexlane.testing.recorded_answers import compare, read_answers
from dexlane.values.pools import Protocol
from dexlane_devnet.answers import Extent, record_answers
from dexlane_devnet.build import default_cache

GOLDEN = Path(__file__).parents[3] / "golden"
ROWS_PER_POOL = 10
RECORDED = {
    Protocol.PANCAKESWAP_V3: 2_400,
    Protocol.UNISWAP_V4: 2_400,
    Protocol.SOLIDLY_VOLATILE: 2_400,
    Protocol.SOLIDLY_STABLE: 2_400,
    Protocol.BALANCER_WEIGHTED: 2_000,
    Protocol.BALANCER_STABLE: 2_000,
    Protocol.STABLESWAP: 2_000,
}
every_protocol = pytest.mark.parametrize("protocol", RECORDED, ids=str)


@every_protocol
def test_quotes_equal_the_recorded_answers_of_the_contracts(protocol: Protocol) -> None:
    tallies = [compare(protocol, row) for row in read_answers(GOLDEN / f"answers_{protocol}.jsonl.gz")]
    assert [swap for tally in tallies for swap in tally.different] == []
    equal, refused = sum(tally.equal for tally in tallies), sum(tally.refused for tally in tallies)
    assert equal + refused >= RECORDED[protocol]
    assert equal >= 1_800
    assert refused >= 50


@pytest.mark.bytecode
@pytest.mark.timeout(7_200)
@every_protocol
async def test_quotes_equal_fresh_answers_of_the_contracts(protocol: Protocol, request: pytest.FixtureRequest) -> None:
    if "bytecode" not in request.config.getoption("-m"):
        pytest.skip("asked by `make bytecode`")
    answers = int(os.environ.get("DEXLANE_BYTECODE_ANSWERS", "100000"))
    seed = int(os.environ.get("DEXLANE_SEED") or secrets.randbits(32))
    equal = refused = told = 0
    async for row in record_answers(protocol, Extent(answers, ROWS_PER_POOL), seed, default_cache(), print):
        tally = compare(protocol, row)
        assert tally.different == (), f"with seed {seed}"
        equal, refused = equal + tally.equal, refused + tally.refused
        if equal + refused >= told + answers // 20:
            told = equal + refused
            sys.stderr.write(f"\r{protocol}: {told} of {answers} answers compared ")
    assert equal + refused >= answers
    sys.stdout.write(f"\n{protocol}: {equal} equal, {refused} refused by both, none different (seed {seed})\n")
