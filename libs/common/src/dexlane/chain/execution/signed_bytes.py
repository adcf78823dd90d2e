"""What signed bytes do, read back from the bytes themselves, so that it cannot differ from what is sent."""

from __future__ import annotations

from dexlane.chain.signed_call import SignedCall
from dexlane_signer import rlp

DYNAMIC_FEE = b"\x02"
FIELDS = 12


def signed_call(raw: bytes) -> SignedCall:
    """The call of a signed transaction (EIP-2718 type 2). ``ValueError`` for anything else."""
    fields = rlp.decode(raw[1:]) if raw[:1] == DYNAMIC_FEE else b""
    if isinstance(fields, bytes) or len(fields) != FIELDS:
        raise ValueError("these bytes are no signed EIP-1559 transaction")
    _, _, _, cap, gas, to, value, data = (field for field in fields[:8] if isinstance(field, bytes))
    return SignedCall(
        to="0x" + to.hex(),
        value_wei=int.from_bytes(value, "big"),
        data=data,
        gas_limit=int.from_bytes(gas, "big"),
        max_fee_per_gas_wei=int.from_bytes(cap, "big"),
    )
