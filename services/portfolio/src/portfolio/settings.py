"""Settings of the portfolio."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from dexlane.runtime.settings import BreakerSettings, MoneySettings, service_config


class Settings(MoneySettings, BreakerSettings):
    """What the portfolio needs to know."""

    model_config = service_config("portfolio")

    port: int = Field(default=7106, ge=0, le=65_535, description="port of the HTTP endpoints")
    mark_every_blocks: int = Field(default=5, ge=1, description="exposure is valued anew at most this often")
    exit_patience_blocks: int = Field(
        default=64, ge=2, description="an exit of which nothing was heard for so long may be triggered again"
    )
    flagged_exit_attempts: int = Field(
        default=8, ge=1, le=1_000, description="exits of a flagged token that may come to nothing before it is kept"
    )
    approval_key_file: Path | None = Field(
        default=None, description="Ed25519 key (64 hex digits, mode 0600) that exits are sealed with for signers"
    )
    approval_valid_s: int = Field(
        default=1_800, ge=10, le=86_400, description="how long a sealed exit may be traded on, seconds of chain time"
    )
    max_block_age_ms: int = Field(default=60_000, ge=1_000, description="on older blocks nothing is valued or closed")
