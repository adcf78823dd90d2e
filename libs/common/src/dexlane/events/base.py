"""The base of every event: a frozen, self-contained, versioned past fact with a deterministic identifier."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field

from dexlane.values.amounts import Amount
from dexlane.values.base import Value
from dexlane.values.chains import ChainId

DEFAULT_REALM = "main"
"""The realm of real time. A replay lives in ``replay-<name>``."""


class Event(Value):
    """A past fact.

    ``id`` is derived from what the fact is about (never from the time it was noticed), so that the same fact found
    twice carries the same id and the broker stores it once. ``occurred_at_ms`` is Unix time in milliseconds.
    """

    NAME: ClassVar[str]
    """``<noun>.<participle>``: the middle of the subject."""
    VERSION: ClassVar[int] = 1
    """Version of the wire form; a change that old readers cannot read raises it."""

    id: str = Field(pattern="^[0-9a-f]{32}$")
    version: int = Field(default=0, ge=0, description="version of the wire form; 0 means the current one")
    chain_id: ChainId
    occurred_at_ms: int = Field(ge=0)

    def model_post_init(self, _context: object, /) -> None:
        """Stamp the wire version of this type where none was given; refuse any other."""
        if self.version == 0:
            object.__setattr__(self, "version", self.VERSION)
        elif self.version != self.VERSION:
            raise ValueError(f"{self.NAME} version {self.version} is not understood, only {self.VERSION}")

    @classmethod
    def tails(cls) -> tuple[str, ...]:
        """Every closed ending that a subject of this type can have; one empty ending when there is none."""
        return ("",)

    @classmethod
    def pattern(cls, realm: str = DEFAULT_REALM, chain_id: int | None = None, tail: str = "") -> str:
        """The subject to subscribe to; ``chain_id`` None means every chain."""
        chain = "*" if chain_id is None else str(chain_id)
        ending = f".{tail}" if tail else ("" if cls.tails() == ("",) else ".>")
        return f"{realm}.{chain}.{cls.NAME}{ending}"

    def tail(self) -> str:
        """What follows the name in this event's subject, without the leading dot."""
        return ""

    def subject(self, realm: str = DEFAULT_REALM) -> str:
        """The subject this event is published under: ``<realm>.<chain_id>.<noun>.<participle>[.<tail>]``."""
        tail = self.tail()
        return f"{realm}.{self.chain_id}.{self.NAME}{'.' + tail if tail else ''}"

    def to_wire(self) -> bytes:
        """JSON that a person can read; amounts are decimal strings."""
        return self.__pydantic_serializer__.to_json(self)

    @classmethod
    def from_wire(cls, data: bytes | str) -> Self:
        """Read the wire form; ``pydantic.ValidationError`` when it breaks the contract."""
        return cls.model_validate_json(data)


class FeeCap(Value):
    """EIP-1559 fee fields of a transaction, in wei per gas."""

    max_fee_per_gas_wei: Amount
    max_priority_fee_per_gas_wei: Amount


def is_absent(value: object) -> bool:
    """What only some events have stays off the wire elsewhere."""
    return value is None
