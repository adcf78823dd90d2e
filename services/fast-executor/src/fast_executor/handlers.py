"""What the fast executor consumes."""

from __future__ import annotations

from dexlane.chain.execution.routes import ExecutionDeps, execution_routes
from dexlane.runtime.consuming import Routes


def routes(deps: ExecutionDeps) -> Routes:
    """Verdicts and exits of the fast lane, outcomes of its paper intents, and side values."""
    return execution_routes(deps)
