"""Opportunities in, verdicts out: from held evidence without I/O, gathered where it is missing, vetoed without it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dexlane.chain.deployments import counterparties
from dexlane.chain.link import RpcError
from dexlane.domain.pool_table import PoolTable
from dexlane.domain.risk.bytecode.proxies import IMPLEMENTATION_SLOTS
from dexlane.domain.risk.compliance import ComplianceRules
from dexlane.domain.risk.pool_trials import TokenInPool, pairs_in
from dexlane.domain.risk.sanctions import SanctionsList
from dexlane.domain.thoughts.recording import decided_again
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import Check, DecisionRecorded, TokenFlagged, VerdictApproved, VerdictRejected
from dexlane.events.thoughts import DocumentsRecorded
from dexlane.runtime.consuming import DecisionRoute, Delivery
from dexlane.runtime.errors import Transient
from dexlane.testing.builders import (
    USDC,
    V2_POOL,
    WETH,
    a_block_ref,
    a_gap_route,
    a_pool_v2,
    a_pool_v3,
    a_reorg,
    a_reserves_delta,
    a_route,
    an_address,
    an_entry_opportunity,
    an_opportunity,
)
from dexlane.values.books import Lane
from risk_scorer import scorer
from risk_scorer.handlers import routes
from risk_scorer.node_facts import read_facts


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing gives way to a trade."""
    monkeypatch.setattr(scorer, "GIVES_WAY_S", 0)


def entry(number: int = 100, **fields: Any) -> OpportunityFound:
    """An entry found at that block, expecting what the V2 pool gives."""
    return an_entry_opportunity(**({"block": a_block_ref(number), "deadline_block": number + 2} | fields))


async def test_held_evidence_gives_a_fast_verdict_without_asking_the_node(bench: Any) -> None:
    verdict = await bench.scorer.judge(entry())
    assert isinstance(verdict, VerdictApproved)
    assert verdict.lane is Lane.FAST
    assert verdict.confidence_bps > 8_500, "six of seven: nobody asked who holds the LP tokens"
    assert bench.node.batches == 0
    assert verdict.id == VerdictApproved.make_id(entry().id)


async def test_a_verdict_tells_its_checks_and_what_was_measured(bench: Any) -> None:
    verdict = await bench.scorer.judge(entry())
    assert Check.LP_SHARES not in verdict.checks, "a pool with LP tokens whose holders nobody asked for"
    assert set(verdict.checks) == set(Check) - {Check.LP_SHARES}
    assert verdict.facts.depth_token == USDC.address
    assert verdict.facts.thinnest_depth > 10_000 * 10**6
    assert verdict.facts.unlisted_tokens == 0
    assert VerdictApproved.from_wire(verdict.to_wire()) == verdict


async def test_same_opportunity_gives_the_same_verdict_id_whichever_instance_judges(bench: Any, cold: Any) -> None:
    first, second = await bench.scorer.judge(entry()), await cold.scorer.judge(entry())
    assert isinstance(second, VerdictRejected)
    assert first.id == second.id


async def test_missing_token_facts_are_gathered_and_send_the_opportunity_the_smart_way(cold: Any) -> None:
    await cold.blocks(96, 100)
    verdict = await cold.scorer.judge(entry())
    assert isinstance(verdict, VerdictApproved)
    assert verdict.lane is Lane.SMART
    assert cold.node.batches == 1
    assert (await cold.scorer.judge(entry())).lane is Lane.FAST


async def test_missing_facts_and_a_silent_node_are_a_veto(cold: Any) -> None:
    await cold.blocks(96, 100)
    cold.node.down = True
    verdict = await cold.scorer.judge(entry())
    assert isinstance(verdict, VerdictRejected)
    assert any("cannot be checked" in veto for veto in verdict.vetoes)


async def test_node_that_refuses_a_call_says_nothing_about_the_token(cold: Any) -> None:
    await cold.blocks(96, 100)
    cold.node.refusal = RpcError(-32005, "too many requests")
    assert isinstance(await cold.scorer.judge(entry()), VerdictRejected)
    assert cold.desk.facts([USDC.address]) == {}
    assert cold.told == []


@pytest.mark.parametrize("failure", ["out of gas", "invalid jump destination", "stack underflow (0 <=> 1)"])
async def test_a_token_whose_code_fails_in_any_way_keeps_no_facts_of_others_back(cold: Any, failure: str) -> None:
    cold.node.tokens[WETH.address].failure = failure
    await cold.blocks(96, 100)
    assert isinstance(await cold.scorer.judge(entry()), VerdictApproved)
    assert cold.desk.facts([WETH.address])[WETH.address].value.owner is None


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("babble", [None, 7, "zz", "0xzz", {"number": 5}, [None]], ids=repr)
async def test_a_node_that_stammers_is_a_veto_and_stops_nothing(cold: Any, babble: Any) -> None:
    cold.node.babble = babble
    running = [
        asyncio.create_task(cold.scorer.keep_tokens_fresh()),
        asyncio.create_task(cold.scorer.keep_tokens_tried()),
    ]
    await cold.blocks(96, 100)
    assert isinstance(await cold.scorer.judge(entry()), VerdictRejected)
    await asyncio.sleep(0.02)
    assert not any(task.done() for task in running)
    for task in running:
        task.cancel()


