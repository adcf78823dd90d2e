"""Worlds that show a planted bug: what it takes goes wrong so often in them that most of their seeds do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from simulation.planted import BUGS
from simulation.shape import SIGNER, STANDBY, Shape

WORLDS = 12
"""Seeds that a bug is looked for in, one after the other, until one shows it."""
ONE, BOOKS = "fast-executor", "portfolio"


def _shape(**particulars: Any) -> Shape:
    calm: dict[str, Any] = {
        "blocks": 20,
        "services": (ONE, BOOKS),
        "verdicts_per_block": 1.0,
        "reorg": 0.0,
        "broker_down": 0.0,
        "halt": 0.0,
        "spike": 0.0,  # a base fee that others drove up takes longer to fall than a world lasts
    }
    return Shape(**calm | particulars)


ROOM: dict[str, Any] = {"capital": 10_000 * 10**6, "max_open_positions": 12, "max_orders_per_minute": 8}
ANY = _shape(send_fault=0.6, reorg=0.1, left_out=0.3)
"""Shows what happens in every trade, or with every crash."""
UNANSWERED = _shape(send_fault=0.9, **ROOM)
STUCK = _shape(crash=0.05, killed=0.2, left_out=0.7, max_orders_per_minute=8)
UNDONE = _shape(blocks=30, confirmations=5, max_reorg=4, killed=0.05, reorg=0.6, reverts=0.3, late=0.4, **ROOM)
HALTED = _shape(services=(ONE, BOOKS, "gateway"), crash=0.01, halt=0.4, left_out=0.5, **ROOM)
UNSETTLED = _shape(
    blocks=40, services=(ONE, BOOKS, "gateway"), crash=0.0, halt=0.3, left_out=0.6, price_moves_bps=250, **ROOM
)
"""Approvals of what was bought are halted before a block takes them, and what was bought is soon to be sold."""
TWO = _shape(services=(ONE, ONE + STANDBY, BOOKS), crash=0.04, killed=0.2)
FORGETFUL = Shape.of_lost_stores(1)
STOLEN = Shape.of_thieves(1)
ASKED_LATE = _shape(
    blocks=60,
    services=(ONE, ONE + STANDBY, ONE + SIGNER, BOOKS),
    crash=0.0,
    killed=0.3,
    late=0.3,
    left_out=0.8,
    verdicts_per_block=3.0,
    **ROOM,
)
"""A request to the signer is still on its way when its asker is dead and the next one has signed."""

IN_A_RUSH = _shape(
    blocks=60,
    has_demand=True,
    crash=0.0,
    killed=0.0,
    late=0.0,
    send_fault=0.0,
    left_out=0.0,
    evicted=0.0,
    read_fails=0.0,
    read_behind=0.0,
    commit_fails=0.0,
    commit_unheard=0.0,
    reverts=0.0,
    price_moves_bps=600,
    **ROOM,
)
"""Others are in a hurry while positions are to be sold."""

_SHOWN_BY: dict[str, Shape] = {
    "a_timeout_gets_a_new_slot": UNANSWERED,
    "the_nonce_is_the_latest_of_the_chain": UNANSWERED,
    "no_answer_is_taken_for_a_failure": UNANSWERED,
    "a_bump_lowers_the_tip": TWO,
    "a_cancel_takes_a_new_slot": TWO,
    "reservations_are_forgotten_by_a_restart": _shape(crash=0.0, killed=0.5, late=0.0, send_fault=0.0),
    "every_exposure_is_believed_to_contain_what_was_filled": _shape(
        crash=0.0, killed=0.2, late=0.4, confirmations=2, max_token_bps=1_500, **ROOM
    ),
    "an_exit_that_was_left_out_waits": IN_A_RUSH,
    "the_last_outcome_to_arrive_holds": UNDONE,
    "a_confirmed_fill_counts_again": UNDONE,
    "reorganisations_are_ignored": UNDONE,
    "deadlines_are_ignored": STUCK,
    "a_halt_is_ignored": HALTED,
    "an_approval_that_expired_is_given_up": UNSETTLED,
    "a_revert_is_tried_again": UNDONE,
    "a_fact_that_was_not_acknowledged_is_dropped": _shape(publish_lost=0.3),
    "a_lost_store_stays_empty": FORGETFUL,
    "foreign_use_of_a_key_is_not_noticed": STOLEN,
    "the_signer_forgets_epochs": ASKED_LATE,
    "a_takeover_leaves_earlier_leases_their_signatures": ASKED_LATE,
    "what_is_private_goes_to_nodes": _shape(relays=("only",), relay_fault=0.5, **ROOM),
    "two_instances_act_at_once": TWO,
    "controls_forget_what_is_under_way_with_every_start": _shape(
        crash=0.0, killed=0.3, left_out=0.5, max_token_bps=1_500, duplicate_blocks=3, **ROOM
    ),
}

_BEGIN_WITH = {
    "a_bump_lowers_the_tip": 2,
    "a_cancel_takes_a_new_slot": 2,
    "a_revert_is_tried_again": 10,
    "an_approval_that_expired_is_given_up": 2,
    "an_exit_that_was_left_out_waits": 2,
    "deadlines_are_ignored": 8,
    "reorganisations_are_ignored": 15,
    "the_last_outcome_to_arrive_holds": 3,
    "a_takeover_leaves_earlier_leases_their_signatures": 14,
    "the_signer_forgets_epochs": 14,
    "what_is_private_goes_to_nodes": 5,
}
"""Seeds that save time, 1 for all others. When a change of dexlane makes a calm world of one, the others follow."""


def worlds_for(bug: str) -> Iterator[tuple[int, Shape]]:
    """Seeds and shapes to look for a bug in, beginning with a seed that showed it when it was last looked for."""
    if bug not in BUGS:
        raise KeyError(bug)
    first = _BEGIN_WITH.get(bug, 1)
    seeds = (first, *(seed for seed in range(1, WORLDS + 1) if seed != first))
    return ((seed, _SHOWN_BY.get(bug, ANY)) for seed in seeds)
