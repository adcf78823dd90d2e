"""Rules of the devnet's Base: what stands where, and that it trades like the real one."""

import asyncio
from collections.abc import AsyncIterator
from math import isqrt

import pytest

from dexlane_devnet import BASE_CHAIN, Devnet, DevnetConfig, DevnetPool, Rpc, Tape, free_port, start_devnet
from dexlane_devnet.accounts import account
from dexlane_devnet.addresses import GAS_PRICE_ORACLE
from dexlane_devnet.contracts import calldata
from dexlane_devnet.market import eth_call, pool_state
from dexlane_devnet.profile import mirrored, starting_pool
from dexlane_devnet.synthetic import gap_beyond_fees_bps
from dexlane_devnet.synthetic_flow import SyntheticPlayer
from dexlane_devnet.v3math import Q96

pytestmark = pytest.mark.integration
AT = BASE_CHAIN.addresses
UNDEPLOYED = ("v4_pool_manager", "v4_position_manager")


@pytest.fixture
async def base() -> AsyncIterator[Devnet]:
    """Base, mining each transaction at once."""
    async with await start_devnet(DevnetConfig(port=free_port(), chain_id=8453, block_time_s=None)) as devnet:
        yield devnet


async def view(chain: Devnet, to: str, signature: str, *arguments: object) -> int:
    answer: str = await chain.rpc("eth_call", {"to": to, "data": calldata(signature, *arguments)}, "latest")
    return int(answer[2:66], 16)


async def test_bases_canonical_addresses_hold_code(base: Devnet) -> None:
    assert int(await base.rpc("eth_chainId"), 16) == 8453
    for name, address in vars(AT).items():
        if name not in UNDEPLOYED:
            assert len(await base.rpc("eth_getCode", address, "latest")) > 2, name


async def test_bases_factories_made_the_pools_at_their_canonical_addresses(base: Devnet) -> None:
    assert BASE_CHAIN.leading.address.lower() == "0xd0b53d9277642d899df5c87a3966a349a798f224"
    for pool in (BASE_CHAIN.leading, BASE_CHAIN.deep):
        found = await view(base, AT.v3_factory, "getPool(address,address,uint24)", AT.weth, AT.usdc, pool.fee_pips)
        assert found == int(pool.address, 16)
    pair = await view(base, AT.v2_factory, "getPair(address,address)", AT.weth, AT.usdc)
    assert pair == int(BASE_CHAIN.pair.address, 16)


async def test_all_pools_of_base_start_at_one_price_in_usdc_for_weth(base: Devnet, tape: Tape) -> None:
    start = mirrored(starting_pool(tape))
    async with await Rpc.connect(base.ws_url) as rpc:
        for pool in (BASE_CHAIN.leading, BASE_CHAIN.deep):
            assert await pool_state(rpc, pool) == (start.sqrt_price_x96, 0)
        weth, usdc = await pool_state(rpc, BASE_CHAIN.pair)
    assert usdc * Q96 * Q96 == pytest.approx(weth * start.sqrt_price_x96**2, rel=1e-9)
    assert 2_000 < usdc / 10**6 / (weth / 10**18) < 2_500


@pytest.mark.parametrize("pool", [BASE_CHAIN.leading, BASE_CHAIN.deep], ids=lambda pool: pool.name)
@pytest.mark.parametrize("weth_in", [True, False])
async def test_bases_quoter_says_what_a_swap_through_the_router_gives(
    base: Devnet, pool: DevnetPool, *, weth_in: bool
) -> None:
    token, other, amount = (AT.weth, AT.usdc, 900 * 10**18) if weth_in else (AT.usdc, AT.weth, 2_000_000 * 10**6)
    signature = "quoteExactInputSingle((address,address,uint256,uint24,uint160))"
    quoted = await view(base, AT.quoter_v2, signature, (token, other, amount, pool.fee_pips, 0))
    assert await base.swap_exact_in(pool, token, amount) == quoted


async def test_bases_v2_router_says_what_a_swap_gives(base: Devnet) -> None:
    amount = 10**18
    data = calldata("getAmountsOut(uint256,address[])", amount, [AT.weth, AT.usdc])
    async with await Rpc.connect(base.ws_url) as rpc:
        quoted = (await eth_call(rpc, AT.v2_router02, data))[-1]
    assert await base.swap_exact_in(BASE_CHAIN.pair, AT.weth, amount) == quoted


async def test_the_synthetic_flow_of_base_trades_all_pools_and_keeps_them_near_the_leading_one() -> None:
    config = DevnetConfig(port=free_port(), chain_id=8453, block_time_s=1, start_base_fee_wei=BASE_CHAIN.base_fee_wei)
    async with await start_devnet(config) as devnet, await Rpc.connect(devnet.ws_url) as rpc:
        before = [await pool_state(rpc, pool) for pool in BASE_CHAIN.pools.values()]
        stop = asyncio.Event()
        player = asyncio.create_task(SyntheticPlayer(devnet.ws_url, BASE_CHAIN, speed=300).run(stop))
        async with asyncio.timeout(40):
            await rpc.subscribe_heads()
            after = before
            while any(old == new for old, new in zip(before, after, strict=True)):
                await rpc.next_head()
                after = [await pool_state(rpc, pool) for pool in BASE_CHAIN.pools.values()]
        stop.set()
        stats = await player
        weth, usdc = after[2]
        leading, pair = after[0][0], isqrt(usdc * Q96 * Q96 // weth)
        assert abs(gap_beyond_fees_bps(leading, pair)) < 100
        assert stats.synthetic_trades >= 3


async def test_base_charges_for_data_as_its_oracle_says_and_by_fjord(base: Devnet) -> None:
    assert await view(base, GAS_PRICE_ORACLE, "isFjord()") == 1
    sender, fee = account("noise-3").address, await view(base, GAS_PRICE_ORACLE, "getL1Fee(bytes)", bytes(30))
    before = int(await base.rpc("eth_getBalance", sender, "latest"), 16)
    request = {"from": sender, "to": "0x" + "11" * 20, "gas": hex(30_000)}
    receipt = await base.rpc("eth_sendTransactionSync", request)
    paid = before - int(await base.rpc("eth_getBalance", sender, "latest"), 16)
    assert paid - int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16) == fee > 0
