"""Settings: read once from the environment, frozen, checked, printed with secrets hidden.

Settings that all services share are named ``DEXLANE_<FIELD>``; a service's own are ``DEXLANE_<SERVICE>_<FIELD>``.
A name that nobody knows refuses the start, because a misspelt limit must not be silently ignored.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic.functional_validators import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from dexlane.domain.breakers.policy import policies
from dexlane.runtime.errors import Misconfigured

SERVICES = (
    "market-feed",
    "risk-scorer",
    "fast-executor",
    "smart-executor",
    "gas-oracle",
    "portfolio",
    "paper-sim",
    "gateway",
)
REAL_MONEY_WORDS = "I accept that real money can be lost"
"""What must be written out before a live book may run on anything but the devnet."""


def _shared(name: str) -> AliasChoices:
    return AliasChoices(name, f"DEXLANE_{name.upper()}")


def _split(value: object) -> object:
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def service_config(service: str) -> SettingsConfigDict:
    """The pydantic-settings configuration of one service's settings class."""
    return SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=f"DEXLANE_{service.upper().replace('-', '_')}_",
        populate_by_name=True,
        validate_default=True,
    )


class ServiceSettings(BaseSettings):
    """What every service needs to know."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="DEXLANE_", populate_by_name=True)

    nats_url: str = Field(
        default="nats://127.0.0.1:14222", validation_alias=_shared("nats_url"), description="the message bus"
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:16379/0", validation_alias=_shared("redis_url"), description="the price cache"
    )
    realm: str = Field(
        default="main",
        pattern="^(main|replay-[a-z0-9-]{1,32})$",
        validation_alias=_shared("realm"),
        description="main, or the name of a replay, which has streams of its own",
    )
    chains: Annotated[tuple[int, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(1,), min_length=1, validation_alias=_shared("chains"), description="chain ids, for example 1,8453"
    )
    host: str = Field(default="127.0.0.1", description="address the HTTP endpoints listen on")
    port: int = Field(ge=0, le=65_535, description="port of the HTTP endpoints")
    data_dir: Path = Field(
        default=Path("var"), validation_alias=_shared("data_dir"), description="folder of journals and records"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", validation_alias=_shared("log_level"), description="DEBUG, INFO, WARNING or ERROR"
    )
    give_way_ms: int = Field(
        default=0,
        ge=0,
        le=1_000,
        description="pause after a silence before messages are handled: leaves a small machine to the fast lane",
    )
    otlp_endpoint: str | None = Field(
        default=None, validation_alias=_shared("otlp_endpoint"), description="OTLP/HTTP collector; off when not set"
    )
    trace_ratio: float = Field(
        default=0.1, ge=0, le=1, validation_alias=_shared("trace_ratio"), description="share of traces that are kept"
    )


def _as_list(urls: object) -> object:
    return (urls,) if isinstance(urls, str) else urls


NodeUrls = Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)]


class ChainSettings(ServiceSettings):
    """For services that talk to nodes."""

    rpc_ws_urls: dict[int, NodeUrls] = Field(
        default={1: ("ws://127.0.0.1:18545",)},
        validation_alias=_shared("rpc_ws_urls"),
        description="WebSocket URL of the node per chain id, or a list of them with the preferred one first, as JSON: "
        '{"1": ["wss://a...", "wss://b..."], "8453": "wss://c..."}',
    )
    network: Literal["devnet", "remote"] = Field(
        default="devnet", validation_alias=_shared("network"), description="devnet, or remote for real chains"
    )


class BreakerSettings(ServiceSettings):
    """For services with circuit breakers."""

    breakers: dict[str, dict[str, int | str]] = Field(
        default_factory=dict,
        validation_alias=_shared("breakers"),
        description="what replaces the defaults of circuit breakers, by kind and name, as JSON: "
        '{"losses": {"losses_in_a_row": 8, "open_ms": 3600000}}',
    )

    @model_validator(mode="after")
    def _breakers_can_work(self) -> Self:
        policies(self.breakers)
        return self


class MoneySettings(ServiceSettings):
    """For services that keep a journal."""

    database_url: SecretStr | None = Field(
        default=None, description="SQLAlchemy async URL; a file in data_dir by default"
    )
    database_url_file: Path | None = Field(
        default=None, description="mounted file that holds the URL instead, so that no environment shows its password"
    )

    @model_validator(mode="after")
    def _one_database(self) -> Self:
        if self.database_url is not None and self.database_url_file is not None:
            raise ValueError("give database_url or database_url_file, not both")
        return self

    def database(self, service: str) -> str:
        """The URL of this service's journal; ``Misconfigured`` when its file holds none."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        if self.database_url_file is not None:
            return _only_line(self.database_url_file)
        return f"sqlite+aiosqlite:///{self.data_dir.resolve() / service}.db"


