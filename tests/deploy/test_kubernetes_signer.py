"""The overlay with a signer in the pod of each executor: who mounts what, and what that signer is asked and told."""

from __future__ import annotations

import pytest
from deployment import Object, accepted, named, pods, rendered

LANES = ("fast", "smart")
FILES = {"policy.toml", "keystore.json", "password", "bus-url"}


def pod(lane: str) -> Object:
    """The pod of a lane's executor."""
    found: Object = dict(pods(rendered("overlays/signer")))[f"{lane}-executor"]["spec"]
    return found


def container(lane: str, name: str) -> Object:
    """One of its containers."""
    every = [*pod(lane)["containers"], *pod(lane)["initContainers"]]
    (found,) = [one for one in every if one["name"] == name]
    return dict(found)


def mounts(lane: str, name: str) -> dict[str, bool]:
    """Volume to whether it can only be read."""
    return {mount["name"]: mount.get("readOnly", False) for mount in container(lane, name)["volumeMounts"]}


@pytest.mark.parametrize("lane", LANES)
def test_the_executor_reaches_the_socket_and_no_file_of_the_signer(lane: str) -> None:
    reached = {name: is_fixed for name, is_fixed in mounts(lane, "service").items() if name.startswith("signer")}
    assert reached == {"signer-sockets": True}
    given = {one["name"]: one.get("value") for one in container(lane, "service")["env"]}
    assert given[f"DEXLANE_{lane.upper()}_EXECUTOR_SIGNER_SOCKET"] == "/run/dexlane-signer/signer.sock"
    assert not [name for name in given if "KEY" in name]


@pytest.mark.parametrize("lane", LANES)
def test_the_signer_has_its_own_secret_and_a_record_that_outlives_the_pod(lane: str) -> None:
    volumes = {volume["name"]: volume for volume in pod(lane)["volumes"]}
    sources = [source["secret"] for source in volumes["signer-secret"]["projected"]["sources"]]
    assert [source["name"] for source in sources] == [f"dexlane-signer-{lane}", "dexlane-bus"]
    assert {item["path"] for source in sources for item in source["items"]} == FILES
    claim = volumes["signer-record"]["persistentVolumeClaim"]["claimName"]
    asked = named(rendered("overlays/signer"), "PersistentVolumeClaim")[claim]["spec"]
    assert asked["accessModes"] == ["ReadWriteOncePod"]
    claims = {one: pod(one)["volumes"] for one in LANES}
    assert sum(claim in str(found) for found in claims.values()) == 1


@pytest.mark.parametrize("lane", LANES)
def test_files_are_copied_to_memory_with_the_mode_that_the_signer_wants(lane: str) -> None:
    (copying,) = pod(lane)["initContainers"]
    command = copying["command"]
    assert command[:4] == ["install", "-m", "0600", "-t"]
    assert {place.removeprefix("/secret/") for place in command[5:]} == FILES
    volumes = {volume["name"]: volume for volume in pod(lane)["volumes"]}
    for name in ("signer-files", "signer-sockets"):
        assert volumes[name]["emptyDir"]["medium"] == "Memory"
    assert mounts(lane, "signer") == {"signer-files": True, "signer-sockets": False, "signer-record": False}
    assert copying["image"] == container(lane, "signer")["image"] == "dexlane/signer:0.1.0"


@pytest.mark.parametrize("lane", LANES)
def test_probes_ask_the_signer_that_runs(lane: str) -> None:
    signer = container(lane, "signer")
    assert signer["args"] == ["run", "/run/signer/policy.toml"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert signer[probe]["exec"]["command"] == ["dexlane-signer", "status", "/run/signer/policy.toml"]


@pytest.mark.parametrize("lane", LANES)
def test_the_executor_accepts_its_environment(lane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = container(lane, "service")
    maps = named(rendered("overlays/signer"), "ConfigMap")
    environment = dict(maps[service["envFrom"][0]["configMapRef"]["name"]]["data"])
    for variable in service["env"]:
        kept_secret = '{"1": "wss://node.example"}' if variable["name"].endswith("RPC_WS_URLS") else "secret"
        environment[variable["name"]] = variable.get("value", kept_secret)
    settings = accepted(f"{lane}-executor", environment, monkeypatch)
    assert str(vars(settings)["signer_socket"]) == "/run/dexlane-signer/signer.sock"


@pytest.mark.parametrize("service", ["risk-scorer", "portfolio", "gateway"])
def test_each_approver_has_its_own_key_and_nobody_elses(service: str) -> None:
    spec: Object = dict(pods(rendered("overlays/signer")))[service]["spec"]
    secrets = {one["secret"]["secretName"] for one in spec["volumes"] if "secret" in one}
    assert {name for name in secrets if "approval" in name} == {f"dexlane-approval-{service}"}
    given = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
    prefix = service.replace("-", "_").upper()
    assert given[f"DEXLANE_{prefix}_APPROVAL_KEY_FILE"] == "/run/approval/key"
    (copying,) = spec["initContainers"]
    assert copying["command"] == ["install", "-m", "0600", "-t", "/run/approval", "/secret/key"]
