"""Two small contracts to ask real pools anything with: an obedient token, and a caller that pays its debts."""

from __future__ import annotations

_OPCODES = {
    "STOP": 0x00, "ADD": 0x01, "MUL": 0x02, "SUB": 0x03, "DIV": 0x04, "SGT": 0x13, "EQ": 0x14, "ISZERO": 0x15,
    "SHL": 0x1B, "SHR": 0x1C, "CALLER": 0x33, "CALLDATALOAD": 0x35, "CALLDATASIZE": 0x36, "CALLDATACOPY": 0x37,
    "RETURNDATASIZE": 0x3D, "RETURNDATACOPY": 0x3E, "POP": 0x50, "MSTORE": 0x52, "SLOAD": 0x54, "SSTORE": 0x55,
    "JUMP": 0x56, "JUMPI": 0x57, "GAS": 0x5A, "JUMPDEST": 0x5B, "PUSH0": 0x5F, "DUP1": 0x80, "DUP2": 0x81, "DUP3": 0x82,
    "DUP4": 0x83, "SWAP1": 0x90, "CALL": 0xF1, "RETURN": 0xF3, "STATICCALL": 0xFA, "REVERT": 0xFD,
}  # fmt: skip

TAX_SLOT = 1 << 255
"""Where the token keeps its tax on transfers, in basis points. Balances lie at the slot of their owner's address."""


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


def token_code() -> bytes:
    """A token without limits: nobody's allowance and nobody's balance is checked; a tax is burnt on the way."""
    return assemble(f"""
        PUSH0 CALLDATALOAD 0xe0 SHR
        DUP1 0x70a08231 EQ @balance JUMPI
        DUP1 0xa9059cbb EQ @transfer JUMPI
        DUP1 0x23b872dd EQ @transfer-from JUMPI
        @done JUMP
        balance: 0x04 CALLDATALOAD SLOAD PUSH0 MSTORE 0x20 PUSH0 RETURN
        transfer: CALLER 0x04 CALLDATALOAD 0x24 CALLDATALOAD @move JUMP
        transfer-from: 0x04 CALLDATALOAD 0x24 CALLDATALOAD 0x44 CALLDATALOAD
        move: DUP3 SLOAD DUP2 SWAP1 SUB DUP4 SSTORE
        DUP1 0x{TAX_SLOT:064x} SLOAD MUL 0x2710 SWAP1 DIV SWAP1 SUB
        DUP2 SLOAD ADD SWAP1 SSTORE
        done: 0x01 PUSH0 MSTORE 0x20 PUSH0 RETURN
    """)


def caller_code() -> bytes:
    """Forwards calldata after its first word to the pool that this word names; pays the pool's callbacks.

    Returns the pool's first two return words and then, as the pool shows them, square-root price, tick and liquidity.
    Callbacks of swaps and mints carry (token0, token1) as their data.
    """
    pay = [
        f"""
        0xa9059cbb 0xe0 SHL PUSH0 MSTORE CALLER 0x04 MSTORE {amount} CALLDATALOAD 0x24 MSTORE
        PUSH0 {amount} CALLDATALOAD SGT ISZERO @paid{amount} JUMPI
        PUSH0 PUSH0 0x44 PUSH0 PUSH0 {token} CALLDATALOAD GAS CALL POP
        paid{amount}:
        """
        for amount, token in (("0x04", "0x84"), ("0x24", "0xa4"))
    ]
    return assemble(f"""
        PUSH0 CALLDATALOAD 0xe0 SHR
        DUP1 0xfa461e33 EQ @pay JUMPI
        0xd3487997 EQ @pay JUMPI
        0x20 CALLDATASIZE SUB DUP1 0x20 PUSH0 CALLDATACOPY
        PUSH0 PUSH0 DUP3 PUSH0 PUSH0 PUSH0 CALLDATALOAD GAS CALL ISZERO @fail JUMPI
        RETURNDATASIZE PUSH0 PUSH0 RETURNDATACOPY
        0x3850c7bd 0xe0 SHL 0x0100 MSTORE 0x40 0x40 0x04 0x0100 PUSH0 CALLDATALOAD GAS STATICCALL POP
        0x1a686502 0xe0 SHL 0x0100 MSTORE 0x20 0x80 0x04 0x0100 PUSH0 CALLDATALOAD GAS STATICCALL POP
        0xa0 PUSH0 RETURN
        fail: RETURNDATASIZE PUSH0 PUSH0 RETURNDATACOPY RETURNDATASIZE PUSH0 REVERT
        pay: {pay[0]} {pay[1]} STOP
    """)
