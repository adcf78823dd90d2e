"""The rendered manifests are valid, and mean what they must mean."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from deployment import (
    DEPLOY,
    REPLICATED,
    SINGLE_WRITERS,
    Object,
    accepted,
    containers,
    default_port,
    named,
    pods,
    rendered,
    setting_names,
)

from dexlane.runtime.settings import SERVICES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kubernetes_validate

FOLDERS = ("base", "overlays/paper", "overlays/signer")
VERSIONS = ("1.32", kubernetes_validate.latest_version())
every_folder = pytest.mark.parametrize("folder", FOLDERS)


def of(folder: str) -> tuple[Object, ...]:
    return rendered(folder)


def ports_of(container: Object) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container.get("ports", [])}


def probes_of(container: Object) -> list[Object]:
    return [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in container]


def matches(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def secret_keys_in_the_readme() -> set[tuple[str, str]]:
    """(secret, key) of every ``kubectl create secret`` in the README."""
    found, secret = set(), ""
    for word in (DEPLOY / "k8s" / "README.md").read_text().replace("\\\n", " ").split():
        if word.startswith("dexlane-") and not word.startswith("dexlane-/"):
            secret = word
        if word.startswith(("--from-literal=", "--from-file=")):
            found.add((secret, word.split("=")[1]))
    return found


@every_folder
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_satisfies_the_schema(folder: str, version: str) -> None:
    for found in of(folder):
        kubernetes_validate.validate(found, version, strict=True)


def test_misspelt_field_would_be_found() -> None:
    (deployment,) = [found for found in of("base") if found["metadata"]["name"] == "portfolio"][:1]
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@every_folder
def test_all_services_are_deployed_under_their_names(folder: str) -> None:
    assert set(named(of(folder), "Deployment")) >= set(SERVICES)
    assert set(named(of(folder), "Service")) >= set(SERVICES)


@every_folder
def test_single_writers_are_recreated_one_at_a_time(folder: str) -> None:
    deployments = named(of(folder), "Deployment")
    for service in SINGLE_WRITERS:
        spec = deployments[service]["spec"]
        assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate"), service
    for service in REPLICATED:
        spec = deployments[service]["spec"]
        assert (spec["replicas"], spec["strategy"]["type"]) == (2, "RollingUpdate"), service


@every_folder
def test_ports_are_named_and_in_range(folder: str) -> None:
    for name, container in containers(of(folder)):
        for port in container.get("ports", []):
            assert port.get("name"), name
            assert 1 <= port["containerPort"] <= 65_535, name


@every_folder
def test_services_listen_where_their_settings_say(folder: str) -> None:
    for name, container in containers(of(folder)):
        if name in SERVICES:
            assert ports_of(container) == {"http": default_port(name)}


@every_folder
def test_probes_point_at_ports_that_exist(folder: str) -> None:
    for name, container in containers(of(folder)):
        for probe in probes_of(container):
            for kind in ("httpGet", "tcpSocket"):
                if kind in probe:
                    assert probe[kind]["port"] in ports_of(container), name


@every_folder
def test_services_are_alive_by_healthz_and_ready_by_readyz(folder: str) -> None:
    for name, container in containers(of(folder)):
        if name in SERVICES:
            paths = [probe["httpGet"]["path"] for probe in probes_of(container)]
            assert paths == ["/healthz", "/healthz", "/readyz"], name


@every_folder
def test_selectors_match_the_pods_they_mean(folder: str) -> None:
    templates = {name: pod["metadata"]["labels"] for name, pod in pods(of(folder))}
    for name, workload in {**named(of(folder), "Deployment"), **named(of(folder), "StatefulSet")}.items():
        assert matches(workload["spec"]["selector"]["matchLabels"], templates[name])
    for name, service in named(of(folder), "Service").items():
        chosen = [workload for workload, labels in templates.items() if matches(service["spec"]["selector"], labels)]
        assert chosen == [name]


@every_folder
def test_service_ports_lead_to_named_container_ports(folder: str) -> None:
    by_workload = {name: ports_of(container) for name, container in containers(of(folder))}
    for name, service in named(of(folder), "Service").items():
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in by_workload[name]


@every_folder
def test_config_maps_exist(folder: str) -> None:
    known = set(named(of(folder), "ConfigMap"))
    for name, pod in pods(of(folder)):
        volumes = [volume["configMap"]["name"] for volume in pod["spec"].get("volumes", []) if "configMap" in volume]
        sources = [
            source["configMapRef"]["name"]
            for container in pod["spec"]["containers"]
            for source in container.get("envFrom", [])
        ]
        assert {*volumes, *sources} <= known, name


@every_folder
def test_secrets_are_those_that_the_readme_makes(folder: str) -> None:
    assert not named(of(folder), "Secret"), "no secret belongs into the repository"
    used = set()
    for _, container in containers(of(folder)):
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                used.add((reference["name"], reference["key"]))
    for _, pod in pods(of(folder)):
        for volume in pod["spec"].get("volumes", []):
            secret = volume.get("secret", {})
            used |= {(secret["secretName"], item["key"]) for item in secret.get("items", [])}
            for source in volume.get("projected", {}).get("sources", []):
                used |= {(source["secret"]["name"], item["key"]) for item in source["secret"]["items"]}
    assert used <= secret_keys_in_the_readme()
    assert used


@every_folder
def test_database_urls_are_mounted_and_stand_in_no_environment(folder: str) -> None:
    keeping = {name for name, pod in pods(of(folder)) if pod["metadata"]["labels"].get("dexlane/journal") == "true"}
    assert keeping >= {"fast-executor", "smart-executor", "paper-sim", "portfolio", "gateway"}
    specs = {name: pod["spec"] for name, pod in pods(of(folder))}
    for name, container in containers(of(folder)):
        if name not in keeping:
            continue
        prefix = f"DEXLANE_{name.upper().replace('-', '_')}"
        given = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        assert f"{prefix}_DATABASE_URL" not in given
        (mount,) = [one for one in container["volumeMounts"] if one["name"] == "database"]
        (volume,) = [one for one in specs[name]["volumes"] if one["name"] == "database"]
        (item,) = volume["secret"]["items"]
        assert item["key"] == f"{name}-url"
        assert given[f"{prefix}_DATABASE_URL_FILE"] == f"{mount['mountPath']}/{item['path']}"


@every_folder
def test_every_setting_is_known_to_its_service(folder: str) -> None:
    maps = named(of(folder), "ConfigMap")
    for name, container in containers(of(folder)):
        if name not in SERVICES:
            continue
        given = {variable["name"] for variable in container["env"]}
        for source in container["envFrom"]:
            given |= set(maps[source["configMapRef"]["name"]]["data"])
        assert given <= setting_names(name), given - setting_names(name)
        assert f"DEXLANE_{name.upper().replace('-', '_')}_HOST" in given


@every_folder
def test_volume_mounts_have_volumes(folder: str) -> None:
    claims = {
        name: {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        for name, workload in named(of(folder), "StatefulSet").items()
    }
    for name, pod in pods(of(folder)):
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])} | claims.get(name, set())
        all_containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        mounts = {mount["name"] for container in all_containers for mount in container.get("volumeMounts", [])}
        assert mounts == volumes, name


@every_folder
def test_pods_are_restricted(folder: str) -> None:
    (namespace,) = named(of(folder), "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in pods(of(folder)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0, name
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            own: dict[str, Any] = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name
            assert ":" in container["image"], name


@every_folder
def test_traffic_is_denied_unless_it_is_named(folder: str) -> None:
    policies = named(of(folder), "NetworkPolicy")
    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    labels = [pod["metadata"]["labels"] for _, pod in pods(of(folder))]
    for name, policy in policies.items():
        selector = policy["spec"]["podSelector"].get("matchLabels", {})
        assert any(matches(selector, found) for found in labels), f"{name} chooses no pod"


def test_only_services_that_talk_to_nodes_receive_their_addresses() -> None:
    with_url = {
        name
        for name, container in containers(of("base"))
        if any(variable["name"] == "DEXLANE_RPC_WS_URLS" for variable in container.get("env", []))
    }
    with_label = {name for name, pod in pods(of("base")) if pod["metadata"]["labels"].get("dexlane/node") == "true"}
    assert with_url == with_label
    assert "paper-sim" not in with_url


@every_folder
def test_nothing_can_sign(folder: str) -> None:
    for name, container in containers(of(folder)):
        names = {variable["name"] for variable in container.get("env", [])}
        if folder == "overlays/signer":  # an approver's key signs verdicts or exits, and no transaction
            names -= {f"DEXLANE_{name.replace('-', '_').upper()}_APPROVAL_KEY_FILE"}
        assert not [given for given in names if "KEY" in given or "LIVE_TRADING" in given], name


@every_folder
def test_everything_is_in_one_namespace(folder: str) -> None:
    for found in of(folder):
        assert found["kind"] == "Namespace" or found["metadata"]["namespace"] == "dexlane"


@pytest.mark.parametrize("service", SERVICES)
def test_settings_are_accepted_by_the_service(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = of("overlays/paper")
    (container,) = [container for name, container in containers(objects) if name == service]
    maps = named(objects, "ConfigMap")
    environment = dict(maps[container["envFrom"][0]["configMapRef"]["name"]]["data"])
    for variable in container["env"]:
        kept_secret = '{"1": "wss://node.example"}' if variable["name"].endswith("RPC_WS_URLS") else "secret"
        environment[variable["name"]] = variable.get("value", kept_secret)
    settings = accepted(service, environment, monkeypatch)
    assert (settings.host, settings.port) == ("0.0.0.0", default_port(service))


def test_a_start_opens_no_record_to_the_group() -> None:
    """By default every start makes the files of a volume writable for its group; the signer refuses such a record."""
    specs = [pod["spec"] for _, pod in pods(of("overlays/signer"))]
    signing = [spec for spec in specs if any(container["name"] == "signer" for container in spec["containers"])]
    assert len(signing) == 2
    for spec in signing:
        assert spec["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"
