"""Content-addressed archives: CIDs, DAG-CBOR and CAR files, computed offline.

CIDv1 (multiformats/cid), multihash sha2-256, base32 text; DAG-CBOR as IPLD specifies it, of which only maps, lists,
texts, whole numbers, None and links are needed here; CARv1 (ipld/car). Everything that such a file holds can be
imported by any IPFS node (``ipfs dag import``) and is named there by the same CIDs.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

RAW = 0x55
DAG_CBOR = 0x71
_SHA2_256 = b"\x12\x20"
_TAG_OF_LINKS = b"\xd8\x2a"


@dataclass(frozen=True, slots=True)
class Cid:
    """The address of a block."""

    data: bytes

    @classmethod
    def raw(cls, sha256_hex: str) -> Cid:
        """Of plain bytes, from their hash."""
        return cls(bytes([1, RAW]) + _SHA2_256 + bytes.fromhex(sha256_hex))

    @classmethod
    def of_node(cls, encoded: bytes) -> Cid:
        """Of a node that is encoded as DAG-CBOR."""
        return cls(bytes([1, DAG_CBOR]) + _SHA2_256 + hashlib.sha256(encoded).digest())

    def __str__(self) -> str:
        """As people write it: multibase base32 in lower case."""
        return "b" + base64.b32encode(self.data).decode().lower().rstrip("=")


Node = None | str | int | Cid | Sequence["Node"] | Mapping[str, "Node"]


def encoded(node: Node) -> bytes:
    """DAG-CBOR: shortest lengths, keys by length and then by bytes, links as tag 42. ``TypeError`` for other types."""
    if node is None:
        return b"\xf6"
    if isinstance(node, Cid):
        return _TAG_OF_LINKS + _head(2, len(node.data) + 1) + b"\0" + node.data
    if isinstance(node, str):
        return _head(3, len(node.encode())) + node.encode()
    if isinstance(node, int) and not isinstance(node, bool) and node >= 0:
        return _head(0, node)
    if isinstance(node, Mapping):
        keys = sorted((key.encode() for key in node), key=lambda key: (len(key), key))
        return _head(5, len(keys)) + b"".join(_head(3, len(key)) + key + encoded(node[key.decode()]) for key in keys)
    if isinstance(node, list | tuple):
        return _head(4, len(node)) + b"".join(map(encoded, node))
    raise TypeError(f"{type(node).__name__} has no form in these archives")


def _head(kind: int, value: int) -> bytes:
    """A CBOR initial byte with the shortest length (RFC 8949, 4.2.1)."""
    if value < 24:
        return bytes([kind << 5 | value])
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << 8 * size:
            return bytes([kind << 5 | extra]) + value.to_bytes(size, "big")
    raise ValueError(f"{value} is too large for these archives")


Block = tuple[Cid, bytes]


def node_block(node: Node) -> Block:
    """A node with its address."""
    data = encoded(node)
    return Cid.of_node(data), data


def car_file(root: Cid, blocks: Iterable[Block]) -> Iterator[bytes]:
    """A CARv1 file, piece by piece."""
    header = encoded({"roots": [root], "version": 1})
    yield _varint(len(header)) + header
    for cid, data in blocks:
        yield _varint(len(cid.data) + len(data)) + cid.data + data


def _varint(value: int) -> bytes:
    """Unsigned LEB128 (multiformats/unsigned-varint)."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
