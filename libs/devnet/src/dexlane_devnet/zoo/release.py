"""Bring a specimen of a family to the devnet: its token, a pool with WETH on Uniswap, and some blocks of age."""

import math
import random
from dataclasses import dataclass
from typing import Any, Literal

from eth_abi.abi import encode

from dexlane_devnet.accounts import account
from dexlane_devnet.addresses import chain_of
from dexlane_devnet.contracts import calldata
from dexlane_devnet.devnet import Devnet
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.zoo.families import Family, creation_code

KEEPER = account("test-11").address
"""Who deploys and owns every specimen: an account without code."""
ETHER = 10**18
FOREVER = (1 << 256) - 1
KEEPER_WEI = 10**8 * ETHER
BLOCKS_OF_AGE = 8
V3_FEE_PIPS = 3_000
_WIDEST_TICK = 887_220
"""The last tick on either side that pools with that fee, of spacing 60, can use."""
Exchange = Literal["uniswap_v2", "uniswap_v3"]
"""Where a specimen is traded, or whose pool it knows."""


@dataclass(frozen=True)
class Specimen:
    """A token on the chain. ``pool_wei`` is the WETH it was brought to its ``pool`` with; "" without one."""

    family: Family
    seed: int
    token: str
    numbers: tuple[int, ...]
    pool: str
    pool_wei: int


async def release(
    devnet: Devnet, family: Family, seed: int, exchange: Exchange = "uniswap_v2", knows: Exchange | None = None
) -> Specimen:
    """Deploy one specimen on a chain of Ethereum's addresses, and bring it to a pool of an exchange.

    ``knows``: the exchange whose pool its code names. By default a hostile one knows the pool that it is brought to,
    for its trap is made for that, and a benign one that of Uniswap V2: somebody else may have opened the other.

    Raises:
        DevnetError: a transaction of its set-up failed.
    """
    if knows is None:
        knows = exchange if family.hostile else "uniswap_v2"
    numbers = [*family.numbers(seed)[:3], 3 if knows == "uniswap_v3" else 0]
    await devnet.rpc("anvil_setBalance", KEEPER, hex(KEEPER_WEI))
    receipt = await deploy(devnet, creation_code()[family.name] + encode(["uint256[4]"], [numbers]))
    token = str(receipt["contractAddress"]).lower()
    if family.makes:
        answer = await devnet.rpc("eth_call", {"to": token, "data": calldata("token()")}, "latest")
        token = f"0x{answer[-40:]}"
    wei, pool = 0, ""
    if family.liquid:
        wei = await _to_pool(devnet, token, seed, exchange)
        pool = await _pool_of(devnet, token, exchange)
    for signature in family.after:
        await send(devnet, token, calldata(signature))
    await devnet.mine(BLOCKS_OF_AGE)
    return Specimen(family, seed, token, tuple(numbers), pool, wei)


async def deploy(devnet: Devnet, code: bytes) -> dict[str, Any]:
    """The keeper deploys a contract; the receipt. ``DevnetError`` when that fails."""
    request = {"from": KEEPER, "data": "0x" + code.hex(), "gas": hex(16_000_000)}
    receipt: dict[str, Any] = await devnet.rpc("eth_sendTransactionSync", request)
    if receipt["status"] != "0x1":
        raise DevnetError("a specimen's constructor failed.")
    return receipt


async def bring_to(devnet: Devnet, token: str, exchange: Exchange, wei: int = 10 * ETHER) -> str:
    """Another pool for a token, with all that the keeper has left of it; the pool's address."""
    data = calldata("balanceOf(address)", KEEPER)
    held = int(await devnet.rpc("eth_call", {"to": token, "data": data}, "latest"), 16)
    await (_to_v2 if exchange == "uniswap_v2" else _to_v3)(devnet, token, held, wei)
    return await _pool_of(devnet, token, exchange)


async def _to_pool(devnet: Devnet, token: str, seed: int, exchange: Exchange) -> int:
    chance = random.Random(f"pool {token} {seed}")  # noqa: S311 - specimens by seed, no secrets
    supply = int(await devnet.rpc("eth_call", {"to": token, "data": calldata("totalSupply()")}, "latest"), 16)
    held = int(
        await devnet.rpc("eth_call", {"to": token, "data": calldata("balanceOf(address)", KEEPER)}, "latest"), 16
    )
    amount = min(held, supply * chance.randint(60, 100) // 100)
    wei = chance.randint(5, 200) * ETHER
    await (_to_v2 if exchange == "uniswap_v2" else _to_v3)(devnet, token, amount, wei)
    return wei


async def _pool_of(devnet: Devnet, token: str, exchange: Exchange) -> str:
    at = chain_of(devnet.chain_id).addresses
    factory, data = at.v2_factory, calldata("getPair(address,address)", token, at.weth)
    if exchange == "uniswap_v3":
        factory, data = at.v3_factory, calldata("getPool(address,address,uint24)", token, at.weth, V3_FEE_PIPS)
    answer = await devnet.rpc("eth_call", {"to": factory, "data": data}, "latest")
    return f"0x{answer[-40:]}"


async def _to_v2(devnet: Devnet, token: str, amount: int, wei: int) -> None:
    router = chain_of(devnet.chain_id).addresses.v2_router02
    await send(devnet, token, calldata("approve(address,uint256)", router, FOREVER))
    signature = "addLiquidityETH(address,uint256,uint256,uint256,address,uint256)"
    await send(devnet, router, calldata(signature, token, amount, 0, 0, KEEPER, FOREVER), wei)


async def _to_v3(devnet: Devnet, token: str, amount: int, wei: int) -> None:
    """A position over all prices in the pool of 0.3 %."""
    at = chain_of(devnet.chain_id).addresses
    await send(devnet, at.weth, calldata("deposit()"), wei)
    for each in (token, at.weth):
        await send(devnet, each, calldata("approve(address,uint256)", at.position_manager, FOREVER))
    sides = sorted(((int(token, 16), token, amount), (int(at.weth, 16), at.weth, wei)))
    (_, token0, amount0), (_, token1, amount1) = sides
    price = math.isqrt((amount1 << 192) // amount0)
    create = "createAndInitializePoolIfNecessary(address,address,uint24,uint160)"
    await send(devnet, at.position_manager, calldata(create, token0, token1, V3_FEE_PIPS, price))
    kinds = "address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256"
    range_ = (token0, token1, V3_FEE_PIPS, -_WIDEST_TICK, _WIDEST_TICK, amount0, amount1, 0, 0, KEEPER, FOREVER)
    await send(devnet, at.position_manager, calldata(f"mint(({kinds}))", range_))


async def send(devnet: Devnet, to: str, data: str, value: int = 0) -> None:
    """A transaction of the keeper's. ``DevnetError`` when it fails."""
    request = {"from": KEEPER, "to": to, "data": data, "value": hex(value), "gas": hex(16_000_000)}
    receipt = await devnet.rpc("eth_sendTransactionSync", request)
    if receipt["status"] != "0x1":
        raise DevnetError(f"a set-up transaction of a specimen failed ({data[:10]}).")
