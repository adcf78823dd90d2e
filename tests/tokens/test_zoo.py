"""The executed check on real contracts: a part of the zoo, and tokens and nodes that do not behave.

``make zoo ARGS="--held-out --seeds 5"`` runs all of it. Here one specimen of each family of a third is released;
``DEXLANE_ZOO_PART`` (0, 1 or 2) says of which third.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from dexlane.chain.link import RpcError, RpcUnavailable
from dexlane.chain.rpc import RpcClient
from dexlane.chain.token_check.check import Question, try_token
from dexlane.chain.token_check.exploring import FAR
from dexlane.chain.token_check.pools import Market, Where, known_markets
from dexlane.domain.risk.lp_shares import LOCKERS
from dexlane.domain.risk.token_background import Keeper
from dexlane.domain.risk.token_verdict import STRICT, TrialLimits, judge
from dexlane_devnet import ADDRESSES, Devnet
from dexlane_devnet.contracts import calldata
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.zoo import FAMILIES, SURROUNDINGS, Exchange, Family, Surroundings, bring_to, live, release
from dexlane_devnet.zoo.release import send
from tokens.zoo_run import USDC, V2, Stage, examine, examine_surroundings, zoo_chain

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


@pytest.mark.parametrize("surroundings", SURROUNDINGS, ids=lambda each: each.family.name)
async def test_plain_tokens_are_told_apart_by_their_surroundings(chain: Chain, surroundings: Surroundings) -> None:
    result = await examine_surroundings(*chain, surroundings, seed=101)
    assert result.right, (result.verdict.verdict, result.verdict.findings, result.trial.background)


async def test_what_is_gone_of_the_liquidity_counts_without_being_asked_for(chain: Chain) -> None:
    pulled = next(each for each in SURROUNDINGS if each.family.name == "PulledPool")
    result = await examine_surroundings(*chain, pulled, seed=5)
    assert judge(result.trial, TrialLimits()).flags == ("liquidity_pulled",)
    background = result.verdict.background
    assert background.birth is not None
    assert background.birth.exact
    assert background.missing == ()
    told = {each.what for each in result.trial.evidence}
    assert {"age", "liquidity", "holder of liquidity", "holders", "liquidity over time"} <= told


async def test_a_locker_is_one_on_its_own_chain_alone(chain: Chain) -> None:
    devnet, client = chain
    specimen = await release(devnet, BY_NAME["OzPlain"], 9)
    locker = next(iter(LOCKERS[1]))
    await send(devnet, specimen.pool, calldata("transfer(address,uint256)", locker, 10**15))
    found = {}
    for chain_id in (1, 8_453):
        trial = await try_token(client, Question(specimen.token, replace(V2, chain_id=chain_id)))
        assert trial.background is not None
        assert trial.background.liquidity is not None
        found[chain_id] = [each.keeper for each in trial.background.liquidity.holdings if each.holder == locker]
    assert found == {1: [Keeper.LOCKER], 8_453: [Keeper.KEY]}


class Geth:
    """A node that simulates no block more than 256 ahead, as geth and Nethermind do (geth's error -38026)."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client
        self.refused = 0

    async def call(self, method: str, *params: Any, timeout_s: float | None = None) -> Any:
        [answer] = await self.batch([(method, params)], timeout_s=timeout_s)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, requests: Any, *, timeout_s: float | None = None) -> list[Any]:
        far = [self._is_far(method, params) for method, params in requests]
        self.refused += sum(far)
        taken = [request for request, refused in zip(requests, far, strict=True) if not refused]
        answers = iter(await self._client.batch(taken, timeout_s=timeout_s))
        return [RpcError(-38026, "too many blocks") if refused else next(answers) for refused in far]

    @staticmethod
    def _is_far(method: str, params: Any) -> bool:
        if method != "eth_simulateV1":
            return False
        last = int(params[0]["blockStateCalls"][-1]["blockOverrides"]["number"], 16)
        return last > int(params[1], 16) + 256


class WithoutPast(Geth):
    """A node that keeps no older states and tells no events."""

    async def batch(self, requests: Any, *, timeout_s: float | None = None) -> list[Any]:
        answers = await self._client.batch(requests, timeout_s=timeout_s)
        newest = int(await self._client.call("eth_blockNumber"), 16)
        refused = RpcError(-32000, "missing trie node")
        return [
            refused
            if method == "eth_getLogs" or (method == "eth_getCode" and int(params[1], 16) < newest - 3)
            else answer
            for (method, params), answer in zip(requests, answers, strict=True)
        ]


