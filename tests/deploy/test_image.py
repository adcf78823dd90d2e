"""The Dockerfile names what exists, in the words that older builders know."""

from __future__ import annotations

import re
import tomllib

from deployment import DEPLOY, ROOT, scripts

from dexlane.runtime.settings import SERVICES

TEXT = (DEPLOY / "Dockerfile").read_text()
STEPS = re.sub(r"\\\n", " ", TEXT)


def test_every_service_has_the_script_that_the_image_starts() -> None:
    assert "ARG COMMAND=dexlane-${SERVICE}" in TEXT
    for service in SERVICES:
        assert scripts()[f"dexlane-{service}"] == service
    assert scripts()["dexlane"] == "cli"


def test_every_member_can_be_the_service() -> None:
    for path in (*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")):
        assert tomllib.loads(path.read_text())["project"]["name"] == f"dexlane-{path.parent.name}"


def test_entry_point_is_the_link_that_the_build_made() -> None:
    assert 'ln -s "${COMMAND}" /opt/dexlane/bin/start' in STEPS
    assert 'ENTRYPOINT ["/opt/dexlane/bin/start"]' in TEXT


def test_versions_and_hashes_come_from_the_lock() -> None:
    installs = re.findall(r"uv pip install[^&]*", STEPS)
    assert len(installs) == 2
    assert all("--constraints requirements.lock" in install for install in installs)
    pinned = re.search(r"uv==([0-9.]+)", TEXT)
    assert pinned is not None
    assert f"UV_VERSION := {pinned.group(1)}" in (ROOT / "Makefile").read_text()


def test_builder_is_pinned_as_in_the_members() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    for path in ROOT.glob("services/*/pyproject.toml"):
        (builder,) = tomllib.loads(path.read_text())["build-system"]["requires"]
        assert f"\n{builder} " in lock


def test_process_is_nobody_in_particular() -> None:
    stages = TEXT.split("\nFROM ")
    assert re.search(r"^USER 10001:10001$", stages[-1], re.MULTILINE)
    assert stages[-1].index("USER") < stages[-1].index("ENTRYPOINT")


def test_health_is_asked_of_the_port_that_is_exposed() -> None:
    assert "HEALTH_PORT=${PORT}" in TEXT
    assert "EXPOSE ${PORT}" in TEXT
    assert "/healthz" in TEXT[TEXT.index("HEALTHCHECK") :]


def test_nothing_is_used_that_buildah_1_28_does_not_know() -> None:
    assert "<<" not in TEXT
    assert "--link" not in TEXT
    assert not re.search(r"^RUN .*--network", TEXT, re.MULTILINE)


def test_copied_folders_exist_and_are_not_ignored() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    for source in re.findall(r"^COPY (?!--from)(\S+) ", TEXT, re.MULTILINE):
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored
