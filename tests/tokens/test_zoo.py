"""The executed check on real contracts: a part of the zoo, and tokens and nodes that do not behave.

``make zoo ARGS="--held-out --seeds 5"`` runs all of it. Here one specimen of each family of a third is released;
``DEXLANE_ZOO_PART`` (0, 1 or 2) says of which third.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dexlane.chain.link import RpcError, RpcUnavailable
from dexlane.chain.rpc import RpcClient
from dexlane.chain.token_check.check import Question, try_token
from dexlane.domain.risk.token_verdict import TrialLimits, judge
from dexlane_devnet import ADDRESSES, Devnet
from dexlane_devnet.zoo import FAMILIES, Family, release
from tokens.zoo_run import ROUTER, USDC, examine, zoo_chain

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
PART = int(os.environ.get("DEXLANE_ZOO_PART", "0"))
BY_NAME = {family.name: family for family in FAMILIES}
Chain = tuple[Devnet, RpcClient]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain() -> AsyncIterator[Chain]:
    async with zoo_chain() as found:
        yield found


@pytest.mark.parametrize("family", FAMILIES[PART::3], ids=lambda family: family.name)
async def test_hostile_families_are_unsafe_and_benign_ones_safe(chain: Chain, family: Family) -> None:
    result = await examine(*chain, family, seed=101)
    assert result.right, (result.verdict.verdict, result.verdict.findings, result.specimen.numbers)


async def test_evidence_names_block_method_and_raw_values(chain: Chain) -> None:
    result = await examine(*chain, BY_NAME["TaxSmall"], seed=1)
    told = result.trial.evidence
    assert {"block", "pool", "supply", "who may have rights", "purchase", "sale"} <= {each.what for each in told}
    assert {each.block for each in told} == {result.trial.block}
    assert all(each.method.startswith("eth_") and each.raw for each in told)
    assert result.verdict.pool == next(each.raw["pair"] for each in told if each.what == "pool")
    tax = result.specimen.numbers[0]
    assert result.verdict.buy_tax_bps == pytest.approx(tax, abs=1)
    assert result.verdict.sell_tax_bps == pytest.approx(tax, abs=1)
    assert result.verdict.transfer_tax_bps == 0


async def test_a_check_on_an_older_block_sees_that_block(chain: Chain) -> None:
    devnet, client = chain
    specimen = await release(devnet, BY_NAME["PausePlain"], 1)
    number = int(await devnet.rpc("eth_blockNumber"), 16)
    await devnet.mine(3)
    trial = await try_token(client, Question(specimen.token, ROUTER, (USDC,), block=number))
    assert trial.block == number
    assert trial.buys[0].ok


async def test_usdc_of_the_devnet_is_safe_by_its_issuer_and_its_switches_are_told(chain: Chain) -> None:
    _, client = chain
    trial = await try_token(client, Question(USDC, ROUTER, (USDC,)))
    known, unknown = judge(trial, TrialLimits(), known_issuer=True), judge(trial, TrialLimits())
    assert known.verdict == "safe"
    assert {"blacklist", "pausable", "hidden_mint", "proxy"} <= set(known.flags)
    assert unknown.verdict == "unsafe"


async def test_an_account_without_code_and_a_token_without_a_pool_are_never_safe(chain: Chain) -> None:
    devnet, client = chain
    nobody = await _judged(client, "0x" + "12" * 20)
    assert (nobody.verdict, nobody.flags) == ("unsafe", ("no_token",))
    token = (await release(devnet, BY_NAME["OzPlain"], 1)).token
    factory = ADDRESSES.multicall3.lower()
    verdict = judge(await try_token(client, Question(token, factory)), TrialLimits())
    assert verdict.verdict == "unknown"
    assert "does not answer as a router" in verdict.findings[0].reason


async def _judged(client: RpcClient, token: str) -> Any:
    return judge(await try_token(client, Question(token, ROUTER, (USDC,))), TrialLimits())


class Limited:
    """A node that lacks methods, or answers them with something of its own."""

    def __init__(self, client: RpcClient, answers: dict[str, Any]) -> None:
        self._client = client
        self._answers = answers

    async def call(self, method: str, *params: Any, timeout_s: float | None = None) -> Any:
        found = self._answers.get(method)
        if isinstance(found, Exception):
            raise found
        return found if method in self._answers else await self._client.call(method, *params, timeout_s=timeout_s)

    async def batch(self, requests: Any, *, timeout_s: float | None = None) -> list[Any]:
        if any(method in self._answers for method, _ in requests):
            found = [self._answers.get(method) for method, _ in requests]
            if any(isinstance(each, RpcUnavailable) for each in found):
                raise RpcUnavailable("gone")
            return found
        return await self._client.batch(requests, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("name", "verdict"), [("OzPlain", "unknown"), ("HoneypotPlain", "unsafe"), ("FeeSetter", "unsafe")]
)
async def test_a_node_without_simulated_blocks_finds_traps_but_calls_nothing_safe(
    chain: Chain, name: str, verdict: str
) -> None:
    devnet, client = chain
    token = (await release(devnet, BY_NAME[name], 1)).token
    node = Limited(client, {"eth_simulateV1": RpcError(-32601, "the method does not exist")})
    trial = await try_token(node, Question(token, ROUTER, (USDC,)))
    assert trial.method == "eth_call"
    assert judge(trial, TrialLimits()).verdict == verdict


@pytest.mark.parametrize(
    "answer",
    [[], {}, "0x", [{"number": "0x1", "calls": []}], None, RpcUnavailable("gone")],
    ids=["list", "object", "text", "another block", "null", "gone"],
)
async def test_nonsense_from_the_node_is_unknown_with_a_reason(chain: Chain, answer: Any) -> None:
    devnet, client = chain
    token = (await release(devnet, BY_NAME["OzPlain"], 1)).token
    trial = await try_token(Limited(client, {"eth_simulateV1": answer}), Question(token, ROUTER, (USDC,)))
    found = judge(trial, TrialLimits())
    assert found.verdict == "unknown"
    assert found.findings[0].reason


class Slow(Limited):
    """A node that takes its time to simulate."""

    async def batch(self, requests: Any, *, timeout_s: float | None = None) -> list[Any]:
        if any(method == "eth_simulateV1" for method, _ in requests):
            await asyncio.sleep(30)
        return await super().batch(requests, timeout_s=timeout_s)


async def test_a_check_ends_with_its_budget(chain: Chain) -> None:
    devnet, client = chain
    token = (await release(devnet, BY_NAME["OzPlain"], 1)).token
    trial = await try_token(Slow(client, {}), Question(token, ROUTER, (USDC,)), budget_s=1.5)
    found = judge(trial, TrialLimits())
    assert found.verdict == "unknown"
    assert found.findings[0].reason == "the check did not end within 1.5 s"


async def test_a_block_that_the_node_does_not_have_is_unknown(chain: Chain) -> None:
    _, client = chain
    trial = await try_token(client, Question(USDC, ROUTER, block=10**9))
    assert judge(trial, TrialLimits()).verdict == "unknown"
