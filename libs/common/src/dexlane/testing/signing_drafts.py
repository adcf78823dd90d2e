"""Parts of requests to a signer: encoders without any check, and a draft that mutations change by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nacl.signing import SigningKey

from dexlane.testing.signing_oracle import (
    Terms,
)

US, STRANGER, OTHER = "0x" + "11" * 20, "0x" + "66" * 20, "0x" + "77" * 20
START_S = 1_800_000_000
KEYS = {who: SigningKey(bytes([who]) * 32) for who in (1, 2, 3)}
TERMS = Terms(us=US, keys={who: bytes(key.verify_key) for who, key in KEYS.items()})


def word(value: int) -> bytes:
    """32 bytes."""
    return (value % (1 << 256)).to_bytes(32, "big")


def address(text: str) -> bytes:
    """An address in a word."""
    return bytes(12) + bytes.fromhex(text[2:])


def _bytes(data: bytes) -> bytes:
    return word(len(data)) + data + bytes(-len(data) % 32)


def swap(step: list[Any]) -> tuple[int, bytes]:
    """One swap command: version (0 is V3, 8 is V2), recipient, amount, minimum, path, and whether we pay."""
    version, to, amount, least, path, from_us = step
    head = address(to) + word(amount) + word(least) + word(0xA0) + word(from_us)
    if version == 8:
        return 8, head + word(len(path)) + b"".join(map(address, path))
    packed = bytes.fromhex(path[0][2:]) + b"".join(b"\0\1\xf4" + bytes.fromhex(token[2:]) for token in path[1:])
    return 0, head + _bytes(packed)


def permit_step(permit: dict[str, Any]) -> tuple[int, bytes]:
    """The permit command."""
    fields = [address(permit["token"]), word(permit["amount"]), word(permit["expiration"]), word(0)]
    fields += [address(permit["spender"]), word(permit["deadline"]), word(0xE0)]
    return 0x0A, b"".join(fields) + _bytes(permit["signature"])


def program(steps: list[tuple[int, bytes]], deadline_s: int) -> bytes:
    """Calldata of ``execute``."""
    commands = _bytes(bytes(command for command, _ in steps))
    payloads = [_bytes(payload) for _, payload in steps]
    offsets, at = b"", 32 * len(payloads)
    for payload in payloads:
        offsets, at = offsets + word(at), at + len(payload)
    head = word(0x60) + word(0x60 + len(commands)) + word(deadline_s)
    return bytes.fromhex("3593564c") + head + commands + word(len(payloads)) + offsets + b"".join(payloads)


def statement(fields: dict[str, Any]) -> bytes:
    """The bytes of an approval, by the written layout."""
    return b"".join(
        (
            b"dexlane approval",
            bytes((fields.get("version", 1), fields["who"], fields["kind"])),
            fields["id"],
            *(fields[name].to_bytes(8, "big") for name in ("chain", "block", "time", "expires")),
            word(fields["most"]),
            bytes.fromhex(fields["account"][2:]),
            bytes((len(fields["book"]),)),
            fields["book"].encode(),
            bytes((len(fields["tokens"]),)),
            *(bytes.fromhex(token[2:]) for token in fields["tokens"]),
        )
    )


def sealed(fields: dict[str, Any]) -> tuple[bytes, bytes]:
    """A statement with the seal of the one it names, or of the risk-scorer."""
    data = statement(fields)
    return data, KEYS.get(fields.get("sealed_by", fields["who"]), KEYS[1]).sign(data).signature


@dataclass
class Draft:
    """A request before it is frozen: parts that mutations change, each by its name."""

    steps: list[list[Any]] = field(default_factory=list)
    deadline_s: int = 0
    permit: dict[str, Any] | None = None
    approval: dict[str, Any] | None = None
    tx: dict[str, Any] = field(default_factory=dict)
    ask: dict[str, Any] = field(default_factory=dict)
    spoil: Callable[[bytes], bytes] = bytes
