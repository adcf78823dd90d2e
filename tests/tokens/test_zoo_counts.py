"""How specimens are counted: by what a buyer lost, where somebody lived a life with them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dexlane_devnet.zoo import Family, Lived
from tokens.zoo_run import Result, report

LOST, KEPT, NOT_BOUGHT = Lived(0, ("the rest",)), Lived(9_900, ()), Lived(None, ("the purchase",))


def result(verdict: str, *, hostile: bool, lived: Lived | None = None) -> Result:
    specimen: Any = SimpleNamespace(family=Family("Some", hostile), seed=1, numbers=(0, 0, 0, 0))
    judged: Any = SimpleNamespace(verdict=verdict, findings=())
    trial: Any = None
    return Result(specimen, trial, judged, 1.0, lived)


@pytest.mark.parametrize("lived", [None, LOST, NOT_BOUGHT])
def test_a_hostile_one_that_springs_or_that_nobody_lived_with_must_be_unsafe(lived: Lived | None) -> None:
    right = {verdict: result(verdict, hostile=True, lived=lived).right for verdict in ("unsafe", "safe", "unknown")}
    assert right == {"unsafe": True, "safe": False, "unknown": False}


def test_a_hostile_one_that_does_not_spring_may_be_either_but_not_unknown() -> None:
    right = {verdict: result(verdict, hostile=True, lived=KEPT).right for verdict in ("unsafe", "safe", "unknown")}
    assert right == {"unsafe": True, "safe": True, "unknown": False}


def test_a_benign_one_is_safe_unless_a_buyer_loses_with_it() -> None:
    assert result("safe", hostile=False, lived=KEPT).right
    assert not result("unsafe", hostile=False, lived=KEPT).right
    assert result("unsafe", hostile=False, lived=LOST).right
    assert not result("safe", hostile=False, lived=LOST).right


def test_what_springs_and_what_does_not_are_counted_apart() -> None:
    lines = list(report([result("unsafe", hostile=True, lived=LOST), result("safe", hostile=True, lived=KEPT)]))
    assert any("hostile: 1 of 1 families unsafe" in line for line in lines)
    assert any("hostile, where no buyer loses: 1 of 1 families safe" in line for line in lines)
    assert not any(line.strip().startswith("Some (") for line in lines), "nothing was judged wrongly"
