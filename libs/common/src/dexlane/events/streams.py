"""Streams, the pool bucket, and which event lives where. The one declaration of the bus."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from dexlane.events.base import DEFAULT_REALM, Event
from dexlane.events.breakers import BreakerChanged, BreakerReset
from dexlane.events.confirmations import ConfirmationGiven, ConfirmationRequested
from dexlane.events.control import BookChanged, TradingStatus
from dexlane.events.execution import (
    AccountOpened,
    FillConfirmed,
    FillIncluded,
    FillReversed,
    IntentCreated,
    IntentFailed,
    PaperScored,
    TxChanged,
)
from dexlane.events.fees import FeeQuoted
from dexlane.events.market import BlockApplied, BlockReorged, PoolDiscovered, PoolsWatched
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.portfolio import ExitTriggered, ExposureChanged, PositionChanged
from dexlane.events.risk import DecisionRecorded, TokenFlagged, VerdictApproved, VerdictRejected
from dexlane.events.thoughts import DocumentsRecorded, ThoughtsChained

DAY_S = 86_400
MIB = 1024 * 1024

DEAD_LETTER_PREFIX = "dlq"
"""A message that cannot be handled goes to ``dlq.<its subject>`` with the reason in its headers."""


@dataclass(frozen=True, kw_only=True)
class StreamSpec:
    """A stream as it must be on the server. Sizes in bytes, ages in seconds; zero means unlimited."""

    name: str
    events: tuple[type[Event], ...] = ()
    extra_subjects: tuple[str, ...] = ()
    max_age_s: int = 0
    max_bytes: int = 0
    max_messages: int = 0
    max_messages_per_subject: int = 0
    duplicate_window_s: int = 120
    description: str = ""

    def name_in(self, realm: str) -> str:
        """Its name on the server. Every replay has streams of its own, so that deleting one leaves the rest alone."""
        return self.name if realm == DEFAULT_REALM else f"{self.name}-{realm}"

    def subjects_in(self, realm: str) -> tuple[str, ...]:
        """All subject patterns of every chain that this stream stores. (A wildcard in the realm's place is refused
        by the server, because it would overlap with its own API.)"""
        patterns = {f"{realm}.*.{event.NAME}" + ("" if event.tails() == ("",) else ".>") for event in self.events}
        return (*sorted(patterns), *(subject.format(realm=realm) for subject in self.extra_subjects))


@dataclass(frozen=True, kw_only=True)
class BucketSpec:
    """A key-value bucket as it must be on the server."""

    name: str
    history: int = 1
    max_bytes: int = 0
    max_value_bytes: int = 0
    description: str = field(default="")


MARKET = StreamSpec(
    name="MARKET",
    events=(BlockApplied, BlockReorged, PoolDiscovered, PoolsWatched),
    # On disk although it can be rebuilt: after a restart of the server readers go on at the sequence they know.
    max_age_s=3_600,
    max_bytes=128 * MIB,
    max_messages=8_192,
    # Long enough for a repeated publish, short enough that a block which comes back after two reorganisations is
    # stored again: mirrors need to see it twice.
    duplicate_window_s=2,
    description="Recent blocks; short and bounded, rebuilt from the chain",
)
TRADING = StreamSpec(
    name="TRADING",
    events=(
        OpportunityFound,
        VerdictApproved,
        VerdictRejected,
        TokenFlagged,
        DecisionRecorded,
        IntentCreated,
        TxChanged,
        FillIncluded,
        FillReversed,
        FillConfirmed,
        IntentFailed,
        AccountOpened,
        PaperScored,
        PositionChanged,
        ExitTriggered,
        ConfirmationRequested,
        ConfirmationGiven,
    ),
    max_age_s=90 * DAY_S,
    max_bytes=2_048 * MIB,
    duplicate_window_s=600,
    description="Everything that was decided and traded",
)
THOUGHTS = StreamSpec(
    name="THOUGHTS",
    events=(DocumentsRecorded,),
    # Apart from TRADING, so that however many documents there are, no trade is forgotten for them. The archive keeps
    # them; here they lie for an archive that stands still, and for as long in the outboxes of who told them.
    max_age_s=3 * DAY_S,
    max_bytes=512 * MIB,
    duplicate_window_s=600,
    description="What decisions were computed from, on its way to the archive",
)
STATE = StreamSpec(
    name="STATE",
    events=(FeeQuoted, ExposureChanged, BookChanged, TradingStatus, BreakerChanged, BreakerReset, ThoughtsChained),
    max_messages_per_subject=1,
    max_bytes=64 * MIB,
    description="Last value per subject, for late starters",
)
DEAD_LETTERS = StreamSpec(
    name="DEAD_LETTERS",
    extra_subjects=(f"{DEAD_LETTER_PREFIX}.{{realm}}.>",),
    max_age_s=30 * DAY_S,
    max_bytes=128 * MIB,
    description="Messages that could not be handled, with the reason in their headers",
)
STREAMS = (MARKET, TRADING, THOUGHTS, STATE, DEAD_LETTERS)

POOLS = BucketSpec(
    name="POOLS",
    max_bytes=512 * MIB,
    max_value_bytes=4 * MIB,
    description="Full pool states with their block, and the checkpoint to start reading MARKET from",
)
LEASES = BucketSpec(
    name="LEASES",
    max_bytes=1 * MIB,
    max_value_bytes=4_096,
    description="Who writes for a chain at this moment, and under which epoch",
)
BUCKETS = (POOLS, LEASES)

EVENTS: tuple[type[Event], ...] = tuple(event for stream in STREAMS for event in stream.events)
"""Every event type, in the order of the streams."""


@cache
def stream_of(event: type[Event]) -> StreamSpec:
    """The stream that stores this event type; ``KeyError`` for a type that was never declared."""
    for stream in STREAMS:
        if event in stream.events:
            return stream
    raise KeyError(f"{event.__name__} is stored by no stream; add it to dexlane.events.streams")
