"""The zoo is what its sources say, and a fixed third of it stays out of tuning."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dexlane_devnet.zoo import BENIGN, FAMILIES, HOSTILE, families

SOURCES = Path(families.__file__).parent / "sources"


def test_the_shipped_code_was_made_from_the_shipped_sources() -> None:
    digest = hashlib.sha256()
    for source in sorted(SOURCES.iterdir()):
        digest.update(source.name.encode() + source.read_bytes())
    assert families.artifacts()["sources_sha256"] == digest.hexdigest()


def test_every_family_has_code_and_a_name_of_its_own() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    assert set(names) <= set(families.creation_code())
    assert len(HOSTILE) >= 30
    assert len(BENIGN) >= 30


def test_the_held_out_families_are_those_chosen_before_tuning() -> None:
    assert {family.name for family in HOSTILE if family.held_out} == {
        "HoneypotQuota", "SimulatorBaseFee", "SimulatorRich", "SimulatorContract", "TaxRising", "TaxByAmount",
        "MintOnSell", "MintByRole", "MintByAnyone", "BlacklistMany", "RebaseDown", "LeakHolders", "LeakPair",
        "BurnHolder", "FeeSetter", "Backdoor", "LyingBalance", "LyingDecimals", "ReturnBomb", "ProxyCustom", "Garbage",
    }  # fmt: skip
    assert {family.name for family in BENIGN if family.held_out} == {
        "Plain", "OzPermit", "OzVotes", "OzPausableByTimelock", "OzRolesByTimelock", "SoladyVoting", "TaxSmall",
        "TaxFalling", "Deflationary", "Reflection", "MaxTransaction", "NoDecimals", "ProxyByTimelock", "Clone",
    }  # fmt: skip


def test_a_seed_gives_the_same_specimen_and_stays_within_the_ranges() -> None:
    for family in FAMILIES:
        for seed in range(20):
            numbers = family.numbers(seed)
            assert numbers == family.numbers(seed)
            assert len(numbers) == 4
            assert all(low <= number <= high for number, (low, high) in zip(numbers, family.ranges, strict=False))
