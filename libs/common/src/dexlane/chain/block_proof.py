"""What a block says about itself, checked without trusting whoever passed it on.

The hash of a block is the Keccak hash of its RLP header (Yellow Paper, section 4.4), so a header whose fields hash to
its own hash cannot have been altered. Its bloom and its receipts root then vouch for the logs. Fields were appended by
EIP-1559 (base fee), EIP-4895 (withdrawals), EIP-4844 (blobs), EIP-4788 (beacon root) and EIP-7685 (requests).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

from dexlane.chain.keccak import keccak256

RlpItem: TypeAlias = "bytes | Sequence[RlpItem]"

FIRST_FIELDS = (
    *("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"),
    *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce"),
)
APPENDED_FIELDS = (
    *("baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash"),
)
QUANTITIES = frozenset(
    {
        *("difficulty", "number", "gasLimit", "gasUsed", "timestamp"),
        *("baseFeePerGas", "blobGasUsed", "excessBlobGas"),
    }
)
OUTSIDE_THE_HEADER = frozenset({"hash", "size", "totalDifficulty", "uncles", "transactions", "withdrawals"})
"""What nodes put beside the header's own fields."""

EMPTY_ROOT = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
"""Root of a trie with nothing in it: the hash of the empty string's RLP."""


class HeaderProof(Enum):
    """``PROVED``: the fields hash to the block's hash. ``UNPROVABLE``: they do not, but there are fields whose place
    in the header is not known here. ``REFUTED``: they do not, and every field is known."""

    PROVED = "proved"
    UNPROVABLE = "unprovable"
    REFUTED = "refuted"


_SHORT = tuple(bytes((0x80 + size,)) for size in range(56))


def rlp(item: RlpItem) -> bytes:
    """RLP of bytes or of a list (Yellow Paper, appendix B)."""
    if isinstance(item, bytes):
        size = len(item)
        if size == 1 and item[0] < 0x80:
            return item
        return (_SHORT[size] if size < 56 else _length(size, 0x80)) + item
    body = b"".join([rlp(part) for part in item])
    return _length(len(body), 0xC0) + body


def _length(size: int, offset: int) -> bytes:
    if size < 56:
        return bytes((offset + size,))
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((offset + 55 + len(digits),)) + digits


def _quantity(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _field(name: str, value: str) -> bytes:
    if name in QUANTITIES:
        return _quantity(int(value, 16))
    return bytes.fromhex(value[2:])


def prove_header(answer: Mapping[str, Any]) -> HeaderProof:
    """Compare a header's hash with its fields. Raises ``KeyError``, ``ValueError``, ``TypeError`` or
    ``OverflowError`` for an answer that is no header."""
    fields = [_field(name, answer[name]) for name in FIRST_FIELDS]
    fields += [_field(name, answer[name]) for name in APPENDED_FIELDS if answer.get(name) is not None]
    if keccak256(rlp(fields)).hex() == str(answer["hash"]).lower().removeprefix("0x"):
        return HeaderProof.PROVED
    known = OUTSIDE_THE_HEADER.union(FIRST_FIELDS, APPENDED_FIELDS)
    return HeaderProof.REFUTED if known.issuperset(answer) else HeaderProof.UNPROVABLE


def receipts_root(receipts: Iterable[Mapping[str, Any]]) -> str:
    """The receipts root that a header must have for these receipts (``eth_getBlockReceipts``), in any order given.

    A receipt is ``[status, cumulative gas, bloom, logs]``, behind its type for typed transactions (EIP-2718); deposits
    of OP chains add nonce and version (type 0x7e). Raises ``KeyError``, ``ValueError``, ``TypeError`` or
    ``OverflowError`` for what is no receipt.
    """
    entries = [(rlp(_quantity(int(one["transactionIndex"], 16))), _receipt(one)) for one in receipts]
    if not entries:
        return EMPTY_ROOT
    nibbles = sorted((_nibbles(key), value) for key, value in entries)
    return "0x" + keccak256(rlp(_node(nibbles, 0))).hex()


def _receipt(answer: Mapping[str, Any]) -> bytes:
    kind = int(answer.get("type", "0x0"), 16)
    logs: list[RlpItem] = [
        [
            bytes.fromhex(log["address"][2:]),
            [bytes.fromhex(topic[2:]) for topic in log["topics"]],
            bytes.fromhex(log["data"][2:]),
        ]
        for log in answer["logs"]
    ]
    # Before EIP-658 a receipt held the state root in the place of the status.
    outcome = _quantity(int(answer["status"], 16)) if "status" in answer else bytes.fromhex(answer["root"][2:])
    body: list[RlpItem] = [
        outcome,
        _quantity(int(answer["cumulativeGasUsed"], 16)),
        bytes.fromhex(answer["logsBloom"][2:]),
        logs,
    ]
    if kind == 0x7E:
        deposit = (answer.get("depositNonce"), answer.get("depositReceiptVersion"))
        body += [_quantity(int(value, 16)) for value in deposit if value is not None]
    return (bytes((kind,)) if kind else b"") + rlp(body)


def _nibbles(key: bytes) -> tuple[int, ...]:
    return tuple(half for byte in key for half in (byte >> 4, byte & 15))


def _packed(nibbles: Sequence[int], *, leaf: bool) -> bytes:
    """Hex-prefix encoding (Yellow Paper, appendix C)."""
    flag = 2 * leaf + len(nibbles) % 2
    padded = (flag, *nibbles) if len(nibbles) % 2 else (flag, 0, *nibbles)
    return bytes(16 * high + low for high, low in zip(padded[::2], padded[1::2], strict=True))


def _node(entries: Sequence[tuple[tuple[int, ...], bytes]], depth: int) -> list[RlpItem]:
    """The trie node of sorted entries that agree in their first ``depth`` nibbles (Yellow Paper, appendix D)."""
    if len(entries) == 1:
        [(path, value)] = entries
        return [_packed(path[depth:], leaf=True), value]
    first, last = entries[0][0], entries[-1][0]
    shared = depth
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    if shared > depth:
        return [_packed(first[depth:shared], leaf=False), _reference(entries, shared)]
    branches: list[RlpItem] = []
    for nibble in range(16):
        below = [entry for entry in entries if len(entry[0]) > depth and entry[0][depth] == nibble]
        branches.append(_reference(below, depth + 1) if below else b"")
    ending = [value for path, value in entries if len(path) == depth]
    return [*branches, ending[0] if ending else b""]


def _reference(entries: Sequence[tuple[tuple[int, ...], bytes]], depth: int) -> RlpItem:
    node = _node(entries, depth)
    encoded = rlp(node)
    return keccak256(encoded) if len(encoded) >= 32 else node
