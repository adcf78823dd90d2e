"""What signed bytes do, read back from the bytes themselves, so that it cannot differ from what is sent."""

from __future__ import annotations

from dexlane.chain.signed_call import SignedCall
from dexlane_signer import rlp

DYNAMIC_FEE = b"\x02"
FIELDS = 12
LEGACY_FIELDS = 9
FIRST_LIST_BYTE = 0xC0


def signed_call(raw: bytes) -> SignedCall:
    """The call of a signed transaction: EIP-2718 type 2, or a legacy one, whose gas price is its cap. ``ValueError``
    for anything else."""
    is_legacy = raw[:1] >= bytes((FIRST_LIST_BYTE,))
    fields = rlp.decode(raw if is_legacy else raw[1:]) if is_legacy or raw[:1] == DYNAMIC_FEE else b""
    if isinstance(fields, bytes) or len(fields) != (LEGACY_FIELDS if is_legacy else FIELDS):
        raise ValueError("these bytes are no signed transaction of type 0 or 2")
    cap, gas, to, value, data = (field for field in fields[1 if is_legacy else 3 :][:5] if isinstance(field, bytes))
    return SignedCall(
        to="0x" + to.hex(),
        value_wei=int.from_bytes(value, "big"),
        data=data,
        gas_limit=int.from_bytes(gas, "big"),
        max_fee_per_gas_wei=int.from_bytes(cap, "big"),
    )
