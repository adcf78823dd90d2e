"""The order in which the states of an intent's transactions may follow each other; the same live and on paper.

An attempt is told as ``signed`` (the first), ``bumped`` (the same with higher fees) or ``replaced`` (by a cancel). Each
may then be ``submitted``, ``pending`` and ``dropped``, in this order and, after a drop, again. ``mined`` is in a block;
the four ends are final, and only a reorganisation deeper than finality opens them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from dexlane.events.execution import TxState

_S = TxState
ENDS = frozenset({_S.CONFIRMED, _S.FAILED, _S.CANCELLED, _S.EXPIRED})
"""The states after which nothing follows, as long as finality holds."""

_OPEN = frozenset({_S.BUMPED, _S.REPLACED, _S.MINED})
FOLLOWING: Mapping[TxState, frozenset[TxState]] = {
    _S.PLANNED: frozenset({_S.SIGNED, _S.REPLACED}),
    _S.SIGNED: _OPEN | {_S.SUBMITTED, _S.DROPPED},
    _S.SUBMITTED: _OPEN | {_S.SUBMITTED, _S.PENDING, _S.DROPPED},
    _S.PENDING: _OPEN | {_S.SUBMITTED, _S.DROPPED},
    _S.BUMPED: _OPEN | {_S.SUBMITTED, _S.DROPPED},
    _S.REPLACED: frozenset({_S.BUMPED, _S.MINED, _S.SUBMITTED, _S.DROPPED}),
    _S.DROPPED: _OPEN | {_S.SUBMITTED},
    _S.MINED: ENDS | {_S.REORGED},
    _S.REORGED: _OPEN | {_S.SUBMITTED, _S.DROPPED},
    **dict.fromkeys(ENDS, frozenset({_S.REORGED})),
}
"""What may come after each state."""


def first_illegal(states: Iterable[TxState]) -> tuple[TxState | None, TxState] | None:
    """The first step of a life that must not be; None for a legal life. A life begins with ``planned``."""
    told = [None, *states]
    for before, after in pairwise(told):
        if after is None:
            continue
        if after is not TxState.PLANNED if before is None else after not in FOLLOWING[before]:
            return before, after
    return None
