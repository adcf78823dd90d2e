"""The signer against an oracle that was written from the rules alone, and every rule against its removal.

``DEXLANE_POLICY_REQUESTS=1000000`` asks as many as the release does; ``make bench ARGS="--only policy"`` prints them.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dexlane.testing.signing_drafts import TERMS
from dexlane.testing.signing_oracle import Ask, Oracle
from dexlane.testing.signing_requests import Generator
from dexlane.testing.signing_trial import Trial, compare
from dexlane_signer import (
    Denial,
    DenialReason,
    approval_rules,
    call_rules,
    decisions,
    guard,
    signer,
    spending,
    swap_rules,
)
from dexlane_signer.effects import NO_EFFECT

REQUESTS = int(os.environ.get("DEXLANE_POLICY_REQUESTS", "20000"))
ENOUGH = 12_000
"""Every planted weakness is noticed within so many requests; most within a few hundred."""
R = DenialReason


@pytest.mark.long
@pytest.mark.timeout(max(300, REQUESTS // 50))
def test_nothing_out_of_policy_is_signed_and_nothing_honest_is_denied(tmp_path: Path) -> None:
    found = compare(tmp_path, REQUESTS, seed=REQUESTS)
    assert found.differences == []
    assert found.signed > REQUESTS // 4, "most honest requests are signed, or the comparison says nothing"
    assert len(found.denied) > 40, "the hostile ones are denied for many reasons"


def without(rule: Any, reason: DenialReason, passed: object) -> Any:
    """The same rule, blind to one reason."""

    def blind(*arguments: Any, **named: Any) -> Any:
        found = rule(*arguments, **named)
        return passed if isinstance(found, Denial) and found.reason is reason else found

    return blind


WEAKNESSES: tuple[tuple[Any, str, DenialReason, object], ...] = (
    (swap_rules, "_check_deadline", R.DEADLINE_PASSED, None),
    (swap_rules, "_check_deadline", R.DEADLINE_TOO_FAR, None),
    (swap_rules, "_check_end", R.WRONG_RECIPIENT, None),
    (swap_rules, "_check_end", R.NO_MINIMUM_OUT, None),
    (swap_rules, "_check_end", R.LOSING_ROUND_TRIP, None),
    (swap_rules, "_check_link", R.BROKEN_CHAIN, None),
    (swap_rules, "_check_inputs", R.AMOUNT_OVER_CAP, None),
    (swap_rules, "_check_inputs", R.PERMIT_EXCEEDS_INPUT, None),
    (swap_rules, "_check_inputs", R.UNKNOWN_SPENDER, None),
    (swap_rules, "_check_permit", R.PERMIT_TOO_LONG, None),
    (call_rules, "_check_gas", R.FEE_OVER_CAP, None),
    (call_rules, "_check_gas", R.TIP_OVER_CAP, None),
    (call_rules, "_check_gas", R.GAS_OVER_CAP, None),
    (call_rules, "_check_gas", R.COST_OVER_CAP, None),
    (call_rules, "_check_envelope", R.VALUE_OVER_CAP, None),
    (call_rules, "_check_approve", R.UNKNOWN_SPENDER, NO_EFFECT),
    (call_rules, "_check_token_call", R.UNKNOWN_SELECTOR, NO_EFFECT),
    (decisions, "check_approval", R.NOT_APPROVED, None),
    (approval_rules, "_check_seal", R.APPROVAL_FORGED, None),
    (approval_rules, "_check_seal", R.APPROVAL_WRONG_KEY, None),
    (approval_rules, "_check_time", R.APPROVAL_EXPIRED, None),
    (approval_rules, "_check_time", R.APPROVAL_TOO_LONG, None),
    (approval_rules, "_check_addressee", R.APPROVAL_WRONG_CHAIN, None),
    (approval_rules, "_check_addressee", R.APPROVAL_WRONG_ACCOUNT, None),
    (approval_rules, "_check_trades", R.APPROVAL_WRONG_TOKENS, None),
    (approval_rules, "_check_amount", R.APPROVAL_AMOUNT, None),
    (signer, "use_approval", R.APPROVAL_USED, None),
    (signer, "opens_position", R.NOT_AN_EXIT, False),
    (signer, "check_entry", R.OVER_LEVEL, None),
    (signer, "check_entry", R.ENTRY_TOKEN, None),
    (guard._Standing, "refusal", R.STALE_EPOCH, None),
    *(
        (spending, "_over", reason, None)
        for reason in (R.HOUR_CAP_TOKEN, R.DAY_CAP_TOKEN, R.HOUR_CAP_VALUE, R.HOUR_CAP_TRADES, R.HOUR_CAP_GAS)
    ),
)


@pytest.fixture(scope="module")
def judged() -> Callable[[], Iterator[tuple[Ask, str | None]]]:
    """Requests from the first on, each with the oracle's answer. No answer depends on the signer that is asked the
    same, so all signers are compared with one oracle."""
    requests, oracle = Generator(7).requests(), Oracle(TERMS)
    known: list[tuple[Ask, str | None]] = []

    def from_the_first() -> Iterator[tuple[Ask, str | None]]:
        for place in itertools.count():
            if place == len(known):
                ask = next(requests)
                known.append((ask, oracle.answer(ask)))
            yield known[place]

    return from_the_first


@pytest.mark.parametrize(
    "weakness",
    WEAKNESSES,
    ids=[f"{name} without {reason}" for _, name, reason, _ in WEAKNESSES],
)
def test_a_rule_that_is_taken_away_is_missed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    judged: Callable[[], Iterator[tuple[Ask, str | None]]],
    weakness: tuple[Any, str, DenialReason, object],
) -> None:
    place, name, reason, passed = weakness
    monkeypatch.setattr(place, name, without(getattr(place, name), reason, passed))
    trial = Trial(tmp_path)
    for ask, why_not in itertools.islice(judged(), ENOUGH):
        trial.judge(ask, why_not)
        if trial.found.out_of_policy:
            break
    trial.guard.close()
    assert trial.found.out_of_policy, f"the oracle did not notice that {name} was blind to {reason}"
