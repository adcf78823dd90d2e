"""What is at work, by token and strategy, and where it would be sold."""

from __future__ import annotations

from collections.abc import Iterator

from dexlane.domain.exits import ExecutableValue
from dexlane.domain.positions import Lot
from dexlane.events.portfolio import ExposurePart
from portfolio.store.positions import StoredPosition


def parts_of(stored: StoredPosition, value: ExecutableValue | None) -> Iterator[ExposurePart]:
    """The parts of a held position, one for each strategy that bought of it. ``value`` is what all of it would bring
    now; each part has its share of that, rounded down."""
    position = stored.position
    if position.quantity <= 0:
        return
    by_strategy: dict[str, list[Lot]] = {}
    for lot in position.lots:
        by_strategy.setdefault(lot.origin.strategy, []).append(lot)
    for strategy, lots in sorted(by_strategy.items()):
        quantity = sum(lot.quantity for lot in lots)
        blocks = [lot.origin.block_number for lot in lots if lot.origin.block_number is not None]
        yield ExposurePart(
            token=stored.token,
            strategy=strategy,
            cost=max(0, sum(lot.cost for lot in lots)),
            pool=None if value is None else value.pool,
            worth=None if value is None else value.proceeds * quantity // position.quantity,
            newest_block=max(blocks, default=None),
        )
