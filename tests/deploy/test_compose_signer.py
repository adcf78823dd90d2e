"""The signer beside the executors: who has the keys, who reaches whom, and by which sockets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from deployment import DEPLOY, Object, accepted, compose, scripts

from dexlane_signer.settings import read_settings

EXECUTORS = ("fast-executor", "smart-executor")
APPROVERS = ("risk-scorer", "portfolio", "gateway")
SOCKETS = Path("/run/dexlane-signer")
FILE = DEPLOY / "compose" / "compose.signer.yaml"


def added(service: str) -> Object:
    """What the file adds to a service, or the service itself."""
    found: Object = compose("compose.signer.yaml")["services"][service]
    return found


def folders(service: str) -> dict[str, str]:
    """Mounted place to ``volume`` or ``volume:ro``."""
    parts = [mount.split(":", 2) for mount in added(service)["volumes"]]
    return {place: ":".join([volume, *mode]) for volume, place, *mode in parts}


def test_the_signer_is_hardened_and_no_core_of_it_is_written() -> None:
    signer = added("signer")
    assert signer["read_only"] is True
    assert signer["cap_drop"] == ["ALL"]
    assert signer["security_opt"] == ["no-new-privileges:true"]
    assert signer["user"] == "10001:10001"
    assert signer["ulimits"] == {"core": 0}
    assert signer["mem_limit"] == signer["memswap_limit"]
    assert "ports" not in signer


def test_the_signer_meets_the_bus_and_nobody_else() -> None:
    assert added("signer")["networks"] == ["bus"]
    assert compose("compose.signer.yaml")["networks"]["bus"] == {"internal": True}
    on_it = [
        name
        for name, service in compose("compose.signer.yaml")["services"].items()
        if "bus" in service.get("networks", [])
    ]
    assert sorted(on_it) == ["nats", "signer"]
    assert set(compose()["services"]["nats"]["networks"]) < set(added("nats")["networks"])


def test_keys_policy_and_record_are_the_signers_alone() -> None:
    own = {name for name in compose("compose.signer.yaml")["secrets"] if name.startswith("signer_")}
    assert set(added("signer")["secrets"]) == own
    for name, service in compose("compose.signer.yaml")["services"].items():
        if name != "signer":
            assert not own & set(service.get("secrets", []))
            assert not [mount for mount in service.get("volumes", []) if "record" in mount]
    assert folders("signer") == {"/run/dexlane-signer": "signer-sockets", "/var/lib/dexlane-signer": "signer-record"}


@pytest.mark.parametrize("service", [*EXECUTORS, "gateway"])
def test_askers_mount_the_sockets_and_cannot_replace_them(service: str) -> None:
    assert folders(service) == {str(SOCKETS): "signer-sockets:ro"}


@pytest.mark.parametrize("service", APPROVERS)
def test_who_approves_has_a_key_of_its_own_and_executors_have_none(service: str) -> None:
    name = service.replace("-", "_")
    assert added(service)["secrets"] == [f"approval_{name}"]
    place = added(service)["environment"][f"DEXLANE_{name.upper()}_APPROVAL_KEY_FILE"]
    assert place == f"/run/secrets/approval_{name}"
    for executor in EXECUTORS:
        assert "secrets" not in added(executor)
        assert not [given for given in added(executor)["environment"] if "KEY" in given]


@pytest.mark.parametrize("service", EXECUTORS)
def test_executors_wait_for_the_signer(service: str) -> None:
    assert added(service)["depends_on"] == {"signer": {"condition": "service_healthy"}}


@pytest.mark.parametrize("service", [*EXECUTORS, "gateway"])
def test_settings_are_accepted_and_name_the_sockets_of_the_example_policy(
    service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text((DEPLOY / "signer" / "policy.example.toml").read_text())
    policy.chmod(0o600)
    signer = read_settings(policy)
    filled = {"NODE_URLS": '{"1": "wss://node.example"}', "CHAINS": "1"}
    environment = {
        name: re.sub(r"\$\{([A-Z_]+)[^}]*\}", lambda match: filled.get(match.group(1), "secret"), str(value))
        for name, value in {**compose()["services"][service]["environment"], **added(service)["environment"]}.items()
    }
    settings = accepted(service, environment, monkeypatch)
    if service == "gateway":
        assert vars(settings)["signer_control_sockets"] == (signer.control_socket,)
    else:
        assert vars(settings)["signer_socket"] == signer.socket
    assert signer.asker_uids == signer.control_uids == {10001}


def test_the_example_policy_names_what_is_mounted() -> None:
    text = (DEPLOY / "signer" / "policy.example.toml").read_text()
    named = {Path(place).name for place in re.findall(r'"/run/secrets/([^"]+)"', text)}
    assert named | {"signer_policy"} == set(added("signer")["secrets"])
    assert 'data_dir = "/var/lib/dexlane-signer"' in text


def test_health_is_asked_with_the_command_that_the_image_holds() -> None:
    signer = added("signer")
    command = Path(signer["healthcheck"]["test"][1]).name
    assert scripts()[command] == signer["build"]["args"]["SERVICE"]
    assert signer["healthcheck"]["test"][3] == f"/run/secrets/{signer['secrets'][0]}" == signer["command"][1]


def test_volumes_begin_as_folders_of_the_images_user() -> None:
    made = re.search(r"install -d -o 10001 -g 10001 -m 0700 (.*)", (DEPLOY / "Dockerfile").read_text())
    assert made is not None
    assert set(folders("signer")) <= set(made.group(1).split())
