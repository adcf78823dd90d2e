"""Many view calls as one: Multicall3, at the same address on nearly every chain."""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.chain import abi

MULTICALL3 = "0xca11bde05977b3631167028862be2a173976ca11"

_AGGREGATE3 = bytes.fromhex("82ad56cb")  # aggregate3((address,bool,bytes)[])

Call = tuple[str, bytes]
"""A contract, and the calldata it is asked with."""


def aggregate3(calls: Sequence[Call]) -> bytes:
    """Calldata of ``aggregate3``, to be sent to ``MULTICALL3``. Every call may fail without failing the others."""
    entries = [abi.Dynamic(abi.frame(abi.address(to), abi.flag(True), abi.byte_string(data))) for to, data in calls]
    return _AGGREGATE3 + abi.frame(abi.array(entries))


def decode_aggregate3(returned: bytes) -> list[bytes | None]:
    """Answers in the order of the calls, None where a call reverted. Raises ``AbiError``."""
    results = abi.Frame(returned).tuples(0)
    return [result.byte_string(1) if result.flag(0) else None for result in results]
