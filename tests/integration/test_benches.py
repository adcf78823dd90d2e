"""Benches that build a system of their own still can: a figure that nobody can take again is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import handover
from bench.signer import NOWHERE, policy_file
from dexlane_signer.settings import read_settings

pytestmark = pytest.mark.integration


def test_the_policy_of_the_signers_bench_is_one(tmp_path: Path) -> None:
    assert read_settings(policy_file(tmp_path, NOWHERE)).policies


def test_every_trade_of_the_handover_bench_is_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(handover, "SERIES", ((0.0, 40),))
    (found,) = handover.run()
    assert (found.trade.count, found.write.count) == (40, 40)
