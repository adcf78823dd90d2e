"""Print the OpenAPI description: ``python -m gateway.api.openapi > services/gateway/openapi.json``."""

from __future__ import annotations

import json
import sys

from dexlane.runtime.clock import SystemClock
from dexlane.runtime.observability import Metrics, configure_logging
from gateway.api import build_routes
from gateway.api.desk import Surroundings, make_desk
from gateway.settings import Settings


def document() -> str:
    """The description of every route, as it is kept in the repository."""
    given = Surroundings(SystemClock(), Metrics("gateway"), configure_logging("gateway", "ERROR"), own=dict)
    return json.dumps(build_routes(make_desk(Settings(), given)).openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
