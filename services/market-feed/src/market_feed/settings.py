"""Settings of the market feed: nodes, watched pools, and when silence is an alarm."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from dexlane.chain.deployments import singletons
from dexlane.chain.factories import FACTORIES, Factory
from dexlane.chain.pool_loading import WatchedPool
from dexlane.runtime.settings import BreakerSettings, ChainSettings, service_config
from dexlane.values.amounts import Amount
from dexlane.values.chains import Address
from dexlane.values.pools import Protocol

DEFAULT_POOLS: dict[int, tuple[WatchedPool, ...]] = {
    1: (
        WatchedPool(address="0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640", protocol=Protocol.UNISWAP_V3),
        WatchedPool(address="0x8ad599c3a0ff1de082011efddc58f1908eb6e6d8", protocol=Protocol.UNISWAP_V3),
        WatchedPool(address="0xb4e16d0168e52d35cacd2c6185b44281ec28c9dc", protocol=Protocol.UNISWAP_V2),
    ),
    8_453: (
        WatchedPool(address="0xd0b53d9277642d899df5c87a3966a349a798f224", protocol=Protocol.UNISWAP_V3),
        WatchedPool(address="0x6c561b446416e1a00e8e93e221854d6ea4171372", protocol=Protocol.UNISWAP_V3),
        WatchedPool(address="0x88a43bbdf9d098eec7bceda4e2494615dfd9bb9c", protocol=Protocol.UNISWAP_V2),
    ),
}
"""USDC/WETH on Ethereum and on Base: V3 at 0.05 % and 0.3 %, V2. The devnet has them at the same addresses."""

DEFAULT_QUOTE_TOKENS: dict[int, str] = {
    1: "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48",
    8_453: "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913",
}
"""Native USDC."""

DEFAULT_STRATEGIES: dict[str, dict[str, Any]] = {
    "price_gap": {"min_profit": "3000000", "max_size": "100000000000"},
    "momentum": {"size": "2000000000", "breakout_bps": 20},
}
"""A gap counts from 3 USDC gain before gas and is sized up to 100,000 USDC; a breakout of 0.2 % in 20 blocks buys for
2,000 USDC."""


class Settings(ChainSettings, BreakerSettings):
    """``DEXLANE_MARKET_FEED_*``."""

    model_config = service_config("market-feed")

    port: int = Field(default=7101, ge=0, le=65_535, description="port of the HTTP endpoints")
    pools: dict[int, tuple[WatchedPool, ...]] = Field(
        default=DEFAULT_POOLS,
        description='pools per chain id, as JSON: {"1": [{"address": "0x...", "protocol": "uniswap_v3"}]}',
    )
    quote_tokens: dict[int, Address] = Field(
        default=DEFAULT_QUOTE_TOKENS, description="the token that strategies count in, per chain id, as JSON"
    )
    strategies: dict[str, dict[str, Any]] = Field(
        default=DEFAULT_STRATEGIES,
        description="strategies to run with their parameters, as JSON; amounts in smallest quote units",
    )
    head_silence_s: float = Field(default=30.0, gt=0, le=3_600, description="without a head for so long: reconnect")
    head_max_age_s: float = Field(default=30.0, gt=0, le=3_600, description="without a block for so long: not ready")
    call_timeout_s: float = Field(default=10.0, gt=0, le=120, description="a provider's time to answer a call")
    pending_transactions: dict[int, Literal["full", "hashes"]] = Field(
        default={},
        description='chains whose pending transactions are listened to, as JSON: {"1": "full"} asks for whole '
        'transactions, {"1": "hashes"} looks each one up',
    )
    provider_max_lag_blocks: int = Field(
        default=3, ge=1, le=1_000, description="so far behind the others for three seconds: another provider is used"
    )
    provider_settle_s: float = Field(
        default=30.0, ge=0, le=3_600, description="a preferred provider is used again after being well for so long"
    )
    provider_cool_down_s: float = Field(
        default=60.0, gt=0, le=3_600, description="a provider that lied is left alone for so long, then twice as long"
    )
    audit_every_blocks: int = Field(
        default=16, ge=1, le=10_000, description="one block in so many is compared with its receipts root"
    )
    lease_ttl_s: float = Field(
        default=3.0, ge=0.5, le=60, description="a writer that died is followed by its standby after so long"
    )
    tripwire_every_s: float = Field(
        default=15.0, gt=0, le=3_600, description="so often one pool is compared with the chain, each in turn"
    )
    tripwire_confirmations: int = Field(
        default=8, ge=0, le=1_024, description="at the block so far below the head; 0: at the finalized one"
    )
    snapshot_every_blocks: int = Field(
        default=32, ge=1, le=1_024, description="between two full states of the pools, from which others begin"
    )
    undo_depth_blocks: int = Field(default=128, ge=1, le=4_096, description="deepest reorganisation that is followed")
    backfill_max_blocks: int = Field(default=256, ge=1, le=10_000, description="a longer gap begins from a snapshot")

    discovery: bool = Field(default=True, description="look for new pools of the factories")
    factories: dict[int, tuple[Factory, ...]] = Field(
        default=dict(FACTORIES),
        description='factories per chain id, as JSON: {"1": [{"address": "0x...", "protocol": "uniswap_v2"}]}',
    )
    discovered_pools_max: int = Field(default=200, ge=0, le=20_000, description="the deepest so many, per chain")
    enter_depth: Amount = Field(
        default=5_000 * 10**6, gt=0, description="quote units within 2 % of the price at which a new pool is watched"
    )
    leave_depth: Amount = Field(default=500 * 10**6, description="below so much it is watched no longer")
    blocked_file: Path | None = Field(default=None, description="addresses of tokens and pools never to watch")
    allowed_file: Path | None = Field(default=None, description="with it, only its tokens and pools are watched")
    token_lists: tuple[str, ...] = Field(
        default=(), description="token lists in Uniswap's schema: paths or http(s) addresses, as a JSON list"
    )
    listed_tokens_only: bool = Field(default=False, description="watch only pools whose tokens the token lists name")

    @model_validator(mode="after")
    def _every_chain_is_served(self) -> Settings:
        for chain in self.chains:
            if chain not in self.rpc_ws_urls:
                raise ValueError(f"chain {chain} has no node; add it to DEXLANE_RPC_WS_URLS")
            if not self.pools.get(chain):
                raise ValueError(f"chain {chain} has no pools; add some to DEXLANE_MARKET_FEED_POOLS")
            if chain not in self.quote_tokens:
                raise ValueError(f"chain {chain} has no quote token; add it to DEXLANE_MARKET_FEED_QUOTE_TOKENS")
            for factory in self.factories.get(chain, ()):
                if factory.protocol is Protocol.UNISWAP_V4 and factory.address not in singletons(chain):
                    raise ValueError(f"{factory.address} is not the manager of Uniswap V4 that chain {chain} has")
        if self.leave_depth > self.enter_depth:
            raise ValueError("a pool cannot leave at more depth than it enters at")
        if self.listed_tokens_only and not self.token_lists:
            raise ValueError("only listed tokens are wanted, but DEXLANE_MARKET_FEED_TOKEN_LISTS names no list")
        return self
