"""Rules of the chain: what stands where, what accounts own, how it starts and stops."""

import asyncio
import socket
import time
from pathlib import Path

import pytest

from dexlane_devnet import (
    ADDRESSES,
    POOLS,
    TRADING_ROLES,
    V2_POOL,
    V3_POOL_005,
    V3_POOL_030,
    Devnet,
    DevnetConfig,
    DevnetError,
    Rpc,
    Tape,
    account,
    free_port,
    load_tape,
    start_devnet,
)
from dexlane_devnet.build import state_path
from dexlane_devnet.contracts import calldata
from dexlane_devnet.market import eth_call, pool_state
from dexlane_devnet.profile import starting_pool

pytestmark = pytest.mark.integration
UNDEPLOYED = ("v4_pool_manager", "v4_position_manager")


async def view(chain: Devnet, to: str, signature: str, *arguments: object) -> int:
    answer: str = await chain.rpc("eth_call", {"to": to, "data": calldata(signature, *arguments)}, "latest")
    return int(answer[2:66], 16)


async def test_canonical_addresses_hold_code(chain: Devnet) -> None:
    for name, address in vars(ADDRESSES).items():
        if name not in UNDEPLOYED:
            assert len(await chain.rpc("eth_getCode", address, "latest")) > 2, name


async def test_factories_know_the_pools_at_their_mainnet_addresses(chain: Devnet) -> None:
    tokens = (ADDRESSES.usdc, ADDRESSES.weth)
    for pool in (V3_POOL_005, V3_POOL_030):
        found = await view(chain, ADDRESSES.v3_factory, "getPool(address,address,uint24)", *tokens, pool.fee_pips)
        assert found == int(pool.address, 16)
    assert await view(chain, ADDRESSES.v2_factory, "getPair(address,address)", *tokens) == int(V2_POOL.address, 16)


async def test_all_pools_start_at_the_recorded_price(chain: Devnet, tape: Tape) -> None:
    start = starting_pool(tape)
    assert (await view(chain, V3_POOL_005.address, "liquidity()")) == pytest.approx(tape.events[0].liquidity, rel=1e-12)
    async with await Rpc.connect(chain.ws_url) as rpc:
        for pool in (V3_POOL_005, V3_POOL_030):
            assert await pool_state(rpc, pool) == (start.sqrt_price_x96, 0)
        usdc, weth = await pool_state(rpc, V2_POOL)
    assert weth << 192 == pytest.approx(usdc * start.sqrt_price_x96**2, rel=1e-9)


@pytest.mark.parametrize("role", TRADING_ROLES)
async def test_trading_accounts_own_100_ether_100000_usdc_and_no_weth(chain: Devnet, role: str) -> None:
    owner = account(role).address
    assert int(await chain.rpc("eth_getBalance", owner, "latest"), 16) == 100 * 10**18
    assert await view(chain, ADDRESSES.usdc, "balanceOf(address)", owner) == 100_000 * 10**6
    assert await view(chain, ADDRESSES.weth, "balanceOf(address)", owner) == 0


@pytest.mark.parametrize("pool", [V3_POOL_005, V3_POOL_030], ids=lambda pool: pool.name)
@pytest.mark.parametrize("weth_in", [True, False])
async def test_the_quoter_says_what_a_swap_gives(chain: Devnet, pool: object, *, weth_in: bool) -> None:
    assert pool in (V3_POOL_005, V3_POOL_030)
    used = V3_POOL_005 if pool == V3_POOL_005 else V3_POOL_030
    token, other, amount = used.token0, used.token1, 2_000_000 * 10**6
    if weth_in:
        token, other, amount = other, token, 900 * 10**18
    signature = "quoteExactInputSingle((address,address,uint256,uint24,uint160))"
    quoted = await view(chain, ADDRESSES.quoter_v2, signature, (token, other, amount, used.fee_pips, 0))
    assert await chain.swap_exact_in(used, token, amount) == quoted