@pytest.mark.parametrize("babble", [RpcError(-32005, "too many requests"), {"number": 5}, {"number": "0x5"}], ids=repr)
async def test_a_head_that_the_node_refuses_or_stammers_ends_no_check_but_this(cold: Any, babble: Any) -> None:
    if isinstance(babble, RpcError):
        cold.node.head_refusal = babble
    else:
        cold.node.babble = babble
    await cold.blocks(96, 100)
    assert await cold.scorer.trials.try_out((an_address("stranger"), V2_POOL), a_block_ref(100)) is False


async def test_stale_facts_are_gathered_again(bench: Any) -> None:
    bench.clock.advance(1_800_001)
    await bench.mirror.apply(_block_now(bench, 101))
    await bench.scorer.judge(entry(101))
    assert bench.node.batches == 1


def _block_now(bench: Any, number: int) -> Any:
    from dexlane.testing.builders import a_block

    return a_block(number, received_at_ns=bench.clock.now_ns())


async def test_mirror_that_stands_still_is_a_veto(bench: Any) -> None:
    bench.clock.advance(30_001)
    verdict = await bench.scorer.judge(entry())
    assert isinstance(verdict, VerdictRejected)
    assert any("ms old" in veto for veto in verdict.vetoes)


async def test_mirror_that_stands_still_is_a_veto_although_the_clock_went_back(bench: Any) -> None:
    bench.clock.advance(-3_600_000)
    verdict = await bench.scorer.judge(entry())
    assert isinstance(verdict, VerdictRejected)
    assert any("ms old" in veto for veto in verdict.vetoes)


async def test_opportunity_waits_for_its_own_block(bench: Any) -> None:
    judging = asyncio.create_task(bench.scorer.judge(entry(101)))
    await asyncio.sleep(0)
    await bench.blocks(101, 101)
    assert isinstance(await judging, VerdictApproved)


async def test_opportunity_of_a_block_that_never_comes_is_rejected(bench: Any) -> None:
    verdict = await bench.scorer.judge(entry(105))
    assert any("newest known block is 100" in veto for veto in verdict.vetoes)


async def test_opportunity_whose_chance_has_gone_is_rejected(bench: Any) -> None:
    await bench.blocks(101, 101, a_reserves_delta(reserve1=9_800 * 10**18))
    verdict = await bench.scorer.judge(entry(100))
    assert any("the chance has gone" in veto for veto in verdict.vetoes)


async def test_gap_between_two_pools_is_atomic_and_goes_fast(bench: Any) -> None:
    await bench.blocks(101, 101, a_reserves_delta(reserve1=10_150 * 10**18))
    cheap = a_pool_v2(reserve1=10_150 * 10**18)
    gap = an_opportunity(
        block=a_block_ref(101),
        deadline_block=103,
        route=a_gap_route(cheap, a_pool_v3()),
        size_hint=1_000 * 10**6,
        edge_bps=100,
        expected_out=1_010 * 10**6,
    )
    verdict = await bench.scorer.judge(gap)
    assert isinstance(verdict, VerdictApproved), getattr(verdict, "vetoes", None)
    assert verdict.lane is Lane.FAST


async def test_unknown_pool_is_rejected_and_its_tokens_are_not_asked_for(bench: Any) -> None:
    foreign = a_pool_v2(address=an_address("foreign pool"))
    verdict = await bench.scorer.judge(entry(route=a_route(foreign)))
    assert isinstance(verdict, VerdictRejected)
    assert bench.node.batches == 0


async def test_sanctioned_owner_of_a_token_is_a_veto_and_a_flag(cold: Any) -> None:
    cold.sanctions = SanctionsList("2026-11-01", frozenset({"0x" + "5" * 40}))
    cold.start()
    await cold.blocks(96, 100)
    verdict = await cold.scorer.judge(entry())
    assert any("sanctions list of 2026-11-01" in veto for veto in verdict.vetoes)
    assert [event.flag for event in cold.told] == ["sanctioned"]


