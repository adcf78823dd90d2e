"""Which service publishes and consumes which events: the one table behind AsyncAPI, tested against the services."""

from __future__ import annotations

from collections.abc import Mapping

from dexlane.events.base import Event
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
from dexlane.events.streams import EVENTS
from dexlane.events.thoughts import DocumentsRecorded, ThoughtsChained

Types = tuple[type[Event], ...]

_OUTCOMES: Types = (FillIncluded, FillReversed, FillConfirmed, IntentFailed)
_BREAKING: Types = (TradingStatus, BreakerChanged)
_THOUGHTS: Types = (DecisionRecorded, DocumentsRecorded)
_EXECUTION: Types = (
    IntentCreated,
    TxChanged,
    *_OUTCOMES,
    AccountOpened,
    *_THOUGHTS,
    ConfirmationRequested,
    *_BREAKING,
)
_MIRROR: Types = (BlockApplied, BlockReorged, PoolDiscovered, PoolsWatched)
_EXECUTOR_INPUT: Types = (
    VerdictApproved,
    ExitTriggered,
    ConfirmationGiven,
    *_MIRROR,
    FeeQuoted,
    ExposureChanged,
    BookChanged,
    *_BREAKING,
    BreakerReset,
    # Outcomes of their paper intents free what planning reserved; opened accounts are known without asking a node.
    AccountOpened,
    FillConfirmed,
    IntentFailed,
)

PUBLISHED: Mapping[str, Types] = {
    "market-feed": (BlockApplied, BlockReorged, PoolDiscovered, PoolsWatched, OpportunityFound, *_BREAKING),
    "gas-oracle": (FeeQuoted, *_BREAKING),
    "risk-scorer": (VerdictApproved, VerdictRejected, TokenFlagged, *_THOUGHTS),
    "fast-executor": _EXECUTION,
    "smart-executor": _EXECUTION,
    "paper-sim": (TxChanged, *_OUTCOMES, AccountOpened, PaperScored),
    "portfolio": (PositionChanged, ExposureChanged, ExitTriggered, *_THOUGHTS, *_BREAKING),
    "gateway": (
        BookChanged,
        TradingStatus,
        ExitTriggered,
        ConfirmationGiven,
        BreakerReset,
        DecisionRecorded,
        ThoughtsChained,
    ),
}
"""Executors and portfolio publish a ``trading.status`` of their own when they stop for a broken invariant, too."""

_CONSUMED: Mapping[str, Types] = {
    "market-feed": (BreakerReset, ExposureChanged, IntentCreated),
    "gas-oracle": (BlockApplied, BreakerReset),
    "risk-scorer": (OpportunityFound, TokenFlagged, PositionChanged, *_MIRROR),
    "fast-executor": _EXECUTOR_INPUT,
    "smart-executor": _EXECUTOR_INPUT,
    "paper-sim": (IntentCreated, *_MIRROR, FeeQuoted, BookChanged),
    "portfolio": (
        *_OUTCOMES,
        AccountOpened,
        ExitTriggered,
        *_MIRROR,
        BookChanged,
        TradingStatus,
        BreakerReset,
        TokenFlagged,
    ),
    "gateway": EVENTS,
}


def consumed_by(service: str) -> Types:
    """What a service reads; ``KeyError`` for a name that is no service."""
    return _CONSUMED[service]