async def test_what_a_node_does_not_tell_of_the_past_is_said_and_never_made_up(chain: Chain) -> None:
    devnet, client = chain
    specimen = await release(devnet, BY_NAME["OzPlain"], 4)
    trial = await try_token(WithoutPast(client), Question(specimen.token, V2))
    background = trial.background
    assert background is not None
    assert background.birth is not None
    assert (background.birth.block, background.birth.exact) == (trial.block - 3, False)
    assert background.age_s == await seconds_since(devnet, background.birth.block, trial.block)
    assert (background.holders, background.liquidity, background.past) == (None, None, None)
    since = f"the token is there since block {trial.block - 3} at least"
    assert f"the node has no older states: {since}" in background.missing
    assert sum("missing trie node" in sentence for sentence in background.missing) == 2
    assert judge(trial, STRICT).verdict == "unknown"


async def seconds_since(devnet: Devnet, first: int, last: int) -> int:
    """The time between two blocks, as their headers tell it."""
    headers = [await devnet.rpc("eth_getBlockByNumber", hex(number), False) for number in (first, last)]
    return int(headers[1]["timestamp"], 16) - int(headers[0]["timestamp"], 16)


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
    trial = await try_token(client, Question(specimen.token, V2, number))
    assert trial.block == number
    assert trial.buys[0].ok


async def test_usdc_of_the_devnet_is_safe_by_its_issuer_and_its_switches_are_told(chain: Chain) -> None:
    _, client = chain
    trial = await try_token(client, Question(USDC, V2))
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
    verdict = judge(await try_token(client, Question(token, Where((Market("uniswap_v2", factory),)))), TrialLimits())
    assert verdict.verdict == "unknown"
    assert "does not answer as a router" in verdict.findings[0].reason


async def _judged(client: RpcClient, token: str) -> Any:
    return judge(await try_token(client, Question(token, V2)), TrialLimits())


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
    trial = await try_token(node, Question(token, V2))
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
    trial = await try_token(Limited(client, {"eth_simulateV1": answer}), Question(token, V2))
    found = judge(trial, TrialLimits())
    assert found.verdict == "unknown"
    assert found.findings[0].reason


@pytest.mark.parametrize(
    ("name", "verdict"), [("OzPlain", "safe"), ("TaxBounded", "safe"), ("HoneypotBlock", "unsafe")]
)
async def test_traps_in_far_blocks_are_looked_for_where_the_node_simulates_only_near_ones(
    chain: Chain, name: str, verdict: str
) -> None:
    devnet, client = chain
    family = BY_NAME[name]
    seed = next(seed for seed in range(1, 50) if not family.ranges or family.numbers(seed)[0] > 256 or name[0] != "H")
    node = Geth(client)
    trial = await try_token(node, Question((await release(devnet, family, seed)).token, V2))
    found = judge(trial, TrialLimits())
    assert node.refused > 0
    assert found.verdict == verdict, found.findings
    assert ("sell_stops" in found.flags) == (verdict == "unsafe")


async def test_what_a_node_does_not_tell_of_far_blocks_is_said(chain: Chain) -> None:
    devnet, client = chain
    node = Geth(client)
    trial = await try_token(node, Question((await release(devnet, BY_NAME["CoolDownShort"], 1)).token, V2))
    found = judge(trial, TrialLimits())
    assert found.verdict == "unknown"
    assert [each.reason for each in found.findings if "blocks ahead" in each.reason] == [
        f"sales {blocks} blocks ahead were not seen: a holder with code cannot sell in the block of his purchase"
        for blocks, _ in FAR
    ]


@pytest.mark.parametrize("name", ["OzPlain", "MintByOwner", "PauseSwitch", "ProxyByOwner"])
async def test_a_token_of_uniswap_v3_is_tried_there(chain: Chain, name: str) -> None:
    result = await examine(*chain, BY_NAME[name], 7, Stage("uniswap_v3"))
    assert result.right, (result.verdict.verdict, result.verdict.findings)
    assert result.verdict.pool == result.specimen.pool
    assert result.verdict.buy_tax_bps == result.verdict.sell_tax_bps == 0


