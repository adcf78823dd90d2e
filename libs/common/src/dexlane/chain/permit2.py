"""Allowances: ERC-20 to Permit2, and Permit2 to a router by signature.

Tokens approve Permit2 once, within a bound. Each trade then carries a signed permit for its exact amount, so
between trades no contract may take anything. Sources: EIP-20; Uniswap ``permit2``, ``AllowanceTransfer.sol``.
"""

from __future__ import annotations

from dataclasses import dataclass

from dexlane.chain import abi
from dexlane_signer import PERMIT2, UNSIGNED, PermitSingle

__all__ = [
    "MAX_PERMIT_AMOUNT",
    "ONLY_THIS_BLOCK",
    "PERMIT2",
    "Permit2Allowance",
    "PermitCommand",
    "PermitSingle",
    "allowance",
    "approve",
    "balance_of",
    "decode_amount",
    "decode_permit2_allowance",
    "permit2_allowance",
    "permit_input",
    "revoke_in_permit2",
]

MAX_PERMIT_AMOUNT = 2**160 - 1
"""Permit2 counts amounts in 160 bits; this one it never decreases."""

ONLY_THIS_BLOCK = 0
"""As ``expiration_s``: the allowance ends with the block that applies the permit (``Allowance.updateAll``)."""

_APPROVE = bytes.fromhex("095ea7b3")  # approve(address,uint256)
_ALLOWANCE = bytes.fromhex("dd62ed3e")  # allowance(address,address)
_BALANCE_OF = bytes.fromhex("70a08231")  # balanceOf(address)
_PERMIT2_APPROVE = bytes.fromhex("87517c45")  # approve(address,address,uint160,uint48)
_PERMIT2_ALLOWANCE = bytes.fromhex("927da105")  # allowance(address,address,address)


@dataclass(frozen=True, slots=True)
class Permit2Allowance:
    """What Permit2 holds for (owner, token, spender). ``expiration_s`` is in Unix seconds; the next permit
    must carry ``nonce``."""

    amount: int
    expiration_s: int
    nonce: int


@dataclass(frozen=True, slots=True)
class PermitCommand:
    """What the router's PERMIT2_PERMIT command applies: a permit with its 65-byte signature ``r || s || v``, or with
    the place for it, which the signer fills in."""

    permit: PermitSingle
    signature: bytes = UNSIGNED


def approve(spender: str, amount: int) -> bytes:
    """Calldata of ERC-20 ``approve``; ``amount`` in the token's smallest unit, zero to revoke."""
    return _APPROVE + abi.address(spender) + abi.uint(amount)


def revoke_in_permit2(token: str, spender: str) -> bytes:
    """Calldata that takes back what Permit2 lets a spender have of a token, to be sent to ``PERMIT2``."""
    return _PERMIT2_APPROVE + abi.address(token) + abi.address(spender) + abi.uint(0) + abi.uint(0)


def allowance(owner: str, spender: str) -> bytes:
    """Calldata of ERC-20 ``allowance``."""
    return _ALLOWANCE + abi.address(owner) + abi.address(spender)


def balance_of(owner: str) -> bytes:
    """Calldata of ERC-20 ``balanceOf``."""
    return _BALANCE_OF + abi.address(owner)


def decode_amount(returned: bytes) -> int:
    """Read the single integer that ``balanceOf`` and ``allowance`` return. Raises ``AbiError``."""
    return abi.Frame(returned).uint(0)


def permit2_allowance(owner: str, token: str, spender: str) -> bytes:
    """Calldata of Permit2's ``allowance``, to be sent to ``PERMIT2``."""
    return _PERMIT2_ALLOWANCE + abi.address(owner) + abi.address(token) + abi.address(spender)


def decode_permit2_allowance(returned: bytes) -> Permit2Allowance:
    """Read ``(uint160 amount, uint48 expiration, uint48 nonce)``. Raises ``AbiError``."""
    words = abi.Frame(returned)
    return Permit2Allowance(amount=words.uint(0, 160), expiration_s=words.uint(1, 48), nonce=words.uint(2, 48))


def permit_input(command: PermitCommand) -> bytes:
    """Encode the input of the router's PERMIT2_PERMIT command, ``(PermitSingle, bytes signature)``.

    Source: ``@uniswap/universal-router`` 2.1.0, ``base/Dispatcher.sol``. ``PermitSingle`` is static, so its
    six words stand in the head. Raises ``AbiError`` for a signature of another length than 65 bytes.
    """
    if len(command.signature) != 65:
        raise abi.AbiError("a permit signature has 65 bytes")
    permit = command.permit
    return abi.frame(
        abi.address(permit.token),
        abi.uint(permit.amount, 160),
        abi.uint(permit.expiration_s, 48),
        abi.uint(permit.nonce, 48),
        abi.address(permit.spender),
        abi.uint(permit.sig_deadline_s),
        abi.byte_string(command.signature),
    )
