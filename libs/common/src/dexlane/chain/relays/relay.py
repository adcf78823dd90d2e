"""What dexlane asks of a private relay, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.relay_scores import Fault


class RelayKind(StrEnum):
    """The dialects that are spoken."""

    PROTECT = "protect"
    """Flashbots Protect: ``eth_sendPrivateTransaction``, ``eth_cancelPrivateTransaction``, a status page."""
    PRIVATE_POOL = "private_pool"
    """MEV Blocker and its like: a plain ``eth_sendRawTransaction`` to an end point that keeps it private."""
    BUNDLES = "bundles"
    """Builders: ``eth_sendBundle`` for one block at a time, ``eth_cancelBundle``."""


class RelayStatus(StrEnum):
    """What a relay says has become of bytes. A hint, never evidence: the chain's receipts decide."""

    PENDING = "pending"
    INCLUDED = "included"
    GONE = "gone"
    """Failed, cancelled or forgotten: it does not try any more."""
    UNKNOWN = "unknown"
    """It says nothing that can be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Signed bytes for a relay. ``slot_key`` is the same for all attempts of a slot and for no other; ``tip`` is the
    newest block, ``last_block`` the last one in which they are of any use, ``deadline_s`` Unix seconds or None."""

    raw: bytes
    tx_hash: str
    slot_key: str
    tip: int
    last_block: int
    deadline_s: int | None = None


@dataclass(frozen=True, slots=True)
class RelayAnswer:
    """What a relay answered. ``fault`` when it is to blame for the answer; ``until`` is the last block it holds the
    bytes for when it took them."""

    answer: PublishAnswer
    text: str = ""
    fault: Fault | None = None
    until: int = 0


class Relay(Protocol):
    """One relay. Nothing here raises for what the relay or the network does."""

    @property
    def name(self) -> str:
        """Its name in settings, metrics and logs."""
        ...

    async def send(self, parcel: Parcel, on_sent: Callable[[], None] | None = None) -> RelayAnswer:
        """Hand bytes over; ``on_sent`` is called when they left, before the answer."""
        ...

    async def cancel(self, parcel: Parcel) -> bool:
        """Ask it to forget; whether it says that it did. It may include them all the same."""
        ...

    async def status(self, tx_hash: str) -> RelayStatus:
        """What it says about bytes it was given."""
        ...

    async def stop(self) -> None:
        """Close its connections."""
        ...