def _only_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the database URL in {path} cannot be read: {error}") from error
    if len(lines) != 1:
        raise Misconfigured(f"{path} must hold one database URL and nothing else")
    return lines[0]


S = TypeVar("S", bound=ServiceSettings)


def _prefix(settings_type: type[ServiceSettings]) -> str:
    return str(settings_type.model_config.get("env_prefix", "DEXLANE_"))


def service_of(settings_type: type[ServiceSettings]) -> str:
    """The service that the settings are of, such as ``gas-oracle``."""
    return _prefix(settings_type).removeprefix("DEXLANE_").strip("_").lower().replace("_", "-")


def environment_names(settings_type: type[ServiceSettings]) -> dict[str, str]:
    """What each field is called in the environment."""
    prefix, names = _prefix(settings_type), {}
    for name, field in settings_type.model_fields.items():
        alias = field.validation_alias
        names[name] = str(alias.choices[1]) if isinstance(alias, AliasChoices) else f"{prefix}{name.upper()}"
    return names


SHARED_NAMES = frozenset(
    f"DEXLANE_{name}"
    for name in (
        *(
            "NATS_URL",
            "REDIS_URL",
            "REALM",
            "CHAINS",
            "DATA_DIR",
            "LOG_LEVEL",
            "OTLP_ENDPOINT",
            "TRACE_RATIO",
            "BREAKERS",
        ),
        *("RPC_WS_URLS", "NETWORK", "DATA", "CACHE", "ANVIL", "BOOKS_FILE"),
        *("TEST_NATS_URL", "TEST_REDIS_URL", "TEST_DATABASE_URL"),
    )
)
"""Names without a service prefix that some part of dexlane knows."""


def unknown_settings(settings_type: type[ServiceSettings], environment: Mapping[str, str]) -> list[str]:
    """Sentences about environment names that look like ours and that nobody knows, with the nearest known name."""
    own, prefix = set(environment_names(settings_type).values()), _prefix(settings_type)
    foreign = tuple(f"DEXLANE_{service.upper().replace('-', '_')}_" for service in SERVICES)
    sentences = []
    for name in sorted(environment):
        if not name.startswith("DEXLANE_") or name in own or name in SHARED_NAMES:
            continue
        if name.startswith(foreign) and not name.startswith(prefix):
            continue
        near = difflib.get_close_matches(name, [*own, *SHARED_NAMES], n=1)
        sentences.append(f"unknown setting {name}" + (f"; did you mean {near[0]}?" if near else ""))
    return sentences


def load_settings(settings_type: type[S], environment: Mapping[str, str]) -> S:
    """Read and check the settings; ``Misconfigured`` with one line per fault when they cannot work."""
    unknown = unknown_settings(settings_type, environment)
    if unknown:
        raise Misconfigured("; ".join(unknown))
    try:
        return settings_type()
    except ValidationError as error:
        faults = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise Misconfigured("settings: " + "; ".join(faults)) from error
    except SettingsError as error:
        raise Misconfigured(f"settings: {error}; it must be JSON") from None  # the cause would quote what was given
