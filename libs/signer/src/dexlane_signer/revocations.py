"""The only calls to Permit2 itself that are signed: those that take allowances back (``AllowanceTransfer.sol``)."""

from __future__ import annotations

from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.router_calls import MalformedCalldataError, Words

SET_ALLOWANCE = "0x87517c45"
"""Permit2 ``approve(address token, address spender, uint160 amount, uint48 expiration)``."""
LOCKDOWN = "0xcc53287f"
"""Permit2 ``lockdown((address token, address spender)[])``: all these allowances become zero."""

REVOCATIONS = frozenset({SET_ALLOWANCE, LOCKDOWN})


def check_revocation(data: bytes) -> Denial | None:
    """Return why a call to Permit2 may not be signed; ``None`` when it takes allowances back and does nothing else."""
    words = Words(data[4:])
    try:
        if "0x" + data[:4].hex() == LOCKDOWN:
            _read_lockdown(words)
            return None
        words.finished(4)
        words.address(0)
        words.address(1)
        if words.uint(2) == 0 and words.uint(3) == 0:
            return None
    except MalformedCalldataError as error:
        return Denial(DenialReason.MALFORMED_CALLDATA, str(error))
    return Denial(DenialReason.AMOUNT_OVER_CAP, "allowances inside Permit2 are given by permits only, never directly")


def _read_lockdown(words: Words) -> None:
    words.expect(0, 0x20)
    count = words.uint(1)
    for index in range(2 * count):
        words.address(2 + index)
    words.finished(2 + 2 * count)
