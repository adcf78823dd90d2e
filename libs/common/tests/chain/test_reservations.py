"""What open intents hold of a book, and how long a filled one goes on counting."""

from __future__ import annotations

from dexlane.chain.execution.reservations import Reservations
from dexlane.events.portfolio import ExposureChanged
from dexlane.testing.builders import an_exposure, an_intent

HOUR_MS = 3_600_000


def held(reservations: Reservations, now_ms: int, exposure: ExposureChanged | None) -> int:
    intent = an_intent()
    capital = reservations.of(intent.book_id, now_ms, exposure, frozenset()).capital
    assert capital == reservations.capital_of(intent.book_id, exposure)
    return capital


def test_a_filled_intent_counts_until_an_exposure_that_can_contain_it_however_long_portfolio_is_away() -> None:
    reservations, intent = Reservations(), an_intent()
    reservations.hold(intent, 1_000, 0)
    before = an_exposure(occurred_at_ms=500)
    reservations.release(intent.id, 1_000, filled=True)
    assert held(reservations, 1_001, before) == 1_000
    assert held(reservations, HOUR_MS, before) == 1_000
    assert held(reservations, HOUR_MS, None) == 1_000
    after = an_exposure(occurred_at_ms=HOUR_MS, exposure_version=2)
    assert held(reservations, HOUR_MS + 1, after) == 0
    assert held(reservations, HOUR_MS + 2, before) == 0, "it is forgotten then"


def test_an_intent_that_was_not_filled_counts_no_longer_than_it_is_open() -> None:
    reservations, intent = Reservations(), an_intent()
    reservations.hold(intent, 1_000, 0)
    assert held(reservations, 1, None) == 1_000
    reservations.release(intent.id, 2, filled=False)
    assert held(reservations, 3, None) == 0
