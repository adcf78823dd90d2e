"""What is asked of a slot, and what was signed for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dexlane_signer.addresses import normal_address
from dexlane_signer.policy import Kind
from dexlane_signer.transactions import DynamicFeeTransaction, SignedTransaction


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in the order of an account's transactions. ``nonce`` fits 63 bits."""

    chain_id: int
    address: str
    nonce: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", normal_address(self.address))
        if not (0 < self.chain_id < 1 << 63 and 0 <= self.nonce < 1 << 63):
            raise ValueError("chain_id must be positive, nonce must not be negative, and both fit 63 bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who wants a slot signed, and as what.

    ``number`` is the attempt's number as the asker counts them; ``None`` takes the next one. ``epoch`` is the number
    of the asker's lease. ``is_entry`` is whether it opens a position.
    """

    intent_id: str
    kind: Kind
    number: int | None = None
    epoch: int = 0
    is_entry: bool = True

    def __post_init__(self) -> None:
        if not self.intent_id or len(self.intent_id) > 128:
            raise ValueError("an intent id has 1 to 128 characters")
        if not 0 <= self.epoch < 1 << 63:
            raise ValueError("an epoch is not negative and fits 63 bits")
        if self.number is not None and not 0 < self.number < 1 << 31:
            raise ValueError("attempts are numbered from 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAttempt(SignedTransaction):
    """A signed transaction as it is recorded: its number within the intent, and what it does.

    It need not be what was asked for: a number that was signed before gives the transaction that was signed then.
    Without bytes it only says what was signed, and cannot be sent.
    """

    number: int
    kind: Kind
    transaction: DynamicFeeTransaction

    @classmethod
    def from_raw(cls, raw: bytes, *, number: int, kind: Kind) -> SignedAttempt:
        """Read recorded bytes. Raises ``ValueError`` when they are no signed transaction of type 2."""
        transaction, hash_ = DynamicFeeTransaction.from_signed(raw)
        return cls(raw=raw, hash=hash_, number=number, kind=kind, transaction=transaction)


@dataclass(frozen=True, slots=True)
class SignedBefore:
    """What the record has of one attempt: whose slot it is of, and what was signed."""

    intent_id: str
    attempt: SignedAttempt

    def without_bytes(self) -> SignedBefore:
        """The same for somebody who may know of it, but not send it."""
        return replace(self, attempt=replace(self.attempt, raw=b""))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction of an intent, in short; numbers count from 1."""

    number: int
    kind: str
    hash: str
