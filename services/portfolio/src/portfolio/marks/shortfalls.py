"""Values that leave a rest: when they are a price, and when they may only show that something is not known yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dexlane.domain.exits import ExecutableValue
from portfolio.store.positions import StoredPosition

STANDS_BLOCKS = 3
"""Liquidity that is moved from one range to another is gone for a block or two."""

Key = tuple[str, str, str]


@dataclass
class Shortfalls:
    """Says of each position's value whether the price rules may be judged by it.

    A value without a rest is a price at once. One with a rest is a price when it has left one for ``STANDS_BLOCKS``
    blocks, and all pools are there in which this process saw the whole position sold before: then it is liquidity that
    left. Else pools may be missing that the feed is about to tell of, as after a restart, and the rest must have been
    there for ``patience_blocks``. What is not watched for so long, executors cannot sell in either.
    """

    patience_blocks: int
    _sold_whole_in: dict[Key, frozenset[str]] = field(default_factory=dict)
    _since: dict[Key, int] = field(default_factory=dict)

    def price(
        self, stored: StoredPosition, pools: Iterable[str], value: ExecutableValue | None, block: int
    ) -> ExecutableValue | None:
        """The value where it is a price by now; None where it is not."""
        key = _key(stored)
        if value is None or not value.rest:
            self._since.pop(key, None)
            if value is not None:
                self._sold_whole_in[key] = frozenset(pools)
            return value
        known = self._sold_whole_in.get(key)
        if known is not None and not known <= set(pools):
            del self._sold_whole_in[key]
            self._since.pop(key, None)
        # A reorganisation, or a chain that began again, goes back.
        since = self._since[key] = min(block, self._since.get(key, block))
        wait = STANDS_BLOCKS if key in self._sold_whole_in else self.patience_blocks
        return value if block - since >= wait else None

    def keep_only(self, held: Iterable[StoredPosition]) -> None:
        """Forget positions that are closed."""
        keys = {_key(stored) for stored in held}
        self._since = {key: since for key, since in self._since.items() if key in keys}
        self._sold_whole_in = {key: pools for key, pools in self._sold_whole_in.items() if key in keys}


def _key(stored: StoredPosition) -> Key:
    return stored.account.book_id, stored.account.address, stored.token
