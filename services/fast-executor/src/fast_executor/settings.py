"""Settings of the fast executor."""

from __future__ import annotations

from pydantic import Field

from dexlane.chain.execution.settings import ExecutorSettings
from dexlane.runtime.settings import service_config


class Settings(ExecutorSettings):
    """``DEXLANE_FAST_EXECUTOR_*`` and the shared ``DEXLANE_*``."""

    model_config = service_config("fast-executor")

    port: int = Field(default=7103, ge=0, le=65_535, description="port of the HTTP endpoints")
