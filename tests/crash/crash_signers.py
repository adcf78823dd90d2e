"""A signer's process for each lane, as on Kubernetes beside each executor: files and keys of its own, its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from crash_rows import sqlite_rows
from dexlane.values.books import Lane
from dexlane_cli.launching import ProcessSpec
from dexlane_cli.signer_files import live_books, write_signer_files
from dexlane_cli.stack import CONTROL_SOCKET, SIGNER_SOCKET, StackOptions, signer

SIGNERS = {"signer-fast": Lane.FAST, "signer-smart": Lane.SMART}
ASKERS = {"fast-executor": "signer-fast", "smart-executor": "signer-smart"}
"""Which executor asks which signer."""


@dataclass(frozen=True)
class LaneOptions(StackOptions):
    """The stack as one lane's signer sees it: its sockets and files lie apart from the other's."""

    lane: str = ""

    @property
    def sockets(self) -> Path:
        """Folder of this lane's sockets."""
        return super().sockets / self.lane

    @property
    def signer(self) -> Path:
        """Policy, keystores and record of this lane's signer."""
        return self.session / f"signer-{self.lane}"


def of_lane(options: StackOptions, lane: Lane) -> LaneOptions:
    """The options of a lane's signer."""
    shared = {field.name: getattr(options, field.name) for field in dataclasses.fields(StackOptions)}
    return LaneOptions(**{**shared, "signer_process": True}, lane=str(lane))


def signer_socket(options: StackOptions, executor: str) -> Path:
    """Where an executor asks."""
    return of_lane(options, SIGNERS[ASKERS[executor]]).sockets / SIGNER_SOCKET


def control_sockets(options: StackOptions) -> dict[str, Path]:
    """Where each signer is halted, and given its signs of life."""
    return {name: of_lane(options, lane).sockets / CONTROL_SOCKET for name, lane in SIGNERS.items()}


def prepare_signers(options: StackOptions) -> None:
    """Write the files of both. Each has the keys of its own lane alone."""
    for lane in SIGNERS.values():
        own = of_lane(options, lane)
        own.sockets.mkdir(mode=0o700, exist_ok=True)
        books = [
            book.model_copy(update={"accounts": {lane: book.accounts[lane]}})
            for book in live_books(options)
            if lane in book.accounts
        ]
        write_signer_files(own, books)


def signer_specs(options: StackOptions) -> list[ProcessSpec]:
    """Both processes; they stand before any service."""
    return [
        dataclasses.replace(spec, name=name)
        for name, lane in SIGNERS.items()
        for spec in signer(of_lane(options, lane))
    ]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One transaction that a signer has on record, with the slot it was signed for."""

    intent_id: str
    account: str
    nonce: int
    number: int
    kind: str
    tx_hash: str
    raw: bytes


@dataclass
class SignerRecords:
    """Everything that both signers have on record, read from outside."""

    signed: list[Record] = dataclasses.field(default_factory=list)
    slots: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    halts: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def of(cls, options: StackOptions) -> SignerRecords:
        """Read them. Not on the event loop's thread."""
        return cls.read(of_lane(options, lane).signer / "data" / "guard.db" for lane in SIGNERS.values())

    @classmethod
    def read(cls, paths: Iterable[Path]) -> SignerRecords:
        """Those that lie there."""
        found = cls()
        for path in paths:
            slots = sqlite_rows(path, "SELECT chain_id, address, nonce, intent_id FROM slots")
            by_intent = {slot["intent_id"]: slot for slot in slots}
            found.slots += slots
            for row in sqlite_rows(path, "SELECT intent_id, number, kind, hash, raw FROM attempts ORDER BY number"):
                slot = by_intent[row["intent_id"]]
                record = Record(
                    intent_id=row["intent_id"],
                    account=slot["address"],
                    nonce=slot["nonce"],
                    number=row["number"],
                    kind=row["kind"],
                    tx_hash=row["hash"],
                    raw=row["raw"],
                )
                found.signed.append(record)
            latest = sqlite_rows(path, "SELECT level, source, reason FROM latches ORDER BY number DESC LIMIT 1")
            found.halts += [orjson.dumps(held).decode() for held in latest if held["level"] != "active"]
        return found
