"""What both executors can be told. Each service adds its name and port."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from dexlane.chain.execution.keys import KeyFiles, SigningRules
from dexlane.chain.relays.catalogue import RelaySpec, named
from dexlane.domain.relay_holds import RacePolicy
from dexlane.domain.send_values import SendPolicy
from dexlane.runtime.sealing import read_approvers
from dexlane.runtime.settings import BreakerSettings, ChainSettings, MoneySettings
from dexlane.values.chains import Address


class ExecutorSettings(ChainSettings, MoneySettings, BreakerSettings):
    """Keys, safety and patience of an executor. Without any live book no key is read."""

    private_keys_file: Path | None = Field(
        default=None, description="JSON of address to hex key with mode 0600: for the devnet's public test keys"
    )
    keystore_files: tuple[Path, ...] = Field(default=(), description="Web3 Secret Storage files, as a JSON list")
    keystore_password_file: Path | None = Field(default=None, description="file with their password, mode 0600")
    signer_socket: Path | None = Field(
        default=None, description="socket of dexlane-signer; then no key is read here. Needed on a real chain"
    )
    signer_control_dir: Path | None = Field(
        default=None, description="folder for the control sockets of a signer in this process, one a chain"
    )
    live_trading_on_real_chains: str = Field(
        default="", description="the exact words that allow live books on anything but the devnet"
    )
    confirmations: int = Field(default=2, ge=1, le=128, description="blocks until a transaction counts as final")
    finality: Literal["auto", "confirmations", "finalized"] = Field(
        default="auto",
        description="whether the chain's finalized block must have come as well; auto: not on the devnet",
    )
    bump_after_blocks: int = Field(
        default=2, ge=1, le=100, description="a transaction that waits so long is replaced by a dearer one"
    )
    bump_percent: int = Field(default=13, ge=13, le=100, description="rise of both fee fields of a replacement")
    max_fee_per_gas_gwei: int = Field(default=500, ge=1, description="the signer refuses trades above it")
    allowance_factor: int = Field(default=20, ge=1, le=1_000, description="allowance to Permit2 in lane capitals")
    max_gas_cost_gwei: int = Field(default=10**9, ge=1, description="most that the gas of one transaction may cost")
    compliance_file: Path | None = Field(
        default=None, description="TOML: accounts that alone may trade, where the file lists any; as for risk-scorer"
    )
    approver_keys_file: Path | None = Field(
        default=None,
        description="JSON of service to Ed25519 public key; with it the signer denies trades that nobody approved",
    )
    capitals_per_hour: int | None = Field(
        default=None, ge=1, description="most that entries pay in any hour, in lane capitals; not limited when left out"
    )
    capitals_per_day: int | None = Field(default=None, ge=1, description="the same in any 24 hours")
    gas_gwei_per_hour: int | None = Field(
        default=None, ge=1, description="most gas that is signed for in any hour; not limited when left out"
    )
    gas_gwei_per_day: int | None = Field(default=None, ge=1, description="the same in any 24 hours")
    transfer_taxes: dict[int, dict[Address, int]] = Field(
        default_factory=dict, description="what tokens keep of a transfer, in basis points, by chain and token"
    )
    max_state_age_ms: int = Field(default=15_000, ge=100, description="older pool states are not traded on")
    max_fee_age_blocks: int = Field(default=2, ge=0, le=50, description="older fee quotes are not planned with")
    lease_ttl_s: float = Field(
        default=3.0, ge=0.5, le=60, description="an instance that died is followed by its standby after so long"
    )
    min_free_disk_mb: int = Field(
        default=512, ge=0, description="below it nothing new is begun; the rest is kept for exits and what is open"
    )

    relays: dict[int, tuple[str | RelaySpec, ...]] = Field(
        default_factory=dict,
        description="private relays by chain, by name or described; without them nothing is sent privately",
    )
    relay_auth_key_file: Path | None = Field(
        default=None, description="key that relays know us by, 64 hex digits, mode 0600; it must hold no money"
    )
    relays_at_once: int = Field(default=2, ge=1, le=16, description="relays that are given the same bytes at once")
    relay_widen_after_blocks: int = Field(
        default=2, ge=1, le=100, description="one relay more for every so many blocks without inclusion"
    )
    relay_lie_after_blocks: int = Field(
        default=10, ge=1, le=1_000, description="blocks without what it said that it has, after which a relay lied"
    )

    @model_validator(mode="after")
    def _relays_are_known(self) -> Self:
        for chain_id, names in self.relays.items():
            for spec in named(chain_id, names):
                if self.network == "devnet" and not spec.is_loopback:
                    raise ValueError(f"relay {spec.name} is not on this machine; nothing of the devnet leaves it")
                if spec.is_signed and self.relay_auth_key_file is None:
                    raise ValueError(f"requests to relay {spec.name} are signed: set relay_auth_key_file")
        return self

    @model_validator(mode="after")
    def _keys_are_complete(self) -> Self:
        if self.keystore_files and self.keystore_password_file is None:
            raise ValueError("keystore_files need keystore_password_file")
        if self.signer_socket is not None and (self.keystore_files or self.private_keys_file is not None):
            raise ValueError("with signer_socket the keys lie with the signer; take the key files away from here")
        missing = [chain for chain in self.chains if chain not in self.rpc_ws_urls]
        if missing:
            raise ValueError(f"rpc_ws_urls names no node for chain {missing[0]}")
        return self

    def key_files(self) -> KeyFiles:
        """Where the keys lie."""
        return KeyFiles(
            plain=self.private_keys_file, keystores=self.keystore_files, password=self.keystore_password_file
        )

    def control_path(self, service: str, chain_id: int) -> Path | None:
        """The control socket of the signer in this process; None when it has none."""
        folder = self.signer_control_dir
        return None if folder is None or self.signer_socket is not None else folder / f"{service}-{chain_id}.sock"

    def signing_rules(self) -> SigningRules:
        """Bounds of the signer."""
        return SigningRules(
            max_fee_per_gas_wei=self.max_fee_per_gas_gwei * 10**9,
            allowance_factor=self.allowance_factor,
            max_cost_wei=self.max_gas_cost_gwei * 10**9,
            capitals_per_hour=self.capitals_per_hour,
            capitals_per_day=self.capitals_per_day,
            gas_wei_per_hour=_wei(self.gas_gwei_per_hour),
            gas_wei_per_day=_wei(self.gas_gwei_per_day),
            approvers=read_approvers(self.approver_keys_file),
        )

    def race_policy(self) -> RacePolicy:
        """How relays are raced."""
        return RacePolicy(
            at_once=self.relays_at_once,
            widen_after_blocks=self.relay_widen_after_blocks,
            lie_after_blocks=self.relay_lie_after_blocks,
        )

    def send_policy(self) -> SendPolicy:
        """How transactions are brought home. A cancel may pay a quarter more than the dearest trade."""
        return SendPolicy(
            confirmations=self.confirmations,
            needs_finalized=self.finality == "finalized" or (self.finality == "auto" and self.network != "devnet"),
            bump_after_blocks=self.bump_after_blocks,
            bump_percent=self.bump_percent,
            cancel_fee_cap_wei=self.max_fee_per_gas_gwei * 10**9 * 5 // 4,
        )


def _wei(gwei: int | None) -> int | None:
    return None if gwei is None else gwei * 10**9
