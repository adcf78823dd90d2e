"""Rules of the small pure parts: accounts, packages, V3 arithmetic, base fee."""

import hashlib
from base64 import b64encode
from pathlib import Path

import pytest
from eth_account import Account
from eth_utils.address import is_checksum_address

from dexlane_devnet import BASE_CHAIN, ETHEREUM_CHAIN, ROLES, DevnetError, account
from dexlane_devnet.addresses import GAS_BURNER, LIQUIDITY_DESK
from dexlane_devnet.assembly import assemble
from dexlane_devnet.contracts import calldata, split_types
from dexlane_devnet.fees import GAS_LIMIT, GAS_TARGET, GWEI, MAX_TX_GAS, LoadPlan, next_base_fee, split_gas
from dexlane_devnet.main import speed
from dexlane_devnet.packages import CONTRACT_PACKAGES, Package, anvil_package, check_integrity, fetch
from dexlane_devnet.tape import Tape, load_tape
from dexlane_devnet.v3math import (
    MAX_SQRT_RATIO,
    MAX_TICK,
    MIN_SQRT_RATIO,
    MIN_TICK,
    sqrt_price_before,
    sqrt_ratio_at_tick,
)


def test_every_role_owns_the_key_of_its_address() -> None:
    for role in ROLES:
        owner = account(role)
        assert Account.from_key(owner.private_key).address == owner.address


def test_unknown_role_is_one_sentence() -> None:
    with pytest.raises(DevnetError, match=r"no role 'whale'"):
        account("whale")


def test_all_addresses_are_in_checksum_form() -> None:
    known = [GAS_BURNER, LIQUIDITY_DESK]
    for chain in (ETHEREUM_CHAIN, BASE_CHAIN):
        known += [*vars(chain.addresses).values(), *(pool.address for pool in chain.pools.values())]
    assert all(is_checksum_address(address) for address in known)


def test_a_tarball_with_another_digest_is_refused() -> None:
    pinned = "sha512-" + b64encode(hashlib.sha512(b"as published").digest()).decode()
    package = Package("@dex/parts", "1.0.0", pinned, ("a.json",))
    check_integrity(package, b"as published")
    with pytest.raises(DevnetError, match="does not match its pinned sha512"):
        check_integrity(package, b"as tampered")


def test_every_package_is_pinned_by_a_sha512() -> None:
    assert all(package.integrity.startswith("sha512-") for package in (*CONTRACT_PACKAGES, anvil_package()))


def test_missing_npm_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevnetError, match="npm is needed"):
        fetch(CONTRACT_PACKAGES[0], tmp_path, lambda line: None)


def test_missing_tape_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DevnetError, match="no tape"):
        load_tape(tmp_path / "none.csv.gz")


def test_tuple_arguments_stay_whole_in_a_signature() -> None:
    assert split_types("mint((address,uint24),uint256)") == ["(address,uint24)", "uint256"]
    assert calldata("deposit()") == "0xd0e30db0"


def test_labels_become_jump_destinations() -> None:
    assert assemble("@end JUMPI end: STOP").hex() == "610004575b00"


def test_ticks_at_the_edge_match_the_constants_of_tick_math() -> None:
    assert sqrt_ratio_at_tick(MIN_TICK) == MIN_SQRT_RATIO
    assert sqrt_ratio_at_tick(MAX_TICK) == MAX_SQRT_RATIO


def test_a_swap_without_crossing_can_be_undone_exactly(tape: Tape) -> None:
    before, swap = tape.swaps[0], tape.swaps[1]
    found = sqrt_price_before(swap.sqrt_price_x96, swap.liquidity, swap.amount0, swap.amount1, 500)
    assert abs(found - before.sqrt_price_x96) * 10**12 < before.sqrt_price_x96


@pytest.mark.parametrize(
    ("gas_used", "expected"), [(GAS_TARGET, 1000), (GAS_LIMIT, 1125), (0, 875), (GAS_TARGET + 1, 1001)]
)
def test_base_fee_moves_by_eip_1559(gas_used: int, expected: int) -> None:
    assert next_base_fee(1000, gas_used) == expected


def test_background_load_keeps_the_base_fee_within_bounds() -> None:
    plan, base_fee, seen = LoadPlan(12 * GWEI, seed=3), 12 * GWEI, set()
    for _ in range(3_000):
        base_fee = next_base_fee(base_fee, plan.gas_to_burn(base_fee, others_gas=1_000_000) + 1_000_000)
        seen.add(base_fee)
    assert min(seen) > 5 * GWEI
    assert max(seen) < 25 * GWEI
    assert len(seen) > 2_000


def test_load_is_split_into_transactions_the_protocol_allows() -> None:
    assert split_gas(GAS_LIMIT * 9 // 10) == [MAX_TX_GAS, GAS_LIMIT * 9 // 10 - MAX_TX_GAS]
    assert split_gas(10_000) == []


@pytest.mark.parametrize("text", ["0", "0.5", "1001"])
def test_speed_outside_its_range_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="between 1 and 1000"):
        speed(text)


def test_a_failing_npm_is_one_sentence_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "npm"
    fake.write_text("#!/bin/sh\necho 'npm error code ENOTFOUND' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(DevnetError, match=r"could not fetch @uniswap/v2-core@1.0.1 \(npm error code ENOTFOUND\)"):
        fetch(CONTRACT_PACKAGES[0], tmp_path / "cache", lambda line: None)


def test_a_relative_cache_is_taken_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package("@dex/parts", "1.0.0", "sha512-", ("a.json",))
    kept = tmp_path / "here" / "packages" / package.folder
    kept.mkdir(parents=True)
    (kept / "a.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert fetch(package, Path("here"), lambda line: None) == kept.resolve()
