"""What deciding services seal: the layout that signers read, the statement of each event, and who may read a key."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dexlane.chain.relays.auth import AuthKey
from dexlane.events.execution import IntentCreated
from dexlane.events.portfolio import ExitTriggered
from dexlane.events.risk import VerdictApproved, VerdictFacts
from dexlane.events.seals import ApprovedKind, Approver, Statement
from dexlane.runtime.errors import Misconfigured
from dexlane.runtime.sealing import Approving, Sealer, read_approvers, sealer_from
from dexlane.testing.builders import a_block, a_verdict, an_exit
from dexlane_signer import read_statement

VECTORS = json.loads((Path(__file__).parents[3] / "signer/tests/golden/approvals.json").read_text())
SEED = b"\7" * 32


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_statement_is_laid_out_and_sealed_as_the_golden_vectors_say(vector: dict[str, Any]) -> None:
    fields = vector["fields"] | {
        "approver": Approver(vector["fields"]["approver"]),
        "kind": ApprovedKind(vector["fields"]["kind"]),
        "tokens": tuple(vector["fields"]["tokens"]),
        "max_amount_in": int(vector["fields"]["max_amount_in"]),
    }
    sealer = Sealer(bytes.fromhex(vector["seed"]))
    seal = sealer.seal(Statement(**fields))
    assert (seal.statement, seal.signature) == (vector["statement"], vector["signature"])
    assert sealer.public_key.hex() == vector["public_key"]


@pytest.mark.parametrize("changes", [{"tokens": ("0x" + "1" * 40,)}, {"book_id": "b" * 33}, {"chain_id": 2**64}])
def test_a_statement_that_does_not_fit_the_layout_is_refused(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "approver": Approver.RISK_SCORER,
        "kind": ApprovedKind.ENTRY,
        "id": "0" * 32,
        "chain_id": 1,
        "block_number": 1,
        "block_time_s": 1,
        "expires_s": 2,
        "tokens": ("0x" + "1" * 40, "0x" + "2" * 40),
    }
    with pytest.raises((ValueError, OverflowError)):
        Statement(**(fields | changes)).to_bytes()


def test_a_verdict_approves_its_route_and_its_size_for_a_time() -> None:
    block = a_block(100)
    verdict = Approving(Approver.RISK_SCORER, Sealer(SEED), 60).verdict(a_verdict(), block)
    assert verdict.seal is not None
    statement = read_statement(bytes.fromhex(verdict.seal.statement))
    route = verdict.opportunity.route
    assert statement.id == verdict.id
    assert statement.tokens == (route.token_in, *(leg.token_out for leg in route.legs))
    assert statement.max_amount_in == verdict.opportunity.size_hint
    assert (statement.block_time_s, statement.expires_s) == (block.timestamp_s, block.timestamp_s + 60)
    assert VerdictApproved.from_wire(verdict.to_wire()) == verdict


@pytest.mark.parametrize("approver", [Approver.PORTFOLIO, Approver.GATEWAY])
def test_an_exit_approves_the_sale_of_its_quantity_from_its_account(approver: Approver) -> None:
    exit_ = Approving(approver, Sealer(SEED), 60).exit(an_exit(), a_block(100))
    assert exit_.seal is not None
    statement = read_statement(bytes.fromhex(exit_.seal.statement))
    assert statement.approver == approver
    assert statement.tokens == (exit_.token.address, exit_.quote.address)
    assert (statement.account, statement.max_amount_in) == (exit_.account, exit_.quantity)
    assert ExitTriggered.from_wire(exit_.to_wire()) == exit_


def test_without_a_key_or_a_block_nothing_is_sealed() -> None:
    assert Approving(Approver.RISK_SCORER).verdict(a_verdict(), a_block(100)).seal is None
    assert Approving(Approver.RISK_SCORER, Sealer(SEED)).verdict(a_verdict(), None).seal is None
    assert Approving(Approver.PORTFOLIO).exit(an_exit(), a_block(100)).seal is None


def test_checks_and_facts_are_beside_what_is_sealed() -> None:
    approving = Approving(Approver.RISK_SCORER, Sealer(SEED))
    bare = a_verdict(checks=(), facts=VerdictFacts())
    assert approving.verdict(a_verdict(), a_block(100)).seal == approving.verdict(bare, a_block(100)).seal


def test_a_seal_changes_no_id() -> None:
    plain, sealed = a_verdict(), Approving(Approver.RISK_SCORER, Sealer(SEED)).verdict(a_verdict(), a_block(100))
    assert plain.id == sealed.id
    assert IntentCreated.make_id("b", plain.id, "entry") == IntentCreated.make_id("b", sealed.id, "entry")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "risk-scorer.key"
    path.write_text(SEED.hex())
    path.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        sealer_from(path)
    path.chmod(0o600)
    sealer = sealer_from(path)
    assert sealer is not None
    assert sealer.public_key == Sealer(SEED).public_key
    assert SEED.hex() not in repr(sealer)


@pytest.mark.parametrize("read", [sealer_from, AuthKey.read], ids=["approval key", "relay auth key"])
def test_a_key_that_others_may_read_is_not_even_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "some.key"
    path.write_text(SEED.hex())
    path.chmod(0o640)
    opened: list[Path] = []
    monkeypatch.setattr(Path, "read_text", lambda self, **_: opened.append(self))
    with pytest.raises(Misconfigured, match="may be read by others; run chmod 600 on it"):
        read(path)
    assert opened == []


@pytest.mark.parametrize("content", ["", "zz", "00", SEED.hex() + "00"])
def test_a_key_of_another_form_is_one_sentence_without_the_key(tmp_path: Path, content: str) -> None:
    path = tmp_path / "risk-scorer.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="64 hex digits"):
        sealer_from(path)


def test_public_keys_are_those_of_all_three_services(tmp_path: Path) -> None:
    path, key = tmp_path / "public.json", Sealer(SEED).public_key.hex()
    services = {"risk-scorer": key, "portfolio": key, "gateway": key}
    path.write_text(json.dumps(services))
    assert read_approvers(path) == dict.fromkeys(Approver, bytes.fromhex(key))
    assert read_approvers(None) == {}
    for wrong in (
        services | {"other": key},
        {"risk-scorer": key},
        services | {"gateway": "00"},
        [],
        services | {"gateway": 1},
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(Misconfigured, match="must give the public key"):
            read_approvers(path)
