"""Token facts of the real contracts, read from a real node."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from dexlane.chain.link import LinkPolicy
from dexlane.chain.rpc import RpcClient
from dexlane.chain.token_check.pools import Where, known_markets
from dexlane.domain.risk.bytecode.verdict import judge_code
from dexlane.domain.risk.evidence import Flag
from dexlane.events.risk import TokenFlagged
from dexlane.testing.builders import USDC, WETH, a_block_ref, an_address
from dexlane_devnet import DevnetConfig, free_port, start_devnet
from dexlane_devnet.contracts import calldata
from dexlane_devnet.zoo import FAMILIES, KEEPER, release
from risk_scorer.node_facts import read_facts
from risk_scorer.tokens import TrialDesk

pytestmark = pytest.mark.integration
IMPLEMENTATION_OF_USDC = "0x43506849d7c04f9138d1a2050bbf3a0c054402dd"


async def test_facts_of_usdc_and_weth_are_read_from_their_real_contracts() -> None:
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        client = RpcClient(devnet.ws_url, name="risk-test", policy=LinkPolicy(jitter=random.random), chain_id=1)
        await client.start()
        try:
            codes: dict[str, bytes] = {}
            tokens = [USDC.address, WETH.address, an_address("nobody")]
            facts = await read_facts(client, tokens, 5.0, codes.__setitem__)
        finally:
            await client.stop()
    dollar, ether, nobody = facts.values()
    assert (dollar.symbol, dollar.decimals, dollar.implementation) == ("USDC", 6, IMPLEMENTATION_OF_USDC)
    assert dollar.owner is not None
    assert (ether.symbol, ether.decimals, ether.implementation, ether.owner) == ("WETH", 18, None, None)
    assert None not in (dollar.code_hash, ether.code_hash)
    assert (nobody.code_hash, nobody.decimals) == (None, None)
    assert set(codes) == {dollar.code_hash, ether.code_hash}
    assert set(judge_code(codes[str(dollar.code_hash)]).flags) == {"delegatecall", "proxy"}
    wrapped = judge_code(codes[str(ether.code_hash)])
    assert (wrapped.score, wrapped.flags, wrapped.complete) == (0, (), True)


async def test_a_tax_that_is_raised_while_a_token_is_held_is_told(bench: Any) -> None:
    (family,) = [each for each in FAMILIES if each.name == "TaxBounded"]
    seed = next(seed for seed in range(100) if family.numbers(seed)[0] == 5)
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        client = RpcClient(devnet.ws_url, name="risk-test", policy=LinkPolicy(jitter=random.random), chain_id=1)
        await client.start()
        try:
            specimen = await release(devnet, family, seed)
            pair = token, _ = (specimen.token, specimen.pool)
            trying = replace(bench.trying(), node=client, where=Where(known_markets(1), chain_id=1), budget_s=20.0)
            desk = TrialDesk(1, bench.around, trying)
            assert await desk.try_out(pair, a_block_ref(100))
            before = desk.trials([pair])[token].value
            raised = {"from": KEEPER, "to": token, "data": calldata("setFees(uint256,uint256)", 1, 5)}
            await devnet.rpc("eth_sendTransactionSync", raised)
            assert await desk.try_out(pair, a_block_ref(101))
        finally:
            await client.stop()
    after = desk.trials([pair])[token].value
    assert (before.verdict, after.verdict) == ("safe", "safe")
    assert (before.sell_tax_bps, after.sell_tax_bps) == (pytest.approx(100, abs=2), pytest.approx(500, abs=2))
    flags = [event for event in bench.told if isinstance(event, TokenFlagged)]
    assert [event.flag for event in flags] == [Flag.TAX_RAISED]
