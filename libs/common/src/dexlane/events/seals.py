"""Seals: what a deciding service approved, in bytes that a signer can check without trusting the bus between.

The bytes are laid out as ``dexlane_signer.approvals`` reads them; one file of golden vectors pins both sides. A signer
shares no code with dexlane, so the layout is written down twice, once to write and once to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from pydantic import Field

from dexlane.values.base import Value
from dexlane.values.chains import ZERO_ADDRESS

LAYOUT_VERSION = 1
_MAGIC = b"dexlane approval"


class Approver(IntEnum):
    """The services that approve."""

    RISK_SCORER = 1
    PORTFOLIO = 2
    GATEWAY = 3


class ApprovedKind(IntEnum):
    """What is approved: opening a position, a price gap, closing a position."""

    ENTRY = 1
    GAP = 2
    EXIT = 3


class Seal(Value):
    """A statement and the Ed25519 signature of the service that made it, in hex."""

    statement: str = Field(pattern="^([0-9a-f]{2}){120,320}$")
    signature: str = Field(pattern="^[0-9a-f]{128}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is approved. Times are Unix seconds by the clock of the chain; the expiry itself still counts.

    ``max_amount_in`` is in the smallest unit of the first token, 0 says nothing about it. ``account`` and ``book_id``
    narrow down who may use it; empty means anybody. ``tokens`` are those of the route, from the first to the last.
    """

    approver: Approver
    kind: ApprovedKind
    id: str
    chain_id: int
    block_number: int
    block_time_s: int
    expires_s: int
    tokens: tuple[str, ...]
    max_amount_in: int = 0
    account: str = ""
    book_id: str = ""

    def to_bytes(self) -> bytes:
        """The canonical layout. ``OverflowError`` or ``ValueError`` for what does not fit it."""
        book = self.book_id.encode("ascii")
        if len(book) > 32 or not 2 <= len(self.tokens) <= 8:
            raise ValueError("a statement has a book id of at most 32 letters and two to eight tokens")
        numbers = (self.chain_id, self.block_number, self.block_time_s, self.expires_s)
        return b"".join(
            (
                _MAGIC,
                bytes((LAYOUT_VERSION, self.approver, self.kind)),
                bytes.fromhex(self.id),
                *(number.to_bytes(8, "big") for number in numbers),
                self.max_amount_in.to_bytes(32, "big"),
                bytes.fromhex((self.account or ZERO_ADDRESS)[2:]),
                bytes((len(book),)),
                book,
                bytes((len(self.tokens),)),
                *(bytes.fromhex(token[2:]) for token in self.tokens),
            )
        )
