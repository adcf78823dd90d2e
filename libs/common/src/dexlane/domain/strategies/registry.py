"""Strategies by name, with validated parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from dexlane.domain.strategies.base import Strategy
from dexlane.domain.strategies.momentum import Momentum, MomentumParameters
from dexlane.domain.strategies.price_gap import PriceGap, PriceGapParameters
from dexlane.domain.strategies.triangle import Triangle, TriangleParameters
from dexlane.values.tokens import Token

Parameters = Mapping[str, Any]


def _price_gap(parameters: Parameters, quote: Token) -> Strategy:
    return PriceGap(PriceGapParameters.model_validate(parameters), quote)


def _momentum(parameters: Parameters, quote: Token) -> Strategy:
    return Momentum(MomentumParameters.model_validate(parameters), quote)


def _triangle(parameters: Parameters, quote: Token) -> Strategy:
    return Triangle(TriangleParameters.model_validate(parameters), quote)


STRATEGIES: Mapping[str, Callable[[Parameters, Token], Strategy]] = MappingProxyType(
    {PriceGap.name: _price_gap, Momentum.name: _momentum, Triangle.name: _triangle}
)
"""How to build each known strategy."""


def build_strategies(configured: Mapping[str, Parameters], quote: Token) -> list[Strategy]:
    """Build the configured strategies, in order, each with its parameters, for one quote token.

    Raises ``ValueError`` for an unknown strategy and (as ``pydantic.ValidationError``, a ``ValueError``) for unknown,
    missing or impossible parameters: a slip in a setting never passes silently.
    """
    unknown = sorted(configured.keys() - STRATEGIES.keys())
    if unknown:
        raise ValueError(f"unknown strategies {', '.join(unknown)}; known are {', '.join(sorted(STRATEGIES))}")
    return [STRATEGIES[name](parameters, quote) for name, parameters in configured.items()]
