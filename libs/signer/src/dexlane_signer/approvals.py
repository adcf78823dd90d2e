"""Approvals: what a deciding service allowed, sealed with its Ed25519 key (RFC 8032).

An approval is the canonical bytes of a statement and their signature. The layout is read strictly, so that there is one
spelling of every statement; integers are big-endian::

    offset  bytes  field
         0     16  "dexlane approval"
        16      1  version, 1
        17      1  approver: 1 risk-scorer, 2 portfolio, 3 gateway
        18      1  kind: 1 entry, 2 gap, 3 exit
        19     16  id of the verdict or exit
        35      8  chain id
        43      8  number of the block that was decided on
        51      8  time of that block, Unix seconds
        59      8  expiry by the same clock, Unix seconds; the second itself still counts
        67     32  largest amount in, smallest units of the first token; 0 when nothing is said about it
        99     20  the account it is for; 0 for every account
       119      1  length of the book's id, at most 32
       120      n  id of the book it is for, ASCII; empty for every book
     120+n      1  number of tokens, 2 to 8
     121+n   20 m  the tokens of the route, in order: the first is paid, the last is received

An entry and an exit allow their first token to be traded for their last, over whatever lies between: nothing of that
stays. A gap allows a round trip through exactly its tokens, begun at any of them; its largest amount is one of the
first token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from types import MappingProxyType

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

VERSION = 1
_MAGIC = b"dexlane approval"
_FIXED = 120
_MAX_BOOK = 32
_MAX_TOKENS = 8
_NO_ACCOUNT = "0x" + "0" * 40


class Approver(IntEnum):
    """Who may approve something."""

    RISK_SCORER = 1
    PORTFOLIO = 2
    GATEWAY = 3


class ApprovedKind(IntEnum):
    """What is approved."""

    ENTRY = 1
    GAP = 2
    EXIT = 3


MAY_APPROVE: Mapping[ApprovedKind, frozenset[Approver]] = MappingProxyType(
    {
        ApprovedKind.ENTRY: frozenset({Approver.RISK_SCORER}),
        ApprovedKind.GAP: frozenset({Approver.RISK_SCORER}),
        ApprovedKind.EXIT: frozenset({Approver.PORTFOLIO, Approver.GATEWAY}),
    }
)
"""Whose key counts for what: the gateway closes positions by hand, and nobody but risk-scorer opens any."""


class MalformedApprovalError(ValueError):
    """The statement is not in the canonical layout."""


class UnknownApprovalError(ValueError):
    """The statement has a version, approver or kind that this signer does not know."""


@dataclass(frozen=True, slots=True)
class Approval:
    """The bytes of a statement and the 64-byte signature over them, as they came."""

    statement: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What an approval says. Where it says nothing ``max_amount_in`` is 0, ``account`` and ``book_id`` are empty."""

    approver: Approver
    kind: ApprovedKind
    id: str
    chain_id: int
    block_number: int
    block_time_s: int
    expires_s: int
    max_amount_in: int
    account: str
    book_id: str
    tokens: tuple[str, ...]


@lru_cache(maxsize=512)
def read_statement(data: bytes) -> Statement:
    """Read the canonical layout. Raises ``MalformedApprovalError`` or ``UnknownApprovalError``.

    A trade and its replacements carry one statement: it is read once.
    """
    if len(data) < _FIXED or data[:16] != _MAGIC:
        raise MalformedApprovalError("the statement of the approval is too short, or of another protocol")
    if data[16] != VERSION:
        raise UnknownApprovalError(f"approvals of version {data[16]} are not understood, only {VERSION}")
    try:
        approver, kind = Approver(data[17]), ApprovedKind(data[18])
    except ValueError as error:
        raise UnknownApprovalError(f"the approval names an approver or a kind that is not known: {error}") from None
    book_id, tokens = _tail(data)
    account = "0x" + data[99:119].hex()
    return Statement(
        approver=approver,
        kind=kind,
        id=data[19:35].hex(),
        chain_id=int.from_bytes(data[35:43], "big"),
        block_number=int.from_bytes(data[43:51], "big"),
        block_time_s=int.from_bytes(data[51:59], "big"),
        expires_s=int.from_bytes(data[59:67], "big"),
        max_amount_in=int.from_bytes(data[67:99], "big"),
        account="" if account == _NO_ACCOUNT else account,
        book_id=book_id,
        tokens=tokens,
    )


def _tail(data: bytes) -> tuple[str, tuple[str, ...]]:
    """Book and tokens, the two parts whose length varies; nothing may follow them."""
    book_end = _FIXED + data[119]
    if data[119] > _MAX_BOOK or book_end >= len(data):
        raise MalformedApprovalError("the book of the approval is too long or cut off")
    book = data[_FIXED:book_end]
    count = data[book_end]
    if not 2 <= count <= _MAX_TOKENS or len(data) != book_end + 1 + 20 * count:
        raise MalformedApprovalError("the tokens of the approval are too few, too many or cut off")
    if any(not 0x21 <= byte <= 0x7E for byte in book):
        raise MalformedApprovalError("the book of the approval is no printable ASCII")
    starts = range(book_end + 1, len(data), 20)
    return book.decode("ascii"), tuple("0x" + data[start : start + 20].hex() for start in starts)


@lru_cache(maxsize=512)
def is_genuine(public_key: bytes, statement: bytes, signature: bytes) -> bool:
    """Whether the signature over the statement was made with that key.

    The answer is remembered for the same reason.
    """
    if len(signature) != 64 or len(public_key) != 32:
        return False
    try:
        VerifyKey(public_key).verify(statement, signature)
    except BadSignatureError:
        return False
    return True
