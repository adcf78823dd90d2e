"""Token facts of the real contracts, read from a real node."""

from __future__ import annotations

import random

import pytest

from dexlane.chain.link import LinkPolicy
from dexlane.chain.rpc import RpcClient
from dexlane.domain.risk.bytecode.verdict import judge_code
from dexlane.testing.builders import USDC, WETH, an_address
from dexlane_devnet import DevnetConfig, free_port, start_devnet
from risk_scorer.node_facts import read_facts

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
