"""The compose file is valid, and mounts, publishes and sets only what it may."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deployment import DEPLOY, accepted, compose, default_port, scripts, setting_names

from dexlane.runtime.books_file import load_books
from dexlane.runtime.settings import SERVICES
from dexlane.values.books import Mode

HERE = DEPLOY / "compose"
CHECKER = Path(sys.executable).parent / "check-jsonschema"


@pytest.mark.parametrize("file", ["compose.yaml", "compose.signer.yaml"])
def test_compose_file_satisfies_the_compose_specification(file: str) -> None:
    command = [str(CHECKER), "--builtin-schema", "vendor.compose-spec", str(HERE / file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_all_eight_services_run() -> None:
    assert set(SERVICES) <= set(compose()["services"])


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_known_to_its_service(service: str) -> None:
    given = set(compose()["services"][service]["environment"])
    assert given <= setting_names(service), given - setting_names(service)


@pytest.mark.parametrize("service", SERVICES)
def test_image_is_built_for_the_service_and_its_port(service: str) -> None:
    build = compose()["services"][service]["build"]
    assert build["args"] == {"SERVICE": service, "PORT": str(default_port(service))}
    assert (HERE / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


def test_every_container_is_hardened() -> None:
    for name, service in compose()["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in compose()["services"].values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_only_services_that_talk_to_nodes_and_pages_have_a_way_out() -> None:
    out = {name for name, service in compose()["services"].items() if "outside" in service["networks"]}
    nodes = {
        name
        for name, service in compose()["services"].items()
        if "DEXLANE_RPC_WS_URLS" in service.get("environment", {})
    }
    assert out == nodes | {"gateway", "prometheus", "grafana"}
    assert compose()["networks"]["inside"]["internal"] is True


def test_every_dependency_that_must_be_healthy_has_a_health_check() -> None:
    services = compose()["services"]
    for name, service in services.items():
        needs = service.get("depends_on", {})
        for other, how in needs.items() if isinstance(needs, dict) else ():
            assert other in services, name
            if how["condition"] == "service_healthy":
                assert "test" in services[other]["healthcheck"], other


def test_no_secret_is_written_in_the_file() -> None:
    text = (HERE / "compose.yaml").read_text()
    for name in ("BUS_PASSWORD", "NODE_URLS"):
        assert set(re.findall(r"\$\{" + name + "([^}]*)\\}", text)) == {":?set it in .env"}
    # A read-only container takes no secret from the environment, only files.
    assert compose()["secrets"] == {name: {"file": f"secrets/{name}"} for name in compose()["secrets"]}
    assert {".env", "secrets/"} <= set((HERE / ".gitignore").read_text().split())


def test_secrets_are_those_that_the_command_makes_and_they_stay_as_they_are(tmp_path: Path) -> None:
    command = shutil.copy(HERE / "make-secrets.sh", tmp_path)
    subprocess.run(["sh", command], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert set(made) == set(compose()["secrets"])
    url = f"postgresql+asyncpg://portfolio:{made['services_password'].strip()}@postgres:5432/portfolio\n"
    assert made["portfolio_database_url"] == url
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    subprocess.run(["sh", command], check=True)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == made


def test_services_read_their_database_url_from_the_secret_they_mount() -> None:
    services = compose()["services"]
    for service in ("fast-executor", "smart-executor", "paper-sim", "portfolio", "gateway"):
        (secret,) = services[service]["secrets"]
        prefix = service.upper().replace("-", "_")
        given = services[service]["environment"]
        assert given[f"DEXLANE_{prefix}_DATABASE_URL_FILE"] == f"/run/secrets/{secret}"
        assert f"DEXLANE_{prefix}_DATABASE_URL" not in given
    used = {secret for service in services.values() for secret in service.get("secrets", [])}
    assert used == set(compose()["secrets"])


def test_example_environment_names_everything_that_is_used() -> None:
    text = (HERE / "compose.yaml").read_text()
    used = set(re.findall(r"\$\{([A-Z_]+)", text))
    named = set(re.findall(r"^([A-Z_]+)=", (HERE / ".env.example").read_text(), re.MULTILINE))
    assert named == used


def test_mounted_files_exist() -> None:
    for name, service in compose()["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert source in compose()["volumes"] or (HERE / source).exists(), f"{name}: {source}"


def test_no_key_is_mounted_and_every_book_is_a_paper_book() -> None:
    for service in compose()["services"].values():
        assert not [name for name in service.get("environment", {}) if "KEY" in name or "LIVE" in name]
    books = load_books(DEPLOY / "books" / "books.paper.toml", roles={}).books
    assert {book.mode for book in books} == {Mode.PAPER}


def test_streams_are_declared_by_a_command_that_exists() -> None:
    streams = compose()["services"]["streams"]
    assert scripts()[streams["build"]["args"]["COMMAND"]] == streams["build"]["args"]["SERVICE"]
    done = subprocess.run(
        [Path(sys.executable).parent / "dexlane", *streams["command"], "--help"], check=False, capture_output=True
    )
    assert done.returncode == 0


@pytest.mark.parametrize("service", SERVICES)
def test_settings_are_accepted_by_the_service(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filled = {"NODE_URLS": '{"1": "wss://node.example"}', "CHAINS": "1"}
    environment = {
        name: re.sub(r"\$\{([A-Z_]+)[^}]*\}", lambda match: filled.get(match.group(1), "secret"), str(value))
        for name, value in compose()["services"][service]["environment"].items()
    }
    settings = accepted(service, environment, monkeypatch)
    assert (settings.host, settings.port) == ("0.0.0.0", default_port(service))
