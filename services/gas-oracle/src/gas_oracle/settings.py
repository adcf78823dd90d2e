"""Settings of the gas oracle."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from pydantic import Field, model_validator

from dexlane.domain.fee_limits import FeeCeilings, usual_ceilings
from dexlane.domain.fees import GWEI, FeeWindows
from dexlane.events.breakers import BreakerKind
from dexlane.runtime.settings import BreakerSettings, ChainSettings, service_config
from dexlane.values.base import Value


class CeilingSettings(Value):
    """What differs from the usual ceilings of a chain. Prices in gwei per gas, base fee and balanced tip together."""

    warn_gwei: Decimal | None = Field(default=None, gt=0)
    block_gwei: Decimal | None = Field(default=None, gt=0)
    stop_gwei: Decimal | None = Field(default=None, gt=0)
    spike_percent: int | None = Field(default=None, ge=1)
    spike_blocks: int | None = Field(default=None, ge=1, le=200)

    def applied_to(self, usual: FeeCeilings) -> FeeCeilings:
        """The ceilings; ``ValueError`` when they do not rise."""
        changed = {f"{name}_wei": getattr(self, f"{name}_gwei") for name in ("warn", "block", "stop")}
        prices = {name: int(gwei * GWEI) for name, gwei in changed.items() if gwei is not None}
        spike = {"spike_percent": self.spike_percent, "spike_blocks": self.spike_blocks}
        return replace(usual, **prices, **{name: value for name, value in spike.items() if value is not None})


class Settings(ChainSettings, BreakerSettings):
    """``DEXLANE_GAS_ORACLE_*``."""

    model_config = service_config("gas-oracle")

    port: int = Field(default=7105, ge=0, le=65_535, description="port of the HTTP endpoints")
    window_blocks: int = Field(default=20, ge=1, le=1_024, description="blocks whose tips the tiers look at")
    tip_blocks: int = Field(default=100, ge=1, le=1_024, description="blocks whose tips those by deadline look at")
    base_fee_blocks: int = Field(default=200, ge=1, le=1_024, description="blocks whose base fees timing looks at")
    inclusion_probability_bps: int = Field(
        default=9_500, gt=0, lt=10_000, description="how sure the tips by deadline are"
    )
    history_timeout_s: float = Field(default=2.0, gt=0, le=30, description="the node's time to answer eth_feeHistory")
    quote_max_age_s: float = Field(default=30.0, gt=0, le=3_600, description="without a quote for so long: not ready")
    fee_ceilings: dict[int, CeilingSettings] = Field(
        default_factory=dict, description="ceilings on the price of gas by chain, where they are not the usual ones"
    )

    @model_validator(mode="after")
    def _every_chain_is_served(self) -> Settings:
        for chain in self.chains:
            if chain not in self.rpc_ws_urls:
                raise ValueError(f"chain {chain} has no node; add it to DEXLANE_RPC_WS_URLS")
            self.ceilings_of(chain)
        return self

    @model_validator(mode="after")
    def _the_limit_is_the_ceiling(self) -> Settings:
        if "fee_per_gas_wei" in self.breakers.get(BreakerKind.GAS, {}):
            raise ValueError("the gas breaker opens at block_gwei of DEXLANE_GAS_ORACLE_FEE_CEILINGS; set it there")
        return self

    def ceilings_of(self, chain_id: int) -> FeeCeilings:
        """The ceilings of a chain."""
        return self.fee_ceilings.get(chain_id, CeilingSettings()).applied_to(usual_ceilings(chain_id))

    @property
    def fee_windows(self) -> FeeWindows:
        """How far back is looked."""
        return FeeWindows(
            tip_blocks=self.tip_blocks, base_fee_blocks=self.base_fee_blocks, tier_blocks=self.window_blocks
        )
