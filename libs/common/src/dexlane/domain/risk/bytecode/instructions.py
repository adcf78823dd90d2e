"""Runtime code as instructions: data behind PUSH is never read as code, compiler metadata is cut off.

Opcodes: Ethereum yellow paper, appendix H.2, with EIP-145, 1052, 1153, 1344, 3198, 3855, 4399, 4844, 5656.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

STOP, KECCAK256, CALLDATALOAD, CALLDATACOPY, CODECOPY = 0x00, 0x20, 0x35, 0x37, 0x39
POP, MLOAD, MSTORE, MSTORE8 = 0x50, 0x51, 0x52, 0x53
SLOAD, SSTORE, JUMP, JUMPI, JUMPDEST = 0x54, 0x55, 0x56, 0x57, 0x5B
PUSH0, PUSH1, PUSH32, DUP1, DUP16, SWAP1, SWAP16, LOG0, LOG4 = 0x5F, 0x60, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xA4
CREATE, CALL, CALLCODE, RETURN, DELEGATECALL, CREATE2 = 0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5
STATICCALL, REVERT, INVALID, SELFDESTRUCT = 0xFA, 0xFD, 0xFE, 0xFF

MAX_CODE_BYTES = 49_152
"""Twice the limit of EIP-170, which is also the limit of creation code in EIP-3860."""

_MAP_OF_1_TO_4 = (0xA1, 0xA2, 0xA3, 0xA4)
_MINIMAL_PROXY = bytes.fromhex("363d3d373d3d3d363d73"), bytes.fromhex("5af43d82803e903d91602b57fd5bf3")


class Instruction(NamedTuple):
    """One instruction: its opcode, what a PUSH puts on the stack (else 0), and where the next one begins."""

    opcode: int
    operand: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class Program:
    """Code as instructions by offset."""

    code: bytes
    instructions: dict[int, Instruction]
    jump_targets: frozenset[int]


def program_of(code: bytes) -> Program:
    """Disassemble from the first byte to the last. Every input is a program; unknown bytes are opcodes that fail."""
    instructions: dict[int, Instruction] = {}
    targets: set[int] = set()
    offset = 0
    while offset < len(code):
        opcode = code[offset]
        width = opcode - PUSH0 if PUSH1 <= opcode <= PUSH32 else 0
        following = offset + 1 + width
        # What is missing behind the end of the code reads as zeros (yellow paper, section 9.4.1).
        operand = int.from_bytes(code[offset + 1 : following].ljust(width, b"\0"), "big") if width else 0
        instructions[offset] = Instruction(opcode, operand, following)
        if opcode == JUMPDEST:
            targets.add(offset)
        offset = following
    return Program(code, instructions, frozenset(targets))


def without_metadata(code: bytes) -> bytes:
    """Code without the CBOR map that Solidity and Vyper append; its last two bytes are its length."""
    if len(code) < 4:
        return code
    begin = len(code) - 2 - int.from_bytes(code[-2:], "big")
    return code[:begin] if 0 < begin < len(code) - 2 and code[begin] in _MAP_OF_1_TO_4 else code


def skeleton_digest(code: bytes) -> bytes:
    """SHA-256 of the opcodes alone, metadata and operands left out: the same for clones that differ in constants."""
    instructions = program_of(without_metadata(code)).instructions
    return hashlib.sha256(bytes(instruction.opcode for instruction in instructions.values())).digest()


def minimal_proxy_target(code: bytes) -> str | None:
    """The address that an EIP-1167 minimal proxy passes every call to; None for any other code."""
    head, tail = _MINIMAL_PROXY
    if code.startswith(head) and code[len(head) + 20 :].startswith(tail):
        return "0x" + code[len(head) : len(head) + 20].hex()
    return None
