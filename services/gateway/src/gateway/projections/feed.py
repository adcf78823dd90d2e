"""The moving list: what was found, judged, decided and traded, in plain words with the reasons."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dexlane.domain.thoughts.saying import APPROVED, EXIT_TRIGGERED, REJECTED, TRADED
from dexlane.events.base import Event
from dexlane.events.control import TradingStatus
from dexlane.events.execution import (
    FillConfirmed,
    FillIncluded,
    FillReversed,
    IntentCreated,
    IntentFailed,
    Purpose,
    TxChanged,
)
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.portfolio import ExitTriggered
from dexlane.events.risk import DecisionRecorded, TokenFlagged, VerdictApproved, VerdictRejected
from dexlane.runtime.books_file import NATIVE_DECIMALS, NATIVE_SYMBOLS
from dexlane.values.amounts import decimal_text
from dexlane.values.base import Value
from dexlane.values.chains import NATIVE
from dexlane.values.routes import Route
from dexlane.values.tokens import Token, TokenDelta

KEPT = 200
REMEMBERED = 1_000
SHOWN_DIGITS = 6
TOLD_BY_OTHERS = frozenset({APPROVED, REJECTED, TRADED, EXIT_TRIGGERED})
"""Decisions that a verdict, an intent or an exit tells as well."""


class Kind(StrEnum):
    """What an entry of the list is about."""

    OPPORTUNITY = "opportunity"
    VERDICT = "verdict"
    DECISION = "decision"
    INTENT = "intent"
    TRANSACTION = "transaction"
    FILL = "fill"
    EXIT = "exit"
    STATUS = "status"


class FeedItem(Value):
    """One entry. ``outcome`` is one word, ``headline`` a short sentence, ``reasons`` say why."""

    id: str
    kind: Kind
    at_ms: int
    chain_id: int
    outcome: str
    headline: str
    reasons: tuple[str, ...] = ()
    book_id: str | None = None
    mode: str | None = None
    lane: str | None = None
    subject_id: str | None = None


@dataclass
class TokenNames:
    """The tokens that were heard of, by chain and address."""

    known: dict[tuple[int, str], Token] = field(default_factory=dict)

    def learn(self, chain_id: int, tokens: Iterable[Token]) -> None:
        """Remember tokens."""
        self.known.update({(chain_id, token.address): token for token in tokens})

    def token(self, chain_id: int, address: str) -> Token | None:
        """Symbol and decimals of a token, of the native coin too; None where nobody told them yet."""
        if address == NATIVE:
            symbol = NATIVE_SYMBOLS.get(chain_id, "native coin")
            return Token(address=NATIVE, symbol=symbol, decimals=NATIVE_DECIMALS)
        return self.known.get((chain_id, address))

    def symbol(self, chain_id: int, address: str) -> str:
        """The symbol, or a shortened address."""
        token = self.token(chain_id, address)
        return token.symbol if token else f"{address[:6]}…{address[-4:]}"

    def amount(self, chain_id: int, address: str, amount: int) -> str:
        """An amount with its symbol, shortened for reading; in smallest units when the token is unknown."""
        token = self.token(chain_id, address)
        if token is None:
            return f"{amount} units of {self.symbol(chain_id, address)}"
        return f"{_short(amount, token.decimals)} {token.symbol}"

    def route(self, chain_id: int, route: Route) -> str:
        """The tokens of a route in order."""
        addresses = [route.token_in, *(leg.token_out for leg in route.legs)]
        return " → ".join(self.symbol(chain_id, address) for address in addresses)


def _short(amount: int, decimals: int) -> str:
    """Six significant digits at most behind the whole part, never rounded up."""
    whole, _, fraction = decimal_text(amount, decimals).partition(".")
    grouped = f"{int(whole):,}" if whole not in {"-0"} else "-0"
    leading = len(fraction) - len(fraction.lstrip("0")) if whole in {"0", "-0"} else 0
    kept = fraction[: leading + max(2, SHOWN_DIGITS - len(whole.lstrip("-0")))].rstrip("0")
    return f"{grouped}.{kept}" if kept else grouped


class Feed:
    """The newest entries, oldest first."""

    def __init__(self, tokens: TokenNames) -> None:
        self._tokens = tokens
        self.items: deque[FeedItem] = deque(maxlen=KEPT)
        self._about: OrderedDict[str, str] = OrderedDict()
        self._writers: dict[type[Event], Callable[[Any], FeedItem]] = {
            OpportunityFound: self._opportunity,
            VerdictApproved: self._approved,
            VerdictRejected: self._rejected,
            TokenFlagged: self._flagged,
            DecisionRecorded: self._decision,
            IntentCreated: self._intent,
            TxChanged: self._transaction,
            FillIncluded: self._fill,
            FillConfirmed: self._fill,
            FillReversed: self._reversed,
            IntentFailed: self._failed,
            ExitTriggered: self._exit,
            TradingStatus: self._status,
        }

    def apply(self, event: Event) -> FeedItem | None:
        """Write the entry of an event; None for one that is not shown."""
        writer = self._writers.get(type(event))
        if writer is None or (isinstance(event, DecisionRecorded) and event.outcome in TOLD_BY_OTHERS):
            return None
        item = writer(event)
        self.items.append(item)
        return item

    def _opportunity(self, event: OpportunityFound) -> FeedItem:
        path = self._tokens.route(event.chain_id, event.route)
        return _item(
            event,
            Kind.OPPORTUNITY,
            outcome="found",
            headline=f"{event.strategy} sees {event.edge_bps} bps in {path}",
            reasons=tuple(f"{name}: {value}" for name, value in sorted(event.signals.items())),
            book_id=event.addressee,
            subject_id=event.id,
        )

    def _approved(self, event: VerdictApproved) -> FeedItem:
        return self._verdict(event, "approved", f"risk {event.risk_score} of 100, {event.lane.value} lane", ())

    def _rejected(self, event: VerdictRejected) -> FeedItem:
        return self._verdict(event, "rejected", f"risk {event.risk_score} of 100", event.vetoes)

    def _verdict(
        self, event: VerdictApproved | VerdictRejected, outcome: str, told: str, reasons: tuple[str, ...]
    ) -> FeedItem:
        about = f"{event.opportunity.strategy}, {self._tokens.route(event.chain_id, event.opportunity.route)}"
        self._remember(event.id, about)
        return _item(
            event,
            Kind.VERDICT,
            outcome=outcome,
            headline=f"{about}: {told}",
            reasons=reasons,
            lane=event.lane.value if isinstance(event, VerdictApproved) else None,
            subject_id=event.opportunity.id,
        )

    def _flagged(self, event: TokenFlagged) -> FeedItem:
        symbol = self._tokens.symbol(event.chain_id, event.token)
        headline = f"{symbol} carries the flag {event.flag.replace('_', ' ')}"
        return _item(event, Kind.VERDICT, outcome="flagged", headline=headline, reasons=(event.reason,))

    def _remember(self, subject_id: str, about: str) -> None:
        self._about[subject_id] = about
        if len(self._about) > REMEMBERED:
            self._about.popitem(last=False)

    def _decision(self, event: DecisionRecorded) -> FeedItem:
        about = self._about.get(event.subject_id)
        return _item(
            event,
            Kind.DECISION,
            outcome=event.outcome,
            headline=f"{event.service} on {about}" if about else f"decided by {event.service}",
            reasons=event.reasons,
            book_id=event.book_id,
            subject_id=event.subject_id,
        )

    def _intent(self, event: IntentCreated) -> FeedItem:
        plan = event.plan
        if event.purpose is Purpose.ALLOWANCE or plan is None:
            token = event.allowance_token or ""
            headline = f"allow the router to spend {self._tokens.symbol(event.chain_id, token)}"
        else:
            paid = self._tokens.amount(event.chain_id, plan.paid_token, plan.amount_in)
            least = self._tokens.amount(event.chain_id, plan.bought_token, plan.minimum_out)
            headline = f"{event.purpose.value}: {paid} for at least {least}"
        cause = event.verdict.opportunity.id if event.verdict else None
        return _of_intent(event, Kind.INTENT, outcome="created", headline=headline, subject_id=cause)

    def _transaction(self, event: TxChanged) -> FeedItem:
        took = f" {event.elapsed_ms:.1f} ms after the logs" if event.elapsed_ms is not None else ""
        reasons = (event.reason,) if event.reason else ()
        headline = f"{_deed(event)}{took}"
        return _of_intent(event, Kind.TRANSACTION, outcome=event.state.value, headline=headline, reasons=reasons)

    def _fill(self, event: FillIncluded | FillConfirmed) -> FeedItem:
        outcome = "included" if isinstance(event, FillIncluded) else "confirmed"
        gas = self._tokens.amount(event.chain_id, NATIVE, event.fee_paid_wei)
        changes = "set" if event.purpose is Purpose.ALLOWANCE else self._changes(event.chain_id, event.deltas)
        headline = f"{_deed(event)}: {changes}"
        return _of_intent(event, Kind.FILL, outcome=outcome, headline=headline, reasons=(f"gas {gas}",))

    def _changes(self, chain_id: int, deltas: tuple[TokenDelta, ...]) -> str:
        texts = [self._tokens.amount(chain_id, delta.token, abs(delta.amount)) for delta in deltas]
        signs = ["+" if delta.amount >= 0 else "−" for delta in deltas]
        return ", ".join(sign + text for sign, text in zip(signs, texts, strict=True)) or "nothing moved"

    def _reversed(self, event: FillReversed) -> FeedItem:
        return _of_intent(
            event, Kind.FILL, outcome="reversed", headline="the chain took the fill back", reasons=(event.reason,)
        )

    def _failed(self, event: IntentFailed) -> FeedItem:
        headline = f"{_deed(event)} failed: {event.reason.value.replace('_', ' ')}"
        reasons = (event.detail,) if event.detail else ()
        return _of_intent(event, Kind.FILL, outcome="failed", headline=headline, reasons=reasons)

    def _exit(self, event: ExitTriggered) -> FeedItem:
        held = self._tokens.amount(event.chain_id, event.token.address, event.quantity)
        self._remember(event.id, f"closing {held}")
        headline = f"close {held}: {event.reason.value.replace('_', ' ')}"
        return _of_intent(event, Kind.EXIT, outcome="triggered", headline=headline, reasons=(event.detail,))

    def _status(self, event: TradingStatus) -> FeedItem:
        headline = f"{event.source} says {event.status.value}"
        return _item(event, Kind.STATUS, outcome=event.status.value, headline=headline, reasons=(event.reason,))


def _deed(event: TxChanged | FillIncluded | FillConfirmed | IntentFailed) -> str:
    """What was done and by which strategy; nobody's strategy sets an allowance."""
    purpose = event.purpose.value
    return purpose if event.purpose is Purpose.ALLOWANCE else f"{purpose} by {event.strategy}"


def _item(event: Event, kind: Kind, **fields: Any) -> FeedItem:
    return FeedItem(id=event.id, kind=kind, at_ms=event.occurred_at_ms, chain_id=event.chain_id, **fields)


def _of_intent(event: Any, kind: Kind, **fields: Any) -> FeedItem:
    who = {"book_id": event.book_id, "mode": event.mode.value, "lane": event.lane.value}
    return _item(event, kind, **{"subject_id": getattr(event, "intent_id", None), **who, **fields})
