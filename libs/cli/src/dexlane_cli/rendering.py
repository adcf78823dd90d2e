"""Events as one line for a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.text import Text

from dexlane.events.base import Event
from dexlane.events.breakers import BreakerChanged, BreakerReset
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
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.portfolio import ExitTriggered, ExposureChanged, PositionChanged
from dexlane.events.risk import DecisionRecorded, VerdictApproved, VerdictRejected
from dexlane.values.amounts import decimal_text
from dexlane.values.chains import NATIVE
from dexlane_cli.options import plain

WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"


def _token_amount(fill: Any, token: str, amount: int) -> str:
    if token == fill.quote.address:
        return f"{decimal_text(amount, fill.quote.decimals)} {fill.quote.symbol}"
    if token in {WETH, NATIVE}:
        return f"{decimal_text(amount, 18)[:12]} {'WETH' if token == WETH else 'ETH'}"
    return f"{amount} of {token[:10]}"


def _deltas(fill: FillIncluded | FillConfirmed) -> str:
    moved = [
        ("+" if delta.amount > 0 else "") + _token_amount(fill, delta.token, delta.amount) for delta in fill.deltas
    ]
    return ", ".join(moved) or "allowance set"


def _gwei(wei: int) -> str:
    return f"{wei / 10**9:.2f} gwei"


def _fill(event: FillIncluded | FillConfirmed) -> str:
    block = event.block.number if event.block else "?"
    gas = decimal_text(event.fee_paid_wei, 18)[:10]
    return (
        f"{event.book_id} {event.lane} {event.strategy} {event.purpose}: {_deltas(event)}; gas {gas} ETH; block {block}"
    )


def _position(event: PositionChanged) -> str:
    held = decimal_text(event.quantity, event.token.decimals)[:12]
    realised = decimal_text(event.realised, event.quote.decimals)
    return f"{event.book_id} holds {held} {event.token.symbol}; realised {realised} {event.quote.symbol}"


def _tx(event: TxChanged) -> str:
    elapsed = f" after {event.elapsed_ms:.1f} ms" if event.elapsed_ms is not None else ""
    return f"{event.book_id} {event.lane} {event.purpose}: {event.state}{elapsed}" + (
        f" ({event.reason})" if event.reason else ""
    )


_LINES: dict[type[Event], tuple[str, Callable[[Any], str]]] = {
    BlockApplied: ("dim", lambda e: f"{e.block.number} {len(e.deltas)} pool changes, next base fee "
                   f"{_gwei(e.next_base_fee_per_gas_wei)}"),
    BlockReorged: ("bold magenta", lambda e: f"{e.depth} blocks undone down to {e.ancestor.number}"),
    FeeQuoted: ("dim", lambda e: f"next base fee {_gwei(e.next_base_fee_per_gas_wei)}"),
    OpportunityFound: ("cyan", lambda e: f"{e.strategy}: edge {e.edge_bps} bps over {len(e.route.legs)} legs, "
                       f"until block {e.deadline_block}"),
    VerdictApproved: ("green", lambda e: f"{e.opportunity.strategy} goes {e.lane}: risk {e.risk_score}, "
                      f"confidence {e.confidence_bps / 100:.0f} %"),
    VerdictRejected: ("yellow", lambda e: f"{e.opportunity.strategy}: {'; '.join(e.vetoes)}"),
    DecisionRecorded: ("yellow", lambda e: f"{e.service} {e.book_id or ''} {e.outcome}: {'; '.join(e.reasons)}"),
    IntentCreated: ("blue", lambda e: f"{e.book_id} {e.mode} {e.lane} {e.purpose} ({e.strategy})"),
    TxChanged: ("blue", _tx),
    FillIncluded: ("bold green", _fill),
    FillConfirmed: ("green", _fill),
    FillReversed: ("bold magenta", lambda e: f"{e.book_id}: {e.reason}"),
    IntentFailed: ("red", lambda e: f"{e.book_id} {e.lane} {e.purpose}: {e.reason} {e.detail}"),
    ExitTriggered: ("bold yellow", lambda e: f"{e.book_id} {e.reason}: {e.detail}"),
    PositionChanged: ("white", _position),
    ExposureChanged: ("dim", lambda e: f"{e.book_id} {e.lane}: at work "
                      f"{decimal_text(e.at_work, e.quote.decimals)} {e.quote.symbol}"),
    AccountOpened: ("white", lambda e: f"{e.book_id} {e.lane} account {e.account}"),
    PaperScored: ("dim", lambda e: f"{e.book_id}: next block differs by {e.difference_bps} bps"),
    TradingStatus: ("bold red", lambda e: f"{e.source} says {e.status}: {e.reason}"),
    BreakerChanged: ("bold red", lambda e: f"{e.source} is {e.phase}, asks for {e.status}: {e.reason}"),
    BreakerReset: ("bold yellow", lambda e: f"{e.source} was reset: {e.reason}"),
    BookChanged: ("white", lambda e: f"{e.book.id} {e.book.mode} level {e.book.level} "
                  f"{'enabled' if e.book.enabled else 'disabled'}"),
}  # fmt: skip


def line(event: Event) -> Text:
    """The event in colour: name, then what it says."""
    style, render = _LINES.get(type(event), ("white", lambda e: e.id))
    seconds = event.occurred_at_ms // 1000 % 86_400
    stamp = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    name = f"{event.NAME}"
    return Text.assemble((stamp, "dim"), " ", (f"{name:<18}", style), " ", plain(render(event)))
