"""Strategies by name: a slip in a setting never passes silently."""

from __future__ import annotations

from typing import Any

import pytest

from dexlane.domain.strategies import STRATEGIES, build_strategies
from dexlane.testing.builders import USDC

GAP: dict[str, Any] = {"min_profit": "1000000", "max_size": 10**12}


def test_strategies_are_built_in_the_order_given() -> None:
    built = build_strategies({"momentum": {"size": 10**9}, "price_gap": GAP}, USDC)
    assert [(strategy.name, strategy.version) for strategy in built] == [("momentum", 1), ("price_gap", 1)]


def test_every_known_strategy_is_registered_under_its_own_name() -> None:
    needed = {"momentum": {"size": 10**9}, "price_gap": GAP, "triangle": GAP}
    assert {name: build(needed[name], USDC).name for name, build in STRATEGIES.items()} == {
        "price_gap": "price_gap",
        "momentum": "momentum",
        "triangle": "triangle",
    }


def test_an_unknown_strategy_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown strategies price_gpa; known are momentum, price_gap, triangle"):
        build_strategies({"price_gpa": GAP}, USDC)


@pytest.mark.parametrize(
    "parameters",
    [
        GAP | {"min_profitt": 1},
        {"min_profit": 1},
        GAP | {"max_size": 0},
        GAP | {"min_edge_bps": -1},
        GAP | {"min_profit": 1.5},
    ],
)
def test_unknown_missing_or_impossible_parameters_are_errors(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        build_strategies({"price_gap": parameters}, USDC)
