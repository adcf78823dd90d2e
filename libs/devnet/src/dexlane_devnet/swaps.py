"""Swap calldata for SwapRouter02 and what a swap's log says (pure)."""

from dataclasses import dataclass
from typing import Any

from dexlane_devnet.addresses import DevnetPool
from dexlane_devnet.contracts import calldata

V3_SWAP_TOPIC = "0xc42079f94a6350d7e6235f29174924f928cc2ac818eb64fed8004e115fbcca67"
V2_SWAP_TOPIC = "0xd78ad95fa46c994b6551d0da85fc275fe613ce37657fb8d5e3d130840159d822"
_EXACT_IN = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))"


@dataclass(frozen=True)
class SwapLog:
    """A decoded V3 Swap log: signed amounts from the pool's view, the pool's state after the swap."""

    amount0: int
    amount1: int
    sqrt_price_x96: int
    liquidity: int
    tick: int


def exact_in_calldata(pool: DevnetPool, token_in: str, amount: int, recipient: str, *, limit: int = 0) -> str:
    """SwapRouter02 calldata that sells ``amount`` of ``token_in`` in ``pool`` without a minimum out.

    Args:
        limit: V3 only: sqrt price (Q64.96) at which to stop, 0 for none; the rest of the amount is not taken.
    """
    token_out = pool.token1 if token_in == pool.token0 else pool.token0
    if pool.protocol == "uniswap-v2":
        signature = "swapExactTokensForTokens(uint256,uint256,address[],address)"
        return calldata(signature, amount, 0, [token_in, token_out], recipient)
    return calldata(_EXACT_IN, (token_in, token_out, pool.fee_pips, recipient, amount, 0, limit))


def decode_v3_swap(log: dict[str, Any]) -> SwapLog:
    """Words of ``Swap(address,address,int256,int256,uint160,uint128,int24)`` (IUniswapV3PoolEvents)."""
    data = bytes.fromhex(log["data"][2:])
    signed = [int.from_bytes(data[i : i + 32], "big", signed=True) for i in range(0, 160, 32)]
    return SwapLog(*signed)


def amount_out(pool: DevnetPool, token_in: str, receipt: dict[str, Any]) -> int:
    """What the receiver of a swap got, in token units, from the pool's Swap log in its receipt."""
    topic = V2_SWAP_TOPIC if pool.protocol == "uniswap-v2" else V3_SWAP_TOPIC
    logs = [
        log
        for log in receipt["logs"]
        if log["topics"][0] == topic and log["address"].lower() == pool.address.lower()
    ]  # fmt: skip
    data = bytes.fromhex(logs[-1]["data"][2:])
    words = [int.from_bytes(data[i : i + 32], "big", signed=True) for i in range(0, len(data), 32)]
    selling0 = token_in == pool.token0
    if pool.protocol == "uniswap-v2":
        return words[3] if selling0 else words[2]
    return -words[1] if selling0 else -words[0]
