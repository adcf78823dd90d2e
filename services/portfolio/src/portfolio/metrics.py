"""Named moments of the portfolio: each logs once and counts once."""

from __future__ import annotations

from typing import Any

from dexlane.domain.ledger import Outcome
from dexlane.events.execution import AccountOpened
from dexlane.events.portfolio import ExitReason, ExitTriggered, ExposureChanged
from dexlane.runtime.observability import Log, Metrics
from dexlane.values.books import Mode

BOOK_LABELS = ("book", "lane", "mode", "quote")


class Moments:
    """What can happen in the portfolio."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._outcomes = metrics.counter("outcomes_total", "Outcome events by kind and effect", ("event", "effect"))
        self._accounts = metrics.counter("accounts_opened_total", "Accounts with opening balances")
        self._refolds = metrics.counter("refolds_total", "Accounts whose positions were folded anew")
        self._exits = metrics.counter("exits_total", "Exits by reason and step", ("reason", "step"))
        self._unpriced = metrics.counter("unpriced_total", "Valuations left out because a price was missing")
        self._unsellable = metrics.counter(
            "unsellable_total", "Valuations in which watched pools did not take all of a position", ("book",)
        )
        self._stuck: dict[tuple[str, str], set[str]] = {}
        self._unnamed = metrics.counter("unnamed_tokens_total", "Position changes not told: token unknown")
        self._late = metrics.counter("final_changed_total", "Outcomes that changed after they were final")
        # Whole quote tokens as floats: for the eye only. Exact amounts are in the ledger and in exposure.changed.
        self._realised = metrics.gauge("realised_quote", "Realised result in whole quote tokens, display", BOOK_LABELS)
        self._equity = metrics.gauge(
            "equity_quote", "Equity in whole quote tokens, display; absent if unknown", BOOK_LABELS
        )
        self._at_work = metrics.gauge(
            "at_work_quote", "Cost of open positions in whole quote tokens, display", BOOK_LABELS
        )
        self._open = metrics.gauge("open_positions", "Positions in which something is held", BOOK_LABELS)

    def outcome_booked(self, event: Outcome, entries: int) -> None:
        """An outcome took hold, and this many entries were posted for it."""
        self._outcomes.labels(event.NAME, "booked").inc()
        self._log.info("outcome_booked", **_subject(event), entries=entries)

    def outcome_repeated(self, event: Outcome) -> None:
        """An outcome that was delivered before, or is older than what holds."""
        self._outcomes.labels(event.NAME, "repeated").inc()
        self._log.debug("outcome_repeated", **_subject(event))

    def final_outcome_changed(self, event: Outcome) -> None:
        """A newer version replaced a final outcome: the chain undid what was thought final."""
        self._late.inc()
        self._log.error("final_outcome_changed", **_subject(event))

    def account_opened(self, event: AccountOpened) -> None:
        """The opening balances of an account are booked."""
        self._accounts.inc()
        self._log.info("account_opened", book_id=event.book_id, account=event.account, lane=event.lane)

    def positions_refolded(self, book_id: str, account: str) -> None:
        """An outcome changed the past, so the positions of its account were folded anew."""
        self._refolds.inc()
        self._log.info("positions_refolded", book_id=book_id, account=account)

    def exposure_told(self, event: ExposureChanged, mode: Mode, stuck: set[str]) -> None:
        """What an account has at work was announced. Its equity shows no value at all while a price is missing."""
        labels = (event.book_id, event.lane, mode, event.quote.symbol)
        scale = 10**event.quote.decimals
        self._realised.labels(*labels).set(event.realised_total / scale)
        self._at_work.labels(*labels).set(event.at_work / scale)
        self._open.labels(*labels).set(event.open_positions)
        if event.equity is None:
            self._equity.remove(*labels)
        else:
            self._equity.labels(*labels).set(event.equity / scale)
        self._positions_valued(event, stuck)
        self._log.debug("exposure_told", book_id=event.book_id, lane=event.lane, version=event.exposure_version)

    def exit_triggered(self, event: ExitTriggered) -> None:
        """A rule closes a position."""
        self._exits.labels(event.reason, "triggered").inc()
        self._log.info("exit_triggered", exit_id=event.id, book_id=event.book_id, detail=event.detail)

    def exit_adopted(self, event: ExitTriggered) -> None:
        """Somebody else, such as a person, closes a position; no rule closes it meanwhile."""
        self._exits.labels(event.reason, "adopted").inc()
        self._log.info("exit_adopted", exit_id=event.id, book_id=event.book_id, detail=event.detail)

    def exit_rearmed(self, exit_id: str, reason: str, why: str) -> None:
        """An exit came to nothing, and its position may trigger another."""
        self._exits.labels(reason, why).inc()
        self._log.warning("exit_rearmed", exit_id=exit_id, reason=reason, why=why)

    def flagged_exit_given_up(self, book_id: str, token: str, tried: int) -> None:
        """Exits of an unsafe token came to nothing again and again: it is kept, and a person has to look."""
        self._exits.labels(ExitReason.TOKEN_FLAGGED, "given_up").inc()
        self._log.error("flagged_exit_given_up", book_id=book_id, token=token, tried=tried)

    def price_missing(self, book_id: str, token: str) -> None:
        """A holding has no executable price, so the equity of its account is not told."""
        self._unpriced.inc()
        self._log.debug("price_missing", book_id=book_id, token=token)

    def _positions_valued(self, event: ExposureChanged, stuck: set[str]) -> None:
        """Tokens of positions that the watched pools do not take all of, as far as is known. Logged once."""
        for token in stuck:
            self._unsellable.labels(event.book_id).inc()
            if token not in self._stuck.get((event.book_id, event.lane), ()):
                self._log.error("position_unsellable", book_id=event.book_id, lane=event.lane, token=token)
        self._stuck[event.book_id, event.lane] = stuck

    def token_unknown(self, book_id: str, token: str) -> None:
        """No watched pool trades a token, so its symbol is unknown and its position is booked but not told."""
        self._unnamed.inc()
        self._log.warning("token_unknown", book_id=book_id, token=token)


def _subject(event: Outcome) -> dict[str, Any]:
    return {"outcome": event.NAME, "intent_id": event.intent_id, "outcome_version": event.outcome_version}
