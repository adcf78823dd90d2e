"""Create the three pools and their positions at the recorded starting price."""

from dexlane_devnet.accounts import account
from dexlane_devnet.addresses import LIQUIDITY_DESK, DevnetChain, DevnetPool
from dexlane_devnet.contracts import calldata
from dexlane_devnet.deploy import send
from dexlane_devnet.desk import mint_calldata
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.profile import Range, StartingPool, mirrored
from dexlane_devnet.rpc import Rpc
from dexlane_devnet.v3math import MAX_TICK, Q96, amounts_for_liquidity

FAR_FUTURE = 1 << 40
V2_WETH = 15_000 * 10**18
"""Depth of the V2 pool on each side, in wei (a plausible size for that winter; not recorded)."""
V030_DEPTH_DIVISOR = 4
"""The 0.3 % pool is given a quarter of the 0.05 % pool's liquidity near the price (not recorded)."""
V030_WIDE_SHARE_PERCENT = 40
V030_NARROW_TICKS = 1_800


async def create_pools(rpc: Rpc, chain: DevnetChain, start: StartingPool) -> None:
    """All pools, at one price: the recorded one, turned round where WETH is token 0.

    Raises:
        DevnetError: a pool did not come out at its mainnet address.
    """
    start = mirrored(start) if chain.leading.weth_first else start
    price, manager = start.sqrt_price_x96, chain.addresses.position_manager
    for pool in (chain.leading, chain.deep):
        await _create_v3(rpc, manager, pool, price)
    for item in start.base:
        await _mint(rpc, manager, chain.leading, price, item)
    for item in start.withdrawn:
        if chain.is_recorded:
            data = mint_calldata(item.lower, item.upper, item.liquidity)
            await send(rpc, account("liquidity").address, LIQUIDITY_DESK, data)
        else:
            await _mint(rpc, manager, chain.leading, price, item)
    for position in second_pool_positions(start):
        await _mint(rpc, manager, chain.deep, price, Range(*position))
    await _create_v2(rpc, chain, price)


def second_pool_positions(start: StartingPool) -> list[tuple[int, int, int]]:
    """(lower, upper, liquidity) of the 0.3 % pool: one wide position and one around the price."""
    middle = start.base[len(start.base) // 2]
    depth = middle.liquidity // V030_DEPTH_DIVISOR
    wide = depth * V030_WIDE_SHARE_PERCENT // 100
    centre = middle.lower // 60 * 60
    edge = MAX_TICK // 60 * 60
    narrow = (centre - V030_NARROW_TICKS, centre + V030_NARROW_TICKS, depth - wide)
    return [(-edge, edge, wide), narrow]


async def _create_v3(rpc: Rpc, manager: str, pool: DevnetPool, price: int) -> None:
    data = calldata(
        "createAndInitializePoolIfNecessary(address,address,uint24,uint160)",
        pool.token0, pool.token1, pool.fee_pips, price,
    )  # fmt: skip
    await send(rpc, account("liquidity").address, manager, data)
    await _check_pool(rpc, pool)


async def _mint(rpc: Rpc, manager: str, pool: DevnetPool, price: int, position: Range) -> None:
    lower, upper = position.lower, position.upper
    amount0, amount1 = amounts_for_liquidity(price, lower, upper, position.liquidity)
    owner = account("liquidity").address
    # One unit more on each side: the manager rounds the derived liquidity down.
    parameters = (
        pool.token0, pool.token1, pool.fee_pips, lower, upper, amount0 + 1, amount1 + 1, 0, 0, owner, FAR_FUTURE,
    )  # fmt: skip
    kinds = "address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256"
    await send(rpc, owner, manager, calldata(f"mint(({kinds}))", parameters))


async def _create_v2(rpc: Rpc, chain: DevnetChain, price: int) -> None:
    owner = account("liquidity").address
    pair = chain.pair
    if pair.weth_first:
        amounts = (V2_WETH, V2_WETH * price * price // (Q96 * Q96))
    else:
        amounts = (V2_WETH * Q96 * Q96 // (price * price), V2_WETH)
    kinds = "address,address,uint256,uint256,uint256,uint256,address,uint256"
    data = calldata(
        f"addLiquidity({kinds})",
        pair.token0, pair.token1, *amounts, 0, 0, owner, FAR_FUTURE,
    )  # fmt: skip
    await send(rpc, owner, chain.addresses.v2_router02, data)
    await _check_pool(rpc, pair)


async def _check_pool(rpc: Rpc, pool: DevnetPool) -> None:
    if await rpc.call("eth_getCode", pool.address, "latest") == "0x":
        raise DevnetError(f"{pool.name} did not come out at {pool.address}.")
