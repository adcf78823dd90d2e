"""Strategies: pure rules that turn blocks into opportunities."""

from dexlane.domain.strategies.base import BlockContext, Finding, Strategy, found
from dexlane.domain.strategies.registry import STRATEGIES, build_strategies

__all__ = ["STRATEGIES", "BlockContext", "Finding", "Strategy", "build_strategies", "found"]