async def test_an_owner_that_was_delisted_is_judged_by_the_day_of_the_decision(cold: Any) -> None:
    # The bench's clock stands in November 2023.
    cold.sanctions = SanctionsList.parse(f"2026-11-01\n0x{'5' * 40} 2022-01-01 2023-11-01")
    cold.start()
    await cold.blocks(96, 100)
    assert isinstance(await cold.scorer.judge(entry()), VerdictApproved)
    cold.sanctions = SanctionsList.parse(f"2026-11-01\n0x{'5' * 40} 2022-01-01 2025-03-21")
    cold.start()
    await cold.blocks(96, 100)
    assert isinstance(await cold.scorer.judge(entry()), VerdictRejected)


async def test_the_router_and_the_pool_are_screened_too(cold: Any) -> None:
    for address in (V2_POOL, min(counterparties(1))):
        cold.sanctions = SanctionsList.parse(f"2026-11-01\n{address.upper().replace('0X', '0x')}")
        cold.start()
        await cold.blocks(96, 100)
        verdict = await cold.scorer.judge(entry())
        assert any(address in veto for veto in verdict.vetoes)


async def test_tokens_outside_the_list_of_the_operator_are_vetoed(cold: Any) -> None:
    cold.rules = ComplianceRules.model_validate({"reviewed": "2023-11-01", "allowed_tokens": []})
    cold.start()
    await cold.blocks(96, 100)
    verdict = await cold.scorer.judge(entry())
    assert sum("not among those that may be traded" in veto for veto in verdict.vetoes) == 2


async def test_a_verdict_tells_what_every_jurisdiction_says(bench: Any) -> None:
    verdict = await bench.scorer.judge(entry())
    assert [(ruling.jurisdiction, ruling.refused) for ruling in verdict.facts.rulings] == [("EU", ()), ("GB", ())]
    assert (await bench.scorer.judge(entry())).facts.rulings == verdict.facts.rulings


async def test_changed_code_is_flagged_once_and_vetoed_by_every_instance(bench: Any) -> None:
    bench.node.tokens[WETH.address].code = "0x6002"
    assert await bench.gather()
    assert await bench.gather()
    [flagged] = [event for event in bench.told if isinstance(event, TokenFlagged)]
    assert (flagged.token, flagged.flag) == (WETH.address, "code_changed")
    assert any("code changed" in veto for veto in (await bench.scorer.judge(entry())).vetoes)
    bench.cache.kept.clear()
    bench.start()
    await bench.blocks(96, 100)
    bench.desk.note(flagged)  # from the stream
    assert any("code changed" in veto for veto in (await bench.scorer.judge(entry())).vetoes)


async def test_change_while_it_was_down_is_noticed_with_what_the_cache_kept(bench: Any) -> None:
    bench.node.tokens[USDC.address].slots[IMPLEMENTATION_SLOTS[2]] = "0x" + "0" * 24 + "6" * 40
    bench.start()
    await bench.desk.recall()
    assert await bench.gather()
    assert [event.flag for event in bench.told] == ["implementation_changed"]


async def test_flag_that_could_not_be_stored_is_found_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dexlane.runtime.errors import Transient

    async def lost(_event: Any) -> None:
        raise Transient("no broker")

    bench.node.tokens[WETH.address].code = "0x6002"
    with monkeypatch.context() as patched:
        patched.setattr(bench.desk, "_around", bench.desk._around._replace(publish=lost))
        with pytest.raises(Transient):
            await bench.gather()
    assert await bench.gather()
    assert [event.flag for event in bench.told] == ["code_changed"]


async def test_token_that_lost_its_code_is_vetoed_only_while_it_has_none(bench: Any) -> None:
    code, bench.node.tokens[WETH.address].code = bench.node.tokens[WETH.address].code, "0x"
    assert await bench.gather()
    assert [event.flag for event in bench.told] == ["no_code"]
    assert isinstance(await bench.scorer.judge(entry()), VerdictRejected)
    bench.node.tokens[WETH.address].code = code
    assert await bench.gather()
    assert isinstance(await bench.scorer.judge(entry()), VerdictApproved)


async def test_facts_are_read_in_full_in_one_message(bench: Any) -> None:
    codes: dict[str, bytes] = {}
    facts = await read_facts(
        bench.node, [USDC.address, WETH.address, an_address("nothing there")], 1.0, codes.__setitem__
    )
    assert bench.node.batches == 1
    dollar, ether, nothing = facts.values()
    assert (dollar.symbol, dollar.decimals, dollar.owner) == ("USDC", 6, "0x" + "5" * 40)
    assert dollar.implementation == "0x" + "4" * 40
    assert (ether.symbol, ether.decimals, ether.owner, ether.implementation) == ("WETH", 18, None, None)
    assert nothing.code_hash is None


