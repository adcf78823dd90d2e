"""Settings of the gateway, from ``DEXLANE_GATEWAY_<FIELD>`` and the names all services share."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, model_validator

from dexlane.runtime.settings import REAL_MONEY_WORDS, MoneySettings, service_config
from dexlane.values.chains import Address

REMOTE_WORDS = "yes, behind TLS"
"""What must be written out before the gateway listens on anything but loopback."""

DEVNET_ACCOUNTS: dict[str, str] = {
    # Accounts 0 to 3 of the public development mnemonic. Everybody has their keys.
    "live-fast": "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
    "live-smart": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
    "spare-1": "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
    "spare-2": "0x90f79bf6eb2c4f870365e785982e1f101e93b906",
}
SERVICE_PORTS: dict[str, int] = {
    "market-feed": 7101,
    "risk-scorer": 7102,
    "fast-executor": 7103,
    "smart-executor": 7104,
    "gas-oracle": 7105,
    "portfolio": 7106,
    "paper-sim": 7107,
}


class Settings(MoneySettings):
    """What the gateway needs to know. Units stand in the names."""

    model_config = service_config("gateway")

    port: int = Field(default=8080, ge=0, le=65_535, description="port of the HTTP endpoints")
    allow_remote: str = Field(default="", description=f'"{REMOTE_WORDS}" to listen beyond loopback')
    public_hosts: tuple[str, ...] = Field(
        default=(), description="names under which a TLS proxy serves the gateway, as a JSON list"
    )
    network: Literal["devnet", "remote"] = Field(
        default="devnet",
        validation_alias=AliasChoices("network", "DEXLANE_NETWORK"),
        description="devnet, or remote for real chains",
    )
    live_trading_on_real_chains: str = Field(
        default="", description=f'"{REAL_MONEY_WORDS}" to allow live books where network is remote'
    )
    books_file: Path = Field(
        default=Path("books.toml"),
        validation_alias=AliasChoices("books_file", "DEXLANE_GATEWAY_BOOKS_FILE", "DEXLANE_BOOKS_FILE"),
        description="the books: who trades what, with how much, and within which limits",
    )
    live_accounts: dict[str, Address] = Field(
        default={}, description='addresses of named live accounts, as JSON: {"live-fast": "0x..."}; devnet: built in'
    )
    token_file: Path | None = Field(
        default=None, description="holds the token for writes; without it a new one is made at every start"
    )
    approval_key_file: Path | None = Field(
        default=None, description="Ed25519 key (64 hex digits, mode 0600) that manual exits are sealed with for signers"
    )
    approval_valid_s: int = Field(
        default=1_800, ge=10, le=86_400, description="how long a sealed exit may be traded on, seconds of chain time"
    )
    service_urls: dict[str, str] = Field(
        default={name: f"http://127.0.0.1:{port}" for name, port in SERVICE_PORTS.items()},
        description="where the other services answer /readyz, as JSON",
    )
    signer_control_sockets: tuple[Path, ...] = Field(
        default=(), description="control sockets of signers on this host, as a JSON list: halts reach them directly"
    )
    health_interval_ms: int = Field(
        default=2_000, ge=250, le=60_000, description="between two looks at the other services"
    )
    reads_per_minute: int = Field(default=600, ge=1, description="per client address")
    writes_per_minute: int = Field(default=10, ge=1, description="per client address")
    halts_per_minute: int = Field(default=60, ge=1, description="stopping must never wait behind other writes")
    stream_clients: int = Field(default=50, ge=1, le=1_000, description="live clients at once, at most")
    stream_clients_per_address: int = Field(default=25, ge=1, le=1_000, description="of them from one address, at most")
    stream_queue: int = Field(default=1_000, ge=10, le=100_000, description="messages kept for a slow client")
    archive_rows_per_event: int = Field(default=20_000, ge=100, description="events kept of each kind, at most")
    archive_decisions: int = Field(
        default=100_000, ge=100, description="decisions kept with their inputs, per chain; entries of the chain stay"
    )
    market_max_age_ms: int = Field(
        default=30_000, ge=0, le=3_600_000, description="older prices, depths and candles are refused"
    )
    archive_days: int = Field(default=90, ge=1, description="how long events are kept")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def roles(self) -> dict[str, str]:
        """Named live accounts: the given ones, and on the devnet its well-known ones."""
        built_in = DEVNET_ACCOUNTS if self.network == "devnet" else {}
        return {**built_in, **self.live_accounts}

    @model_validator(mode="after")
    def _not_open_to_the_world(self) -> Settings:
        if not self.is_loopback and self.allow_remote != REMOTE_WORDS:
            raise ValueError(
                f"{self.host} is reachable from other machines; keep 127.0.0.1, or put a TLS proxy in front and set "
                f'DEXLANE_GATEWAY_ALLOW_REMOTE="{REMOTE_WORDS}"'
            )
        if not self.is_loopback and not self.public_hosts:
            raise ValueError("beyond loopback DEXLANE_GATEWAY_PUBLIC_HOSTS must name the hosts that people use")
        return self
