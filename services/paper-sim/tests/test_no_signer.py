"""Nothing on the paper path can reach a signer: the modules that could are never loaded."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys
import paper_sim
for module in pkgutil.walk_packages(paper_sim.__path__, "paper_sim."):
    if ".migrations" not in module.name:
        importlib.import_module(module.name)
from paper_sim.app import build
from paper_sim.settings import Settings
build(Settings())
print("\\n".join(sorted(sys.modules)))
"""
FORBIDDEN = ("dexlane_signer", "dexlane.chain", "coincurve", "eth_account", "eth_keys", "web3")


def test_paper_sim_loads_no_module_that_can_sign_or_send() -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    loaded = run.stdout.split()
    assert "paper_sim.exchange" in loaded
    assert [name for name in loaded if name.startswith(FORBIDDEN)] == []
