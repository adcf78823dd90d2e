"""The zoo is what its sources say, and a fixed third of it stays out of tuning."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dexlane_devnet.zoo import BENIGN, FAMILIES, HOSTILE, Lived, families
from dexlane_devnet.zoo.lives import LEAST_BACK_BPS, MOVES

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


def test_every_move_of_an_owner_belongs_to_a_family() -> None:
    assert set(MOVES) <= {family.name for family in FAMILIES}


def test_a_buyer_lost_when_less_came_back_than_the_dearest_honest_taxes_leave() -> None:
    dearest_honest_bps = 9_500 * 9_500 // 10_000 * 997 * 997 // 10**6
    assert dearest_honest_bps > LEAST_BACK_BPS
    assert Lived(LEAST_BACK_BPS - 1, ()).springs
    assert not Lived(LEAST_BACK_BPS, ("a sale",)).springs
    assert not Lived(None, ("the purchase",)).springs
