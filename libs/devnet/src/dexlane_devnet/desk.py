"""The liquidity desk: a little code that holds the recorded positions, so that a mint adds exactly what was recorded.

The position manager takes token amounts and derives liquidity from the price of the moment; a replay needs the recorded
liquidity itself. The desk forwards calldata unchanged to the one pool it is made for, and pays the pool's callback.
"""

from dexlane_devnet.accounts import account
from dexlane_devnet.addresses import ADDRESSES, LIQUIDITY_DESK, V3_POOL_005
from dexlane_devnet.assembly import assemble
from dexlane_devnet.contracts import calldata

MAX_UINT128 = (1 << 128) - 1


def desk_code() -> bytes:
    """Runtime code: the pool may ask for payment, the flow and liquidity accounts may speak to it, nobody else may."""
    pool = V3_POOL_005.address
    allowed = [account("flow").address, account("liquidity").address]
    lines = [f"CALLER {pool} EQ @pay JUMPI"]
    lines += [f"CALLER {who} EQ @forward JUMPI" for who in allowed]
    lines += [
        "PUSH0 PUSH0 REVERT",
        "forward: CALLDATASIZE PUSH0 PUSH0 CALLDATACOPY",
        f"PUSH0 PUSH0 CALLDATASIZE PUSH0 PUSH0 {pool} GAS CALL ISZERO @fail JUMPI STOP",
        "fail: RETURNDATASIZE PUSH0 PUSH0 RETURNDATACOPY RETURNDATASIZE PUSH0 REVERT",
        "pay: PUSH0",
    ]
    for token, offset in ((ADDRESSES.usdc, "0x04"), (ADDRESSES.weth, "0x24")):
        # transfer(address,uint256) with the amount the callback's calldata carries at this offset
        lines += [
            "0xa9059cbb 0xe0 SHL PUSH0 MSTORE CALLER 0x04 MSTORE",
            f"{offset} CALLDATALOAD 0x24 MSTORE",
            f"PUSH0 PUSH0 0x44 PUSH0 PUSH0 {token} GAS CALL ISZERO @fail JUMPI",
        ]
    return assemble(" ".join([*lines, "STOP"]))


def mint_calldata(lower: int, upper: int, liquidity: int) -> str:
    """What the desk is sent to add exactly ``liquidity`` in ticks [lower, upper)."""
    return calldata("mint(address,int24,int24,uint128,bytes)", LIQUIDITY_DESK, lower, upper, liquidity, b"")


def burn_calldata(lower: int, upper: int, liquidity: int) -> str:
    """What the desk is sent to take ``liquidity`` out of ticks [lower, upper)."""
    return calldata("burn(int24,int24,uint128)", lower, upper, liquidity)


def collect_calldata(lower: int, upper: int) -> str:
    """What the desk is sent to take everything owed to its position home."""
    return calldata(
        "collect(address,int24,int24,uint128,uint128)", LIQUIDITY_DESK, lower, upper, MAX_UINT128, MAX_UINT128
    )
