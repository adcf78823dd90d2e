"""Sealing what a service approves, with a key that only this service reads."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

import orjson
from nacl.signing import SigningKey

from dexlane.domain.approvals import Moment, of_exit, of_verdict
from dexlane.events.market import BlockApplied
from dexlane.events.portfolio import ExitTriggered
from dexlane.events.risk import VerdictApproved
from dexlane.events.seals import Approver, Seal, Statement
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
    """The sealer of a key file (see ``read_seed``); None when none is named."""
    return None if path is None else Sealer(read_seed(path, "approval key"))


def read_seed(path: Path, what: str) -> bytes:
    """The 32 bytes of a key file: 64 hex digits, with or without ``0x``, in a file that nobody else may read; it is
    not opened before that is known.

    ``Misconfigured`` with one sentence, which says ``what`` the key is and never repeats key material.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Misconfigured(f"the {what} {path.name} may be read by others; run chmod 600 on it")
        seed = bytes.fromhex(path.read_text(encoding="ascii").strip().removeprefix("0x"))
    except (OSError, ValueError):
        seed = b""
    if len(seed) != _KEY_BYTES:
        raise Misconfigured(f"the {what} {path.name} is no readable file of 64 hex digits")
    return seed


@dataclass(frozen=True)
class Approving:
    """A service's way to approve: in whose name, with which key (None seals nothing), and for how many seconds of the
    chain's time."""

    approver: Approver
    sealer: Sealer | None = None
    valid_s: int = 600

    def verdict(self, verdict: VerdictApproved, tip: BlockApplied | None) -> VerdictApproved:
        """The verdict with its seal. Without a block to date it by there is none, and no signer accepts it."""
        if self.sealer is None or tip is None:
            return verdict
        return verdict.model_copy(update={"seal": self.sealer.seal(of_verdict(verdict, self._moment(tip)))})

    def exit(self, exit_: ExitTriggered, tip: BlockApplied) -> ExitTriggered:
        """The exit with its seal."""
        if self.sealer is None:
            return exit_
        return exit_.model_copy(update={"seal": self.sealer.seal(of_exit(exit_, self.approver, self._moment(tip)))})

    def _moment(self, tip: BlockApplied) -> Moment:
        return Moment(tip.block.number, tip.timestamp_s, self.valid_s)


def read_approvers(path: Path | None) -> dict[int, bytes]:
    """The public keys by number of the approver, from a JSON file of service to 64 hex digits; none when no file is
    named. ``Misconfigured`` for anything else."""
    if path is None:
        return {}
    try:
        table = orjson.loads(path.read_bytes())
        keys: dict[int, bytes] = {approver: bytes.fromhex(table[service_of(approver)]) for approver in Approver}
    except (OSError, ValueError, KeyError, TypeError):
        keys = {}
    if not keys or len(table) != len(keys) or any(len(key) != _KEY_BYTES for key in keys.values()):
        names = ", ".join(map(service_of, Approver))
        raise Misconfigured(f"{path.name} must give the public key (64 hex digits) of {names}, and nothing else")
    return keys


def service_of(approver: Approver) -> str:
    """The service's name, as it is spelt everywhere."""
    return approver.name.lower().replace("_", "-")
