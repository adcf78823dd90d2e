"""Settings of the smart executor."""

from __future__ import annotations

from pydantic import Field

from dexlane.chain.execution.settings import ExecutorSettings
from dexlane.runtime.settings import service_config


class Settings(ExecutorSettings):
    """``DEXLANE_SMART_EXECUTOR_*`` and the shared ``DEXLANE_*``."""

    model_config = service_config("smart-executor")

    port: int = Field(default=7104, ge=0, le=65_535, description="port of the HTTP endpoints")
    wait_for_cheaper_gas: bool = Field(
        default=True, description="whether a trade whose chance lasts may wait for a block in which gas is cheaper"
    )
