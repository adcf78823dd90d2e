"""Settings are read once, checked, and unknown names refuse the start."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from pydantic import Field

from dexlane.runtime.errors import Fatal, Misconfigured
from dexlane.runtime.settings import ChainSettings, MoneySettings, load_settings, service_config, unknown_settings
from dexlane.runtime.settings_help import take_no_arguments


class GasOracleSettings(ChainSettings):
    model_config = service_config("gas-oracle")
    port: int = 7105
    history_blocks: int = Field(default=20, ge=1)


class PortfolioSettings(MoneySettings):
    model_config = service_config("portfolio")
    port: int = 7106


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> GasOracleSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings(GasOracleSettings, environment)


def test_shared_and_own_names_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        DEXLANE_NATS_URL="nats://127.0.0.1:1",
        DEXLANE_CHAINS="1,8453",
        DEXLANE_RPC_WS_URLS='{"1": "ws://127.0.0.1:2"}',
        DEXLANE_GAS_ORACLE_HISTORY_BLOCKS="7",
        DEXLANE_GAS_ORACLE_PORT="9",
    )
    assert (settings.nats_url, settings.chains, settings.rpc_ws_urls) == (
        "nats://127.0.0.1:1",
        (1, 8453),
        {1: ("ws://127.0.0.1:2",)},
    )
    assert (settings.history_blocks, settings.port) == (7, 9)


def test_a_chain_has_one_node_or_several_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, DEXLANE_RPC_WS_URLS='{"1": ["ws://a", "ws://b"], "8453": "ws://c"}')
    assert settings.rpc_ws_urls == {1: ("ws://a", "ws://b"), 8453: ("ws://c",)}
    with pytest.raises(Fatal, match="rpc_ws_urls"):
        load(monkeypatch, DEXLANE_RPC_WS_URLS='{"1": []}')


def test_a_misspelt_name_refuses_the_start_and_the_nearest_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fatal, match=r"unknown setting DEXLANE_GAS_ORACLE_HISTORY_BLOKS; did you mean .*_BLOCKS"):
        load(monkeypatch, DEXLANE_GAS_ORACLE_HISTORY_BLOKS="7")
    with pytest.raises(Fatal, match="unknown setting DEXLANE_NATS_URI; did you mean DEXLANE_NATS_URL"):
        load(monkeypatch, DEXLANE_NATS_URI="x")


def test_names_of_other_services_are_left_to_them() -> None:
    assert unknown_settings(GasOracleSettings, {"DEXLANE_PORTFOLIO_ANYTHING": "1", "PATH": "x"}) == []
    assert unknown_settings(PortfolioSettings, {"DEXLANE_PORTFOLIO_ANYTHING": "1"}) != []


def test_an_impossible_value_is_one_sentence_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Fatal, match="history_blocks: Input should be greater than or equal to 1"):
        load(monkeypatch, DEXLANE_GAS_ORACLE_HISTORY_BLOCKS="0")


def test_a_database_url_with_a_password_is_never_printed() -> None:
    settings = PortfolioSettings(database_url="postgresql+asyncpg://u:topsecret@127.0.0.1/x")  # type: ignore[arg-type]
    assert "topsecret" not in repr(settings)
    assert settings.database("portfolio").endswith("/x")


def test_without_a_database_url_the_journal_is_a_file_in_the_data_folder() -> None:
    assert PortfolioSettings().database("portfolio").startswith("sqlite+aiosqlite:////")


def test_a_database_url_comes_from_a_mounted_file_and_is_never_printed(tmp_path: Path) -> None:
    mounted = tmp_path / "url"
    mounted.write_text("postgresql+asyncpg://u:topsecret@127.0.0.1/x\n")
    settings = PortfolioSettings(database_url_file=mounted)
    assert settings.database("portfolio") == "postgresql+asyncpg://u:topsecret@127.0.0.1/x"
    assert "topsecret" not in repr(settings)


def test_a_database_url_is_given_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "DEXLANE_PORTFOLIO_DATABASE_URL": "sqlite+aiosqlite:///x.db",
        "DEXLANE_PORTFOLIO_DATABASE_URL_FILE": str(tmp_path / "url"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Fatal, match="give database_url or database_url_file, not both"):
        load_settings(PortfolioSettings, environment)


@pytest.mark.parametrize(
    ("content", "why"), [(None, "cannot be read"), ("", "one database URL"), ("a b", "one database")]
)
def test_a_file_without_a_database_url_refuses_the_start(tmp_path: Path, content: str | None, why: str) -> None:
    mounted = tmp_path / "url"
    if content is not None:
        mounted.write_text(content)
    with pytest.raises(Misconfigured, match=why):
        PortfolioSettings(database_url_file=mounted).database("portfolio")


def test_help_says_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        take_no_arguments(GasOracleSettings, "The oracle.", ["--help"])
    said = capsys.readouterr().out
    assert left.value.code == 0
    assert "The oracle." in said
    assert "DEXLANE_GAS_ORACLE_HISTORY_BLOCKS  (20)" in said
    assert "DEXLANE_NATS_URL  (nats://127.0.0.1:14222)" in said
    assert said.index("DEXLANE_GAS_ORACLE_HISTORY_BLOCKS") < said.index("DEXLANE_NATS_URL"), (
        "a service's own come first"
    )


def test_a_service_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    take_no_arguments(GasOracleSettings, "The oracle.", [])
    with pytest.raises(SystemExit) as left:
        take_no_arguments(GasOracleSettings, "The oracle.", ["start"])
    assert left.value.code == 2
    assert "unrecognized arguments: start" in capsys.readouterr().err


def test_what_is_no_json_is_a_fault_of_the_settings_and_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEXLANE_RPC_WS_URLS", '{"1": "wss://node.example/secret-key')
    with pytest.raises(Misconfigured, match="rpc_ws_urls") as refused:
        load_settings(GasOracleSettings, {})
    assert "secret-key" not in "".join(traceback.format_exception(refused.value))