async def test_the_v2_router_says_what_a_swap_gives(chain: Devnet) -> None:
    amount = 10**18
    data = calldata("getAmountsOut(uint256,address[])", amount, [ADDRESSES.weth, ADDRESSES.usdc])
    async with await Rpc.connect(chain.ws_url) as rpc:
        quoted = (await eth_call(rpc, ADDRESSES.v2_router02, data))[-1]
    assert await chain.swap_exact_in(V2_POOL, ADDRESSES.weth, amount) == quoted


async def test_only_its_pool_and_the_flow_may_use_the_liquidity_desk(chain: Devnet) -> None:
    from dexlane_devnet.addresses import LIQUIDITY_DESK
    from dexlane_devnet.desk import burn_calldata

    item = starting_pool(load_tape()).withdrawn[0]
    request = {"to": LIQUIDITY_DESK, "data": burn_calldata(item.lower, item.upper, 1)}
    await chain.rpc("eth_call", request | {"from": account("flow").address}, "latest")
    with pytest.raises(RuntimeError, match="revert"):
        await chain.rpc("eth_call", request | {"from": account("live-fast").address}, "latest")


async def test_a_warm_start_is_fast(chain: Devnet) -> None:
    began = time.monotonic()
    async with await start_devnet(DevnetConfig(port=free_port())):
        assert time.monotonic() - began < 5


async def test_a_taken_port_is_one_sentence() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(DevnetError, match=rf"^port {port} on 127.0.0.1 is taken; choose another"):
            await start_devnet(DevnetConfig(port=port))


async def test_clock_gas_limit_and_base_fee_are_of_the_present_after_a_load(ticking_chain: Devnet) -> None:
    head = await ticking_chain.rpc("eth_getBlockByNumber", "latest", False)
    assert abs(int(head["timestamp"], 16) - time.time()) < 5
    assert int(head["gasLimit"], 16) == 30_000_000
    assert int(head["baseFeePerGas"], 16) <= 2 * 10**9


async def test_the_block_before_the_last_but_one_is_final(chain: Devnet) -> None:
    await chain.mine(5)
    numbers = []
    for tag in ("latest", "safe", "finalized"):
        numbers.append(int((await chain.rpc("eth_getBlockByNumber", tag, False))["number"], 16))  # noqa: PERF401
    assert numbers == [numbers[0], numbers[0] - 1, numbers[0] - 2]


async def test_a_reorg_takes_a_swap_back(chain: Devnet) -> None:
    before = await view(chain, ADDRESSES.usdc, "balanceOf(address)", account("noise-3").address)
    await chain.swap_exact_in(V3_POOL_005, ADDRESSES.weth, 10**18)
    height = int(await chain.rpc("eth_blockNumber"), 16)
    await chain.reorg(1)
    assert int(await chain.rpc("eth_blockNumber"), 16) == height
    assert await view(chain, ADDRESSES.usdc, "balanceOf(address)", account("noise-3").address) == before


async def test_automine_can_be_switched_on_and_off_on_a_ticking_chain(ticking_chain: Devnet) -> None:
    await ticking_chain.set_automine(True)
    height = int(await ticking_chain.rpc("eth_blockNumber"), 16)
    await asyncio.sleep(1.3)
    assert int(await ticking_chain.rpc("eth_blockNumber"), 16) == height
    await ticking_chain.set_automine(False)
    await asyncio.sleep(1.3)
    assert int(await ticking_chain.rpc("eth_blockNumber"), 16) > height


async def test_another_chain_id_runs_the_same_contracts() -> None:
    async with await start_devnet(DevnetConfig(port=free_port(), chain_id=31337, block_time_s=None)) as devnet:
        assert int(await devnet.rpc("eth_chainId"), 16) == 31337
        assert await devnet.swap_exact_in(POOLS[V2_POOL.name], ADDRESSES.weth, 10**18) > 2_000 * 10**6


def test_another_tape_or_chain_means_another_state(tape: Tape) -> None:
    other = Tape(tape.events, "another digest")
    names = {state_path(Path(), *key).name for key in ((tape, 1), (tape, 8453), (other, 1))}
    assert len(names) == 3
