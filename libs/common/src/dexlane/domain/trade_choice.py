"""Which of the trades that a book may make is made: the first that can be carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dexlane.domain.circumstances import Objection, Planned, Refused, refusal

NOTHING_FREE = Objection("nothing_free", "no capital, balance or size is left for this trade")
OF_ONE_TRADE = frozenset({"no_relay", "unroutable", "no_allowance"})
"""What may stand against one trade and not against a smaller one. None of it depends on the fee."""


def first_carried(
    wanted: Iterable[Planned | Refused], carry: Callable[[Planned], Planned | Refused]
) -> Planned | Refused:
    """The first trade that ``carry`` can carry out, or that waits for a person; or why the first one of all cannot."""
    why: Refused | None = None
    for outcome in wanted:
        carried = outcome if isinstance(outcome, Refused) else carry(outcome)
        if isinstance(carried, Planned) or carried.proposal is not None:
            return carried
        why = why or carried
        if carried.outcome not in OF_ONE_TRADE:
            break
    return why or refusal([NOTHING_FREE])
