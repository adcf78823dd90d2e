"""The liquidity desk: a little code that holds the recorded positions, so that a mint adds exactly what was recorded.

The position manager takes token amounts and derives liquidity from the price of the moment; a replay needs the recorded
liquidity itself. The desk forwards calldata unchanged to the one pool it is made for, and pays the pool's callback.
"""

from dexlane_devnet.accounts import account
from dexlane_devnet.addresses import ADDRESSES, LIQUIDITY_DESK, V3_POOL_005
from dexlane_devnet.contracts import calldata

_OPCODES = {
    "STOP": 0x00, "EQ": 0x14, "ISZERO": 0x15, "SHL": 0x1B, "CALLER": 0x33, "CALLDATALOAD": 0x35, "CALLDATASIZE": 0x36,
    "CALLDATACOPY": 0x37, "RETURNDATASIZE": 0x3D, "RETURNDATACOPY": 0x3E, "MSTORE": 0x52, "JUMPI": 0x57, "GAS": 0x5A,
    "JUMPDEST": 0x5B, "PUSH0": 0x5F, "CALL": 0xF1, "REVERT": 0xFD,
}  # fmt: skip
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


def assemble(source: str) -> bytes:
    """Turn ``label:``, ``@label``, ``0x..`` and opcode words into code."""
    code, labels, places = bytearray(), dict[str, int](), dict[int, str]()
    for word in source.split():
        if word.endswith(":"):
            labels[word[:-1]] = len(code)
            code.append(_OPCODES["JUMPDEST"])
        elif word.startswith("@"):
            code += b"\x61\x00\x00"
            places[len(code) - 2] = word[1:]
        elif word.startswith("0x"):
            value = bytes.fromhex(word[2:])
            code += bytes([0x5F + len(value)]) + value
        else:
            code.append(_OPCODES[word])
    for at, label in places.items():
        code[at : at + 2] = labels[label].to_bytes(2, "big")
    return bytes(code)


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
