"""Runtime code written as words, for contracts of a few lines."""

from __future__ import annotations

_OPCODES = {
    "STOP": 0x00, "ADD": 0x01, "MUL": 0x02, "SUB": 0x03, "DIV": 0x04, "SGT": 0x13, "EQ": 0x14, "ISZERO": 0x15,
    "SHL": 0x1B, "SHR": 0x1C, "CALLER": 0x33, "CALLDATALOAD": 0x35, "CALLDATASIZE": 0x36, "CALLDATACOPY": 0x37,
    "RETURNDATASIZE": 0x3D, "RETURNDATACOPY": 0x3E, "POP": 0x50, "MSTORE": 0x52, "SLOAD": 0x54, "SSTORE": 0x55,
    "JUMP": 0x56, "JUMPI": 0x57, "GAS": 0x5A, "JUMPDEST": 0x5B, "PUSH0": 0x5F, "DUP1": 0x80, "DUP2": 0x81, "DUP3": 0x82,
    "DUP4": 0x83, "SWAP1": 0x90, "CALL": 0xF1, "RETURN": 0xF3, "STATICCALL": 0xFA, "REVERT": 0xFD,
}  # fmt: skip


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
