"""Sealing what a service approves, with a key that only this service reads."""

from __future__ import annotations

import stat
from pathlib import Path

from nacl.signing import SigningKey

from dexlane.events.seals import Seal, Statement
from dexlane.runtime.errors import Misconfigured

_KEY_BYTES = 32


class Sealer:
    """An Ed25519 key (RFC 8032) that seals statements and does nothing else; it cannot be printed."""

    __slots__ = ("__key",)

    def __init__(self, seed: bytes) -> None:
        """Take the 32 bytes of the key."""
        self.__key = SigningKey(seed)

    @property
    def public_key(self) -> bytes:
        """The 32 bytes that signers know this service by."""
        return bytes(self.__key.verify_key)

    def seal(self, statement: Statement) -> Seal:
        """Seal a statement. Deterministic: the same statement gives the same seal."""
        data = statement.to_bytes()
        return Seal(statement=data.hex(), signature=self.__key.sign(data).signature.hex())

    def __repr__(self) -> str:
        return f"Sealer(<{self.public_key.hex()}>)"


def sealer_from(path: Path | None) -> Sealer | None:
    """The sealer of a key file (64 hex digits, mode 0600); None when none is named.

    ``Misconfigured`` with one sentence, which never repeats key material.
    """
    if path is None:
        return None
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Misconfigured(f"{path.name} may be read by others; run chmod 600 on it")
        seed = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        raise Misconfigured(f"the approval key {path.name} is no readable file of 64 hex digits") from None
    if len(seed) != _KEY_BYTES:
        raise Misconfigured(f"the approval key {path.name} is no readable file of 64 hex digits")
    return Sealer(seed)
