"""Settings of paper-sim."""

from __future__ import annotations

from pydantic import Field

from dexlane.domain.simulation import SimulationModel
from dexlane.runtime.settings import MoneySettings, service_config


class Settings(MoneySettings):
    """What paper-sim needs to know. Tips in wei per gas."""

    model_config = service_config("paper-sim")

    port: int = Field(default=7107, ge=0, le=65_535, description="port of the HTTP endpoints")
    confirmations: int = Field(default=2, ge=1, le=128, description="blocks until a fill counts as final, as live")
    opening_native_wei: int = Field(default=10**18, ge=0, description="native coin a paper account opens with, for gas")
    max_block_age_ms: int = Field(default=60_000, ge=1_000, description="not ready while the last block is older")
    seed: int = Field(default=0, description="seed of the delay model")
    late_bps: int = Field(default=0, ge=0, le=10_000, description="share of intents that miss their first block")
    minimum_tip_wei: int = Field(default=1, ge=0, description="tip that a block with room asks for")
    full_block_tip_wei: int = Field(default=10**9, ge=0, description="tip of a full block without a fee quote")

    @property
    def model(self) -> SimulationModel:
        """The parameters of the simulated inclusion."""
        return SimulationModel(
            seed=self.seed,
            late_bps=self.late_bps,
            minimum_tip_wei=self.minimum_tip_wei,
            full_block_tip_wei=self.full_block_tip_wei,
        )
