"""Bring a specimen of a family to the devnet: its token, a pool with WETH on Uniswap V2, and some blocks of age."""

import random
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode

from dexlane_devnet.accounts import account
from dexlane_devnet.addresses import chain_of
from dexlane_devnet.contracts import calldata
from dexlane_devnet.devnet import Devnet
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.zoo.families import Family, creation_code

KEEPER = account("test-11").address
"""Who deploys and owns every specimen: an account without code."""
_ETHER = 10**18
_FOREVER = (1 << 256) - 1
_KEEPER_WEI = 10**8 * _ETHER
_BLOCKS_OF_AGE = 8


@dataclass(frozen=True)
class Specimen:
    """A token on the chain. ``pool_wei`` is the WETH it was brought to the pool with."""

    family: Family
    seed: int
    token: str
    numbers: tuple[int, ...]
    pool_wei: int


async def release(devnet: Devnet, family: Family, seed: int) -> Specimen:
    """Deploy one specimen of a chain of Ethereum's addresses.

    Raises:
        DevnetError: a transaction of its set-up failed.
    """
    numbers = family.numbers(seed)
    await devnet.rpc("anvil_setBalance", KEEPER, hex(_KEEPER_WEI))
    receipt = await _deploy(devnet, creation_code()[family.name] + encode(["uint256[4]"], [numbers]))
    token = str(receipt["contractAddress"]).lower()
    if family.makes:
        answer = await devnet.rpc("eth_call", {"to": token, "data": calldata("token()")}, "latest")
        token = f"0x{answer[-40:]}"
    wei = 0
    if family.liquid:
        wei = await _to_pool(devnet, token, seed)
    for signature in family.after:
        await _send(devnet, token, calldata(signature))
    await devnet.mine(_BLOCKS_OF_AGE)
    return Specimen(family, seed, token, tuple(numbers), wei)


async def _deploy(devnet: Devnet, code: bytes) -> dict[str, Any]:
    request = {"from": KEEPER, "data": "0x" + code.hex(), "gas": hex(16_000_000)}
    receipt: dict[str, Any] = await devnet.rpc("eth_sendTransactionSync", request)
    if receipt["status"] != "0x1":
        raise DevnetError("a specimen's constructor failed.")
    return receipt


async def _to_pool(devnet: Devnet, token: str, seed: int) -> int:
    chance = random.Random(f"pool {token} {seed}")  # noqa: S311 - specimens by seed, no secrets
    router = chain_of(devnet.chain_id).addresses.v2_router02
    supply = int(await devnet.rpc("eth_call", {"to": token, "data": calldata("totalSupply()")}, "latest"), 16)
    held = int(
        await devnet.rpc("eth_call", {"to": token, "data": calldata("balanceOf(address)", KEEPER)}, "latest"), 16
    )
    amount = min(held, supply * chance.randint(60, 100) // 100)
    wei = chance.randint(5, 200) * _ETHER
    await _send(devnet, token, calldata("approve(address,uint256)", router, _FOREVER))
    signature = "addLiquidityETH(address,uint256,uint256,uint256,address,uint256)"
    await _send(devnet, router, calldata(signature, token, amount, 0, 0, KEEPER, _FOREVER), wei)
    return wei


async def _send(devnet: Devnet, to: str, data: str, value: int = 0) -> None:
    request = {"from": KEEPER, "to": to, "data": data, "value": hex(value), "gas": hex(16_000_000)}
    receipt = await devnet.rpc("eth_sendTransactionSync", request)
    if receipt["status"] != "0x1":
        raise DevnetError(f"a set-up transaction of a specimen failed ({data[:10]}).")
