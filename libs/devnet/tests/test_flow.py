"""Rules of the running flow and of the command line."""

import asyncio
import itertools
import signal
import sys

import orjson
import pytest

from dexlane_devnet import (
    ADDRESSES,
    V3_POOL_005,
    Devnet,
    DevnetError,
    FlowPlayer,
    FlowSettings,
    FlowStats,
    Rpc,
    Tape,
    account,
    free_port,
)
from dexlane_devnet.fees import next_base_fee
from dexlane_devnet.market import pool_state, rewind_calls
from dexlane_devnet.profile import starting_pool
from dexlane_devnet.swaps import exact_in_calldata

pytestmark = pytest.mark.integration
QUICK = 1_000_000.0
FIRST_200 = FlowSettings(synthetic=False, max_swaps=200)


async def play(chain: Devnet, tape: Tape, settings: FlowSettings, speed: float = QUICK) -> FlowStats:
    return await FlowPlayer(chain.ws_url, tape, speed=speed, settings=settings).run(asyncio.Event())


async def test_replay_of_the_first_200_swaps_follows_the_record_within_a_hundredth_bp(
    chain: Devnet, tape: Tape
) -> None:
    stats = await play(chain, tape, FIRST_200)
    assert (stats.swaps_mined, stats.swaps_failed) == (200, 0)
    assert stats.p95_bps is not None
    assert stats.p95_bps < 0.01


async def test_synthetic_traders_leave_the_recorded_pool_alone(ticking_chain: Devnet, tape: Tape) -> None:
    stats = await play(ticking_chain, tape, FlowSettings(max_swaps=150), speed=1000)
    assert stats.synthetic_trades > 0
    assert stats.p95_bps is not None
    assert stats.p95_bps < 0.01


async def test_a_rewind_repairs_liquidity_and_price_after_an_interrupted_run(chain: Devnet, tape: Tape) -> None:
    start = starting_pool(tape)
    await play(chain, tape, FIRST_200)
    await play(chain, tape, FlowSettings(synthetic=False, max_swaps=1))
    async with await Rpc.connect(chain.ws_url) as rpc:
        price, _ = await pool_state(rpc, V3_POOL_005)
        calls = await rewind_calls(rpc, tape, start)
    assert abs(price - start.sqrt_price_x96) * 1_000 < start.sqrt_price_x96
    # What is left to rewind is the price the new run has moved since, and at most its first changes of liquidity.
    assert len(calls) < 10


async def test_a_reorg_under_the_flow_loses_its_swaps_but_not_its_way(ticking_chain: Devnet, tape: Tape) -> None:
    stop, seen = asyncio.Event(), asyncio.Queue[FlowStats]()
    settings = FlowSettings(synthetic=False, report_every_s=0.2)
    player = FlowPlayer(ticking_chain.ws_url, tape, speed=1000, settings=settings)
    running = asyncio.create_task(player.run(stop, seen.put_nowait))
    async with asyncio.timeout(20):
        while (await seen.get()).swaps_mined < 60:
            pass
        await ticking_chain.reorg(2)
        reached = player.stats.swaps_mined
        while (now := await seen.get()).swaps_mined < reached + 100 or not now.lost_to_reorg:
            pass
        stop.set()
        final = await running
    assert final.swaps_failed == 0


async def test_a_trader_who_bids_twice_the_base_fee_comes_before_the_flow(ticking_chain: Devnet, tape: Tape) -> None:
    stop = asyncio.Event()
    player = FlowPlayer(ticking_chain.ws_url, tape, speed=1000, settings=FlowSettings(synthetic=False))
    running = asyncio.create_task(player.run(stop))
    await asyncio.sleep(2.5)
    head = await ticking_chain.rpc("eth_getBlockByNumber", "latest", False)
    sender = account("test-1").address
    request = {
        "from": sender,
        "to": ADDRESSES.weth,
        "data": "0xd0e30db0",
        "value": "0x1",
        "gas": hex(100_000),
        "maxFeePerGas": hex(2 * int(head["baseFeePerGas"], 16)),
        "maxPriorityFeePerGas": hex(10**8),
    }
    receipt = await ticking_chain.rpc("eth_sendTransactionSync", request)
    stop.set()
    await running
    assert receipt["transactionIndex"] == "0x0"
    block = await ticking_chain.rpc("eth_getBlockByNumber", receipt["blockNumber"], True)
    assert len(block["transactions"]) > 10


async def test_base_fee_stays_predictable_and_alive_under_background_load(ticking_chain: Devnet, tape: Tape) -> None:
    settings = FlowSettings(max_swaps=250)
    await play(ticking_chain, tape, settings, speed=500)
    height = int(await ticking_chain.rpc("eth_blockNumber"), 16)
    blocks = [
        await ticking_chain.rpc("eth_getBlockByNumber", hex(number), False) for number in range(height - 5, height + 1)
    ]
    fees = [(int(block["baseFeePerGas"], 16), int(block["gasUsed"], 16)) for block in blocks]
    for (fee, used), (following, _) in itertools.pairwise(fees):
        assert following == next_base_fee(fee, used)
        assert settings.target_base_fee_wei < 2 * following < 4 * settings.target_base_fee_wei


async def test_losing_the_chain_ends_the_flow_with_one_sentence(ticking_chain: Devnet, tape: Tape) -> None:
    running = asyncio.create_task(play(ticking_chain, tape, FlowSettings(), speed=100))
    await asyncio.sleep(1)
    await ticking_chain.stop()
    with pytest.raises(DevnetError, match="the connection to the chain closed"):
        await running


async def start_command(port: int, *more: str) -> asyncio.subprocess.Process:
    command = ["-m", "dexlane_devnet", "up", "--port", str(port), "--report-every", "1", *more]
    return await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)


async def test_up_says_ready_logs_json_and_leaves_nothing_behind() -> None:
    port = free_port()
    process = await start_command(port, "--speed", "1000")
    assert process.stdout is not None
    assert await process.stdout.readline() == f"ready ws://127.0.0.1:{port}\n".encode()
    assert orjson.loads(await process.stdout.readline())["event"] == "flow"
    process.send_signal(signal.SIGTERM)
    rest = (await process.stdout.read()).splitlines()
    assert await process.wait() == 0
    assert orjson.loads(rest[-1])["event"] == "flow-summary"
    with pytest.raises(OSError, match=r"Connect|connect"):
        await Rpc.connect(f"ws://127.0.0.1:{port}")


@pytest.mark.parametrize("flow", [[], ["--no-flow"]], ids=["flow", "no-flow"])
async def test_the_death_of_anvil_ends_the_command_with_exit_code_1(flow: list[str]) -> None:
    port = free_port()
    process = await start_command(port, *flow)
    assert process.stdout is not None
    await process.stdout.readline()
    async with await Rpc.connect(f"ws://127.0.0.1:{port}") as rpc:
        assert await rpc.call("eth_chainId") == "0x1"
    children = await asyncio.create_subprocess_exec(
        "ps", "-o", "pid=", "--ppid", str(process.pid), stdout=asyncio.subprocess.PIPE
    )
    listed, _ = await children.communicate()
    import os

    os.kill(int(listed.split()[0]), signal.SIGKILL)
    assert await process.wait() == 1


async def test_a_swap_of_the_flow_sends_the_recorded_amount() -> None:
    data = exact_in_calldata(V3_POOL_005, ADDRESSES.weth, 123, account("flow").address)
    assert data.endswith(f"{123:064x}" + "0" * 128)
