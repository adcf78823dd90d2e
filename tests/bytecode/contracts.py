"""Two small contracts to ask real pools anything with: an obedient token, and a caller that pays its debts."""

from __future__ import annotations

from dexlane_devnet.assembly import assemble

TAX_SLOT = 1 << 255
"""Where the token keeps its tax on transfers, in basis points. Balances lie at the slot of their owner's address."""


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
