"""dexlane's pool maths against the real contracts, asked anew: other pools and orders on every run.

``pytest -m bytecode`` asks 100,000 times of each protocol, a run of all tests 1,000 times;
``DEXLANE_BYTECODE_ANSWERS`` names another number. The seed is printed when something differs.
"""

from __future__ import annotations

import os
import secrets

import pytest

from dexlane.testing.bytecode_answers import v2_mismatches, v3_mismatches
from dexlane_devnet import DevnetConfig, free_port, start_devnet
from market import Market

pytestmark = [pytest.mark.long, pytest.mark.bytecode, pytest.mark.integration, pytest.mark.timeout(7_200)]
ANSWERS_PER_POOL = 200


@pytest.fixture
def pools(request: pytest.FixtureRequest) -> int:
    """How many pools are asked."""
    chosen = "bytecode" in request.config.getoption("-m")
    answers = int(os.environ.get("DEXLANE_BYTECODE_ANSWERS", "100000" if chosen else "1000"))
    return max(1, answers // ANSWERS_PER_POOL)


@pytest.mark.parametrize("kind", ["v3", "v2", "v2 taxed"])
async def test_quotes_and_next_states_equal_the_contracts(kind: str, pools: int) -> None:
    seed = secrets.randbits(32)
    compared = swapped = 0
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        market = Market(devnet, seed)
        await market.prepare()
        for _ in range(pools):
            if kind == "v3":
                pool = await market.v3_pool(ANSWERS_PER_POOL)
                found = v3_mismatches(pool)
            else:
                pool = await market.v2_pair(ANSWERS_PER_POOL, taxed=kind == "v2 taxed")
                found = v2_mismatches(pool)
            assert not found, f"seed {seed}: {found[0]}"
            compared += len(pool["answers"])
            swapped += sum(not isinstance(answer[-1], str) for answer in pool["answers"])
    print(f"{kind}: {compared} answers equal, {swapped} of them swaps, seed {seed}")
    assert swapped > compared // 3
