"""Settings of risk-scorer."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from dexlane.domain.risk.factors import USUAL_LIMITS, RiskLimits
from dexlane.domain.risk.token_verdict import TrialLimits
from dexlane.runtime.settings import ChainSettings, service_config
from dexlane.values.chains import Address

USDC_OF_ETHEREUM = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
USDC_OF_BASE = "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"


class Settings(ChainSettings):
    """What risk-scorer needs to know."""

    model_config = service_config("risk-scorer")

    port: int = Field(default=7102, ge=0, le=65_535, description="port of the HTTP endpoints")
    quote_tokens: dict[int, Address] = Field(
        default={1: USDC_OF_ETHEREUM, 8_453: USDC_OF_BASE},
        description='the token that depth is measured in, per chain: {"1": "0x..."}',
    )
    limits: RiskLimits = Field(
        default=USUAL_LIMITS,
        description="vetoes for every book, as JSON; the depth in units of the quote token",
    )
    volatility_blocks: int = Field(default=32, ge=2, le=1_024, description="window of the volatility")
    refresh_blocks: int = Field(default=50, ge=1, description="token facts are read again this often")
    gather_timeout_ms: int = Field(default=1_500, ge=1, description="most that missing facts may delay one verdict")
    block_wait_ms: int = Field(default=250, ge=0, description="how long an opportunity may wait for its own block")
    max_block_age_ms: int = Field(default=60_000, ge=1_000, description="not ready while the last block is older")
    trial_blocks: int = Field(default=50, ge=1, description="executed checks of tokens are made again this often")
    held_trial_blocks: int = Field(
        default=5, ge=1, description="the same while the token is held; unknown ones are tried again so soon at first"
    )
    trial_budget_ms: int = Field(default=10_000, ge=100, description="most that one executed check may take")
    trial_limits: TrialLimits = Field(
        default=TrialLimits(), description="what makes a token unsafe, as JSON; taxes in bps"
    )
    approval_key_file: Path | None = Field(
        default=None,
        description="Ed25519 key (64 hex digits, mode 0600) that approved verdicts are sealed with for signers",
    )
    approval_valid_s: int = Field(
        default=600, ge=10, le=86_400, description="how long a sealed verdict may be traded on, seconds of chain time"
    )
    sanctions_file: Path | None = Field(
        default=None,
        description="a newer list: its date, then a line for each address with the days of listing and delisting",
    )
    compliance_file: Path | None = Field(
        default=None, description="TOML: kinds of assets, rules of jurisdictions, tokens that alone may be traded"
    )

    @model_validator(mode="after")
    def _every_chain_is_covered(self) -> Settings:
        for chain_id in self.chains:
            if chain_id not in self.rpc_ws_urls:
                raise ValueError(f"chain {chain_id} has no node; add it to DEXLANE_RPC_WS_URLS")
            if chain_id not in self.quote_tokens:
                raise ValueError(f"chain {chain_id} has no quote token; add it to DEXLANE_RISK_SCORER_QUOTE_TOKENS")
        return self
