"""Settings of the gas oracle."""

from __future__ import annotations

from pydantic import Field, model_validator

from dexlane.runtime.settings import ChainSettings, service_config


class Settings(ChainSettings):
    """``DEXLANE_GAS_ORACLE_*``."""

    model_config = service_config("gas-oracle")

    port: int = Field(default=7105, ge=0, le=65_535)
    window_blocks: int = Field(default=20, ge=1, le=1_024, description="blocks whose tips are looked at")
    history_timeout_s: float = Field(default=2.0, gt=0, le=30, description="the node's time to answer eth_feeHistory")
    quote_max_age_s: float = Field(default=30.0, gt=0, le=3_600, description="without a quote for so long: not ready")

    @model_validator(mode="after")
    def _every_chain_is_served(self) -> Settings:
        for chain in self.chains:
            if chain not in self.rpc_ws_urls:
                raise ValueError(f"chain {chain} has no node; add it to DEXLANE_RPC_WS_URLS")
        return self
