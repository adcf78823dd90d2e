"""Reading the pools and acting on them for the flow: synthetic orders, top-ups, and the way back to the start."""

from eth_abi.packed import encode_packed
from eth_utils.crypto import keccak

from dexlane_devnet.accounts import account
from dexlane_devnet.addresses import ADDRESSES, LIQUIDITY_DESK, V3_POOL_005, DevnetChain, DevnetPool
from dexlane_devnet.contracts import calldata
from dexlane_devnet.desk import burn_calldata, collect_calldata, mint_calldata
from dexlane_devnet.funding import (
    DESK_USDC,
    DESK_WETH,
    ETHER,
    FLOW_WEI,
    MARKET_USDC,
    MARKET_WETH,
)
from dexlane_devnet.outbox import GAS_LIMIT
from dexlane_devnet.profile import StartingPool, net_change
from dexlane_devnet.rpc import Rpc, RpcError
from dexlane_devnet.swaps import exact_in_calldata
from dexlane_devnet.synthetic import Intention, order_for
from dexlane_devnet.tape import Tape

REWIND_WEI = 200_000 * ETHER
REWIND_USDC = 400_000_000 * 10**6


async def eth_call(rpc: Rpc, to: str, data: str) -> list[int]:
    """Words of a view call at the latest block, as unsigned integers."""
    answer: str = await rpc.call("eth_call", {"to": to, "data": data}, "latest")
    raw = bytes.fromhex(answer[2:])
    return [int.from_bytes(raw[i : i + 32], "big") for i in range(0, len(raw), 32)]


async def pool_state(rpc: Rpc, pool: DevnetPool) -> tuple[int, int]:
    """(reserve0, reserve1) of a V2 pool, (sqrt price, 0) of a V3 pool."""
    if pool.protocol == "uniswap-v2":
        reserve0, reserve1, _ = await eth_call(rpc, pool.address, calldata("getReserves()"))
        return reserve0, reserve1
    return (await eth_call(rpc, pool.address, calldata("slot0()")))[0], 0


async def act(rpc: Rpc, chain: DevnetChain, intention: Intention, reference: int, fees: dict[str, str]) -> bool:
    """Carry out a synthetic intention at the prices of the moment; whether a trade was sent.

    A trader whose last trade still waits does nothing: it would aim twice at one gap, and anvil would drop the second
    trade if the fee had risen (see outbox.py).

    Args:
        reference: sqrt price that the intention's offset counts from, Q64.96.
        fees: the fee fields of the request.
    """
    trader = intention.trader
    sender = account(trader.role).address
    mined, pending = await rpc.batch([("eth_getTransactionCount", sender, tag) for tag in ("latest", "pending")])
    if mined != pending:
        return False
    order = order_for(intention, reference, await pool_state(rpc, trader.pool))
    if order is None:
        return False
    data = exact_in_calldata(trader.pool, order.token_in, order.amount, sender, limit=order.limit)
    request = {"from": sender, "to": chain.addresses.swap_router02, "data": data, "gas": hex(GAS_LIMIT)}
    [sent] = await rpc.batch([("eth_sendTransaction", request | fees)])
    return not isinstance(sent, RpcError)


async def rewind_calls(rpc: Rpc, tape: Tape, start: StartingPool) -> list[tuple[str, str]]:
    """(to, calldata) of the flow account that bring the recorded pool back to the start of the tape.

    Liquidity first, read from the chain and not from memory, so that an interrupted run is repaired too; then a swap
    that stops at the starting price. Empty if the pool stands there already.
    """
    wanted = {(item.lower, item.upper): item.liquidity for item in start.withdrawn}
    calls: list[tuple[str, str]] = []
    for lower, upper in sorted(net_change(tape.events).keys() | wanted.keys()):
        held = await _desk_liquidity(rpc, lower, upper)
        change = wanted.get((lower, upper), 0) - held
        if change > 0:
            calls.append((LIQUIDITY_DESK, mint_calldata(lower, upper, change)))
        elif change < 0:
            calls.append((LIQUIDITY_DESK, burn_calldata(lower, upper, -change)))
            calls.append((LIQUIDITY_DESK, collect_calldata(lower, upper)))
    current, _ = await pool_state(rpc, V3_POOL_005)
    if current != start.sqrt_price_x96:
        weth_in = current < start.sqrt_price_x96
        token, amount = (ADDRESSES.weth, REWIND_WEI) if weth_in else (ADDRESSES.usdc, REWIND_USDC)
        flow = account("flow").address
        data = exact_in_calldata(V3_POOL_005, token, amount, flow, limit=start.sqrt_price_x96)
        calls.append((ADDRESSES.swap_router02, data))
    return calls


async def top_up(rpc: Rpc, chain: DevnetChain) -> None:
    """Bring ether, WETH and USDC of flow, synthetic traders and desk back to their starting amounts where half is gone.

    Sends ordinary transactions and waits for none of them.
    """
    owners = {role: (account(role).address, MARKET_WETH[role], MARKET_USDC[role]) for role in MARKET_WETH}
    if chain.is_recorded:
        owners["desk"] = (LIQUIDITY_DESK, DESK_WETH, DESK_USDC)
    del owners["liquidity"]
    giver, at = account("liquidity").address, chain.addresses
    for role, (owner, weth, usdc) in owners.items():
        await _top_up_ether(rpc, owner if role != "desk" else giver)
        held = (await eth_call(rpc, at.weth, calldata("balanceOf(address)", owner)))[0]
        if held < weth // 2:
            await _market_send(rpc, giver, at.weth, calldata("deposit()"), weth)
            await _market_send(rpc, giver, at.weth, calldata("transfer(address,uint256)", owner, weth - held))
        held = (await eth_call(rpc, at.usdc, calldata("balanceOf(address)", owner)))[0]
        if held < usdc // 2:
            minter = account("usdc-minter").address
            await _market_send(rpc, minter, at.usdc, calldata("mint(address,uint256)", owner, usdc - held))


async def _top_up_ether(rpc: Rpc, owner: str) -> None:
    if int(await rpc.call("eth_getBalance", owner, "latest"), 16) < FLOW_WEI // 2:
        await rpc.call("anvil_setBalance", owner, hex(FLOW_WEI))


async def _market_send(rpc: Rpc, sender: str, to: str, data: str, value: int = 0) -> None:
    request = {"from": sender, "to": to, "data": data, "value": hex(value), "gas": hex(200_000)}
    await rpc.call("eth_sendTransaction", request)


async def _desk_liquidity(rpc: Rpc, lower: int, upper: int) -> int:
    key = keccak(encode_packed(["address", "int24", "int24"], [LIQUIDITY_DESK, lower, upper]))
    return (await eth_call(rpc, V3_POOL_005.address, calldata("positions(bytes32)", key)))[0]
