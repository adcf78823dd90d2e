"""What the documents name exists: files, make targets, commands, settings, metrics' owners, services."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from house_rules import ROOT, SERVICES, package_of
from typer.main import get_command

from dexlane.runtime.settings import SHARED_NAMES
from dexlane_cli.main import app

DOCUMENTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md"))
    if path.name != "LICENSE"
) + sorted(ROOT.glob("services/*/README.md"))
every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAKE = re.compile(r"\bmake ([a-z][a-z-]*)")
COMMAND = re.compile(r"`(?:\.venv/bin/)?dexlane ([a-z]+)(?: |`)")
SETTING = re.compile(r"\bDEXLANE_[A-Z0-9_]*[A-Z0-9]\b")
MACHINE_PATH = re.compile(r"(?<![\w.$/~-])/(?:root|work|home)/")
TEXT_ENDINGS = {
    ".py",
    ".md",
    ".toml",
    ".yaml",
    ".yml",
    ".json",
    ".sh",
    ".conf",
    ".txt",
    ".css",
    ".js",
    ".html",
    ".lock",
}


def dead_links(path: Path, text: str) -> list[str]:
    """Relative links that lead nowhere, and anchors of headings that are not there."""
    dead = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file) if file else path
        if not there.exists() or (anchor and anchor not in anchors(there)):
            dead.append(target)
    return dead


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+?)\s*$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def unknown_targets(text: str) -> list[str]:
    """Targets named in code that the Makefile does not have."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [name for code in code_of(text) for name in MAKE.findall(code)]
    return [name for name in named if name not in targets]


def unknown_commands(text: str) -> list[str]:
    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    return [name for name in COMMAND.findall(text) if name not in known]


def code_of(text: str) -> Iterator[str]:
    """Fenced blocks and inline code."""
    yield from re.findall(r"```.*?```", text, re.DOTALL)
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def unknown_settings(text: str) -> list[str]:
    from importlib import import_module

    known = set(SHARED_NAMES)
    for service in SERVICES:
        settings = import_module(f"{package_of(service)}.settings").Settings
        known |= {f"DEXLANE_{service.upper().replace('-', '_')}_{field.upper()}" for field in settings.model_fields}
    prefixes = {f"DEXLANE_{service.upper().replace('-', '_')}" for service in SERVICES}
    return [name for name in SETTING.findall(text) if name not in known | prefixes]


@every_document
def test_links_lead_somewhere(path: Path) -> None:
    assert dead_links(path, path.read_text(encoding="utf-8")) == []


@every_document
def test_make_targets_exist(path: Path) -> None:
    assert unknown_targets(path.read_text(encoding="utf-8")) == []


@every_document
def test_commands_exist(path: Path) -> None:
    assert unknown_commands(path.read_text(encoding="utf-8")) == []


@every_document
def test_settings_exist(path: Path) -> None:
    assert unknown_settings(path.read_text(encoding="utf-8")) == []


def test_wrong_names_would_be_found() -> None:
    text = "[gone](gone.md) [no](STYLE.md#nowhere) `make gold` `dexlane win` DEXLANE_GATEWAY_LUCK"
    assert dead_links(ROOT / "docs" / "STYLE.md", text) == ["gone.md", "STYLE.md#nowhere"]
    assert unknown_targets(text) == ["gold"]
    assert unknown_commands(text) == ["win"]
    assert unknown_settings(text) == ["DEXLANE_GATEWAY_LUCK"]


def test_decisions_are_numbered_without_gaps_and_told_alike() -> None:
    found = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in found] == list(range(1, len(found) + 1))
    for path in found:
        headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives", "Enforced by"], path.name


def test_tests_that_enforce_decisions_exist() -> None:
    for path in (ROOT / "docs" / "adr").glob("*.md"):
        enforced = path.read_text(encoding="utf-8").rpartition("## Enforced by")[2]
        for name in re.findall(r"`((?:\.|libs|services|tests)[^`]*)`", enforced):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    found = [
        name
        for name in listed
        if Path(name).suffix in TEXT_ENDINGS
        and (ROOT / name).is_file()
        and MACHINE_PATH.search((ROOT / name).read_text(encoding="utf-8"))
    ]
    assert found == []


def test_machine_path_would_be_found() -> None:
    assert MACHINE_PATH.search("cd " + "/".join(("", "root", "dexlane")))
    assert not MACHINE_PATH.search("/var/lib/dexlane and https://example.org/" + "work/")
