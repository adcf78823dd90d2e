"""The named moments of the fast executor."""

from __future__ import annotations

from dexlane.chain.execution.moments import ExecutionMoments

__all__ = ["ExecutionMoments"]
