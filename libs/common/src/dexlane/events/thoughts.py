"""What a recorded decision is made of, the documents it was computed from, and the head of the archive's chain."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from dexlane.events.base import Event
from dexlane.values.amounts import Amount
from dexlane.values.base import Value, digest
from dexlane.values.chains import Address

ContentId = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""SHA-256 of bytes, in lower-case hex."""


def content_id(data: bytes) -> str:
    """The name of some bytes: their SHA-256 (FIPS 180-4) in hex."""
    return hashlib.sha256(data).hexdigest()


class Stance(StrEnum):
    """Whether something speaks for a trade or against it."""

    FOR = "for"
    AGAINST = "against"


class Weighed(Value):
    """One thing that was weighed."""

    name: str = Field(pattern="^[a-z0-9_ ]{1,48}$")
    stance: Stance
    sentence: str


class Alternative(Value):
    """A size or a way that was looked at. ``outcome`` is ``taken``, ``passed_over``, or the word of what spoke against
    it; amounts in the smallest units of what is paid and what is bought."""

    pools: tuple[Address, ...] = ()
    amount_in: Amount
    amount_out: Amount | None = None
    outcome: str = Field(pattern="^[a-z_]{1,32}$")
    sentence: str = ""


class DocumentsRecorded(Event):
    """Documents that decisions were computed from, each under the SHA-256 of its text, told before or beside the first
    decision that names them. A text is canonical JSON; where it holds ``{"$": "<id>"}`` that document stands there."""

    NAME: ClassVar[str] = "documents.recorded"

    documents: Mapping[ContentId, str] = Field(min_length=1)

    @model_validator(mode="after")
    def _named_by_content(self) -> DocumentsRecorded:
        for name, text in self.documents.items():
            if content_id(text.encode()) != name:
                raise ValueError(f"document {name} has other contents than its name says")
        return self

    @staticmethod
    def make_id(chain_id: int, names: Iterable[str]) -> str:
        """One id per set of documents."""
        return digest("documents.recorded", chain_id, sorted(names))


class ThoughtsChained(Event):
    """The newest entry of the archive's chain of decisions: whoever notes it down can tell later whether anything
    before it was changed."""

    NAME: ClassVar[str] = "thoughts.chained"

    sequence: int = Field(ge=1)
    entry_hash: ContentId

    @staticmethod
    def make_id(chain_id: int, entry_hash: str) -> str:
        """One id per head."""
        return digest("thoughts.chained", chain_id, entry_hash)