@pytest.mark.usefixtures("_at_once")
async def test_background_task_reads_all_tokens_and_survives_a_silent_node(cold: Any) -> None:
    cold.node.down = True
    task = asyncio.create_task(cold.scorer.keep_tokens_fresh())
    await cold.blocks(96, 97)
    await asyncio.sleep(0.01)
    assert cold.node.batches > 0
    cold.node.down = False
    await cold.blocks(98, 98)
    await asyncio.sleep(0.01)
    assert set(cold.desk.facts([USDC.address, WETH.address])) == {USDC.address, WETH.address}
    read = cold.node.batches
    await cold.blocks(99, 101)
    await asyncio.sleep(0.01)
    assert cold.node.batches == read
    task.cancel()


async def test_what_looks_at_all_pools_lets_a_judgement_on_the_block_go_first(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def counted(pools: PoolTable) -> tuple[TokenInPool, ...]:
        looked.append(bench.mirror.tip.number)
        return pairs_in(pools)

    monkeypatch.setattr(scorer, "pairs_in", counted)
    monkeypatch.setattr(scorer, "GIVES_WAY_S", 0.05)
    task = asyncio.create_task(bench.scorer.keep_tokens_tried())
    await asyncio.sleep(0)
    await bench.blocks(101, 101)
    await asyncio.sleep(0.01)
    await bench.scorer.judge(entry(101))
    assert looked == []
    await asyncio.sleep(0.1)
    assert looked[:1] == [101]
    task.cancel()


async def test_reorganisation_takes_the_undone_moves_out_of_the_volatility(bench: Any) -> None:
    await bench.blocks(101, 101, a_reserves_delta(reserve1=12_000 * 10**18))
    wild = await bench.scorer.judge(entry(101))
    await bench.mirror.reorg(a_reorg(a_block_ref(101), a_block_ref(100), a_block_ref(101, "other")))
    await bench.blocks(101, 101, fork="other", parent_fork="main")
    calm = await bench.scorer.judge(entry(101))
    assert isinstance(wild, VerdictRejected)
    assert isinstance(calm, VerdictApproved)


async def handled(route: DecisionRoute, opportunity: Any) -> None:
    later = await route.handler(opportunity, Delivery("", "", 1, 1))
    assert later is not None
    await later()


async def test_handler_publishes_the_verdict_first_then_what_it_follows_from_and_the_decision(bench: Any) -> None:
    [route] = routes({1: bench.scorer}, bench.publish).decisions
    await handled(route, entry())
    await handled(route, entry(105))
    recorded = [DocumentsRecorded, DecisionRecorded]
    assert [type(event) for event in bench.told] == [VerdictApproved, *recorded, VerdictRejected, *recorded]
    approved, rejected = bench.told[2], bench.told[5]
    assert (approved.outcome, approved.subject_id) == ("approved", bench.told[0].id)
    assert (rejected.outcome, rejected.reasons) == ("rejected", bench.told[3].vetoes)
    assert rejected.would_if == tuple(f"it did not hold that {veto}" for veto in rejected.reasons)
    assert rejected.inputs["sanctions_list"] == "2026-06-25"
    assert set(rejected.tokens) == {USDC.address, WETH.address}


async def test_a_verdict_is_out_before_anything_is_recorded_about_it(bench: Any) -> None:
    [route] = routes({1: bench.scorer}, bench.publish).decisions
    later = await route.handler(entry(), Delivery("", "", 1, 1))
    assert [type(event) for event in bench.told] == [VerdictApproved]
    assert later is not None, "the next opportunity need not wait for the record"


async def test_what_a_broker_may_not_have_stored_is_told_again_as_it_was(bench: Any) -> None:
    told: list[Any] = []
    refused: set[type[Any]] = {DecisionRecorded}

    async def publish(event: Any) -> None:
        if type(event) in refused:
            refused.clear()
            raise Transient("the broker did not answer")
        told.append(event)

    [route] = routes({1: bench.scorer}, publish).decisions
    with pytest.raises(Transient):
        await handled(route, entry())
    await bench.blocks(101, 103)
    await handled(route, entry())
    first, *_, decision = told
    assert [event for event in told if isinstance(event, VerdictApproved | VerdictRejected)] == [first, first]
    assert (decision.outcome, decision.subject_id) == ("approved", first.id)
    await handled(route, entry())
    assert isinstance(told[-1], DecisionRecorded)
    assert told[-1].outcome == "rejected"


async def test_a_recorded_verdict_is_decided_again_to_the_same_bytes(bench: Any) -> None:
    [route] = routes({1: bench.scorer}, bench.publish).decisions
    for opportunity in (entry(), entry(105)):
        await handled(route, opportunity)
    documents = [told.documents for told in bench.told if isinstance(told, DocumentsRecorded)]
    texts = {name: text for one in documents for name, text in one.items()}
    decisions = [told for told in bench.told if isinstance(told, DecisionRecorded)]
    assert [decided_again(one.inputs_id or "", texts.get).to_wire() for one in decisions] == [
        one.to_wire() for one in decisions
    ]