LIVED = (
    ("HoneypotPlain", "uniswap_v3", True), ("HoneypotTime", "uniswap_v3", True), ("TaxSell", "uniswap_v3", True),
    ("BlacklistOne", "uniswap_v3", True), ("HoneypotPlain", "uniswap_v2", False), ("MintByOwner", "uniswap_v2", True),
)  # fmt: skip


@pytest.mark.parametrize(("name", "knows", "springs"), LIVED)
async def test_what_a_trap_does_in_a_pool_of_uniswap_v3_is_lived_and_judged_so(
    chain: Chain, name: str, knows: Exchange, springs: bool
) -> None:
    """A trap that knows the pool springs there; one that knows a pool of V2 only where it needs none to spring."""
    result = await examine(*chain, BY_NAME[name], 11, Stage("uniswap_v3", knows, lives=True))
    assert result.lived is not None
    assert result.lived.springs is springs, result.lived
    assert result.verdict.verdict == ("unsafe" if springs else "safe"), result.verdict.findings


async def test_where_chance_refuses_each_sale_no_life_comes_off_well(chain: Chain) -> None:
    devnet, _ = chain
    specimen = None
    for seed in range(404, 424):
        with suppress(DevnetError):  # chance decides over bringing it to a pool as well
            specimen = specimen or await release(devnet, BY_NAME["RebaseUp"], seed, "uniswap_v3")
    assert specimen is not None
    for _ in range(12):
        await devnet.rpc("evm_increaseTime", 7)
        await devnet.mine(1)
        lived = await live(devnet, specimen, "uniswap_v3")
        assert lived.springs, lived


async def test_the_pool_that_is_named_decides_and_only_pools_of_known_factories_count(chain: Chain) -> None:
    """The trap knows its first pair alone, so what is sold elsewhere is not caught."""
    devnet, client = chain
    specimen = await release(devnet, BY_NAME["HoneypotPlain"], 5)
    other = await bring_to(devnet, specimen.token, "uniswap_v3")
    where = Where(known_markets(1), (USDC,), chain_id=1)

    async def judged(pool: str) -> Any:
        question = Question(specimen.token, replace(where, pool=pool))
        return judge(await try_token(client, question), TrialLimits())

    assert ((await judged(specimen.pool)).verdict, (await judged(other)).verdict) == ("unsafe", "safe")
    stranger = await judged(specimen.token)
    assert (stranger.verdict, stranger.pool) == ("unknown", None)
    assert "does not trade it" in stranger.findings[0].reason


class Slow(Limited):
    """A node that takes its time to simulate."""

    async def batch(self, requests: Any, *, timeout_s: float | None = None) -> list[Any]:
        if any(method == "eth_simulateV1" for method, _ in requests):
            await asyncio.sleep(30)
        return await super().batch(requests, timeout_s=timeout_s)


class SlowPast(Limited):
    """A node that takes its time to find older states."""

    async def batch(self, requests: Any, *, timeout_s: float | None = None) -> list[Any]:
        if len({params[1] for method, params in requests if method == "eth_getCode"}) > 1:
            await asyncio.sleep(30)
        return await super().batch(requests, timeout_s=timeout_s)


async def test_surroundings_that_are_not_told_in_time_do_not_cost_the_trades(chain: Chain) -> None:
    devnet, client = chain
    token = (await release(devnet, BY_NAME["OzPlain"], 1)).token
    trial = await try_token(SlowPast(client, {}), Question(token, V2), budget_s=5.0)
    assert trial.background is not None
    assert (trial.background.birth, trial.interrupted) == (None, True)
    assert "the node did not tell its age in time" in trial.background.missing
    assert trial.background.holders is not None
    assert judge(trial, TrialLimits()).verdict == "safe"


async def test_a_check_ends_with_its_budget(chain: Chain) -> None:
    devnet, client = chain
    token = (await release(devnet, BY_NAME["OzPlain"], 1)).token
    trial = await try_token(Slow(client, {}), Question(token, V2), budget_s=1.5)
    found = judge(trial, TrialLimits())
    assert found.verdict == "unknown"
    assert found.findings[0].reason == "the check did not end within 1.5 s"


async def test_a_block_that_the_node_does_not_have_is_unknown(chain: Chain) -> None:
    _, client = chain
    trial = await try_token(client, Question(USDC, V2, 10**9))
    assert judge(trial, TrialLimits()).verdict == "unknown"
