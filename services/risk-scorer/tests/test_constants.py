"""Selectors and storage slots are what their names hash to."""

from __future__ import annotations

from dexlane.domain.risk.bytecode.proxies import IMPLEMENTATION_SLOTS
from dexlane_signer.keccak import keccak256
from risk_scorer.node_facts import DECIMALS, OWNER, SYMBOL


def test_selectors_are_the_first_four_bytes_of_their_signatures() -> None:
    for selector, signature in ((DECIMALS, "decimals()"), (SYMBOL, "symbol()"), (OWNER, "owner()")):
        assert selector == "0x" + keccak256(signature.encode())[:4].hex()


def test_slots_are_the_hashes_their_standards_define() -> None:
    implementation, beacon = (
        f"0x{int.from_bytes(keccak256(f'eip1967.proxy.{name}'.encode()), 'big') - 1:064x}"
        for name in ("implementation", "beacon")
    )
    zeppelin = "0x" + keccak256(b"org.zeppelinos.proxy.implementation").hex()
    proxiable = "0x" + keccak256(b"PROXIABLE").hex()
    assert (implementation, beacon, zeppelin, proxiable) == IMPLEMENTATION_SLOTS
