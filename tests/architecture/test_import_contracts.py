"""The import contracts hold, and each of them breaks on a planted import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from house_rules import LIBRARIES, ROOT, SERVICES, package_of

CONTRACTS = ROOT / ".importlinter"
LINTER = Path(sys.executable).parent / "lint-imports"
PLANTED = {
    "layers": ("dexlane/domain/planted.py", "from dexlane.runtime import present"),
    "exhaustive": ("dexlane/drawer/__init__.py", ""),
    "test-kit": ("gateway/planted.py", "from dexlane.testing import present"),
    "pure": ("dexlane/events/planted.py", "import time"),
    "services": ("gateway/planted.py", "from portfolio import present"),
    "keys": ("dexlane/runtime/planted.py", "from dexlane_signer import present"),
    "execution": ("market_feed/planted.py", "from dexlane.chain.execution import present"),
    "paper": ("paper_sim/planted.py", "from dexlane.chain import present"),
    "fork-server": ("dexlane_cli/shared_imports.py", "import dexlane.runtime.sealing"),
    "signer": ("dexlane_signer/planted.py", "import pydantic"),
    "devnet": ("dexlane_devnet/planted.py", "from dexlane.values import present"),
}
"""Contract to a file that breaks it. ``exhaustive`` is part of the contract ``layers``."""


def contracts() -> ConfigParser:
    parser = ConfigParser()
    parser.read(CONTRACTS)
    return parser


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [str(LINTER), "--config", ".importlinter", "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


@pytest.fixture
def miniature(tmp_path: Path) -> Path:
    """Empty packages with the names of ours, under the real contracts."""
    packages = contracts()["importlinter"]["root_packages"].split()
    layers = ("values", "events", "domain", "runtime", "chain", "chain/execution", "testing")
    for folder in (*packages, *(f"dexlane/{layer}" for layer in layers)):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "__init__.py").write_text("present = True\n")
    (tmp_path / "dexlane" / "__init__.py").write_text("")
    for module in ("dexlane/runtime/sealing", "dexlane_cli/fork_server", "dexlane_cli/shared_imports"):
        (tmp_path / f"{module}.py").write_text("")
    shutil.copy(CONTRACTS, tmp_path)
    return tmp_path


def test_contracts_hold() -> None:
    done = subprocess.run([str(LINTER), "--no-cache"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_contracts_cover_every_member() -> None:
    named = set(contracts()["importlinter"]["root_packages"].split())
    libraries = {"dexlane" if name == "common" else f"dexlane_{name}" for name in LIBRARIES}
    assert named == libraries | {package_of(name) for name in SERVICES}


def test_every_contract_has_a_planted_breach() -> None:
    names = {section.rpartition(":")[2] for section in contracts().sections() if ":contract:" in section}
    assert names == set(PLANTED) - {"exhaustive"}


def test_miniature_without_a_breach_passes(miniature: Path) -> None:
    assert run(miniature).returncode == 0


@pytest.mark.parametrize("contract", PLANTED)
def test_planted_import_breaks_its_contract(miniature: Path, contract: str) -> None:
    path, text = PLANTED[contract]
    (miniature / path).parent.mkdir(exist_ok=True)
    (miniature / path).write_text(text + "\n")
    done = run(miniature)
    title = contracts()[f"importlinter:contract:{'layers' if contract == 'exhaustive' else contract}"]["name"]
    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert done.returncode == 1, done.stdout
    assert any(line.startswith(title) for line in broken) or "Missing layer" in done.stdout, done.stdout
