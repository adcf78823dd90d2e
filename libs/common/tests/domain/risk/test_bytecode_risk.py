"""What runtime code allows: one property per token, compiled three ways; garbage within its budget."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
from Crypto.Hash import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.risk.bytecode.exploration import FIRST_SELECTORS, Budget, explore, selected
from dexlane.domain.risk.bytecode.expressions import Forge, place_of, stripped
from dexlane.domain.risk.bytecode.flags import LEAST_OF_INCOMPLETE, CodeFinding, CodeFlag, score_of
from dexlane.domain.risk.bytecode.instructions import (
    MAX_CODE_BYTES,
    minimal_proxy_target,
    program_of,
    skeleton_digest,
    without_metadata,
)
from dexlane.domain.risk.bytecode.names import SIGNATURES, SUGGESTED, name_of
from dexlane.domain.risk.bytecode.verdict import judge_code

CODES = json.loads(gzip.decompress((Path(__file__).parents[2] / "golden/token_codes/codes.json.gz").read_bytes()))
BUILDS = ("optimized", "plain", "via_ir")
EXPECTED: dict[str, set[str]] = {
    "Plain": set(),
    "Honest": set(),
    "Wrapped": set(),
    "FixedFee": set(),
    "OwnerMint": {"hidden_mint"},
    "AssemblyMint": {"hidden_mint"},
    "RoleMint": {"hidden_mint"},
    "Confiscate": {"balance_leak"},
    "ForeignApproval": {"balance_leak"},
    "BackDoor": {"balance_leak"},
    "Blacklist": {"blacklist", "sell_limit"},
    "Switch": {"pausable", "sell_limit"},
    "Launch": {"sell_limit"},
    "MaxAmount": {"sell_limit"},
    "Silent": {"sell_limit"},
    "Foreign": {"sell_limit"},
    "Payee": {"sell_limit"},
    "SwapBack": {"sell_limit"},
    "Patient": set(),
    "CoolDown": {"sell_limit"},
    "Fee": {"fee_setter"},
    "Mortal": {"selfdestruct"},
    "Module": {"delegatecall"},
    "Proxy": {"delegatecall", "proxy"},
}
SHORT = Budget(total_steps=3_000, function_steps=1_500, visits_of_a_block=4)


def code_of(name: str, build: str = "optimized") -> bytes:
    return bytes.fromhex(CODES[build][name])


def assembled(text: str) -> bytes:
    """Bytes of spaced hexadecimal text."""
    return bytes.fromhex(text)


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", EXPECTED)
def test_each_token_has_the_flags_of_its_property_however_it_was_compiled(name: str, build: str) -> None:
    verdict = judge_code(code_of(name, build))
    assert set(verdict.flags) == EXPECTED[name]
    assert verdict.complete == (name != "Proxy")


def test_every_golden_token_is_expected_to_have_something() -> None:
    assert all(set(CODES[build]) == set(EXPECTED) for build in BUILDS)


def test_reasons_name_the_function_the_place_and_who_may() -> None:
    (finding,) = judge_code(code_of("OwnerMint")).findings
    assert "mint(address,uint256)" in finding.reason
    assert "a privileged caller" in finding.reason
    reasons = {finding.reason for finding in judge_code(code_of("Blacklist")).findings}
    assert any("mapping at slot 0x4" in reason and "can be put on" in reason for reason in reasons)


def test_a_switch_that_can_only_be_opened_counts_half() -> None:
    launch, switch = judge_code(code_of("Launch")), judge_code(code_of("Switch"))
    assert [finding.final for finding in launch.findings] == [True, True]
    assert not any(finding.final for finding in switch.findings)
    assert launch.score < switch.score


def test_creation_code_is_judged_by_the_runtime_code_in_it() -> None:
    creation = judge_code(bytes.fromhex(CODES["creation_of_Blacklist"]))
    assert creation.flags == judge_code(code_of("Blacklist")).flags
    assert creation.complete


def test_the_verdict_is_the_same_every_time() -> None:
    assert judge_code(code_of("Honest")) == judge_code(code_of("Honest"))


def test_a_minimal_proxy_names_where_its_code_lies() -> None:
    code = assembled("363d3d373d3d3d363d73" + "ab" * 20 + "5af43d82803e903d91602b57fd5bf3")
    verdict = judge_code(code)
    assert minimal_proxy_target(code) == "0x" + "ab" * 20
    assert verdict.flags == (CodeFlag.PROXY,)
    assert "0x" + "ab" * 20 in verdict.findings[0].reason
    assert not verdict.complete
    assert verdict.score >= LEAST_OF_INCOMPLETE


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (b"", "no code"),
        (b"\xfe" * (MAX_CODE_BYTES + 1), "more than a contract may have"),
        (b"\x00", "no function"),
        (b"\x60", "no function"),
        (assembled("5b 6000 56"), "no function"),
    ],
)
def test_what_cannot_be_judged_has_the_worst_score_and_a_reason(code: bytes, words: str) -> None:
    verdict = judge_code(code)
    assert verdict.score == 100
    assert not verdict.complete
    assert words in verdict.notes[0]


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=600))
def test_garbage_has_a_verdict_and_never_an_exception(code: bytes) -> None:
    verdict = judge_code(code, SHORT)
    assert 0 <= verdict.score <= 100
    assert verdict.steps <= 2 * SHORT.total_steps + len(code)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_token_with_a_damaged_byte_has_a_verdict(data: st.DataObject) -> None:
    code = bytearray(code_of("Blacklist"))
    for _ in range(3):
        code[data.draw(st.integers(0, len(code) - 1))] = data.draw(st.integers(0, 255))
    assert 0 <= judge_code(bytes(code), SHORT).score <= 100


@pytest.mark.parametrize(
    "code",
    [
        b"\x5b" * 20_000,
        assembled("5b 6000 35 6000 57 5b") * 3_000,
        b"".join(assembled(f"5b 60{i:02x} 35 54 60{i:02x} 52 6000 35 54 6000 57 60{i:02x} 50") for i in range(256)) * 4,
        assembled("60e0 1c 5f 5b 54 6005 56"),
    ],
    ids=["marks", "forks", "remembering forks", "endless reads"],
)
def test_work_is_bounded_whatever_the_code(code: bytes) -> None:
    began = time.perf_counter()
    verdict = judge_code(code, Budget(total_steps=30_000, function_steps=10_000))
    assert verdict.steps <= 30_000 + len(code)
    assert time.perf_counter() - began < 20


def test_what_the_budget_leaves_out_is_told_and_never_scores_low() -> None:
    verdict = judge_code(code_of("Plain"), Budget(total_steps=700, function_steps=400))
    assert not verdict.complete
    assert any("budget" in note or "not walked" in note for note in verdict.notes)
    assert verdict.score >= LEAST_OF_INCOMPLETE


def test_names_count_only_where_behaviour_cannot_be_seen() -> None:
    # A dispatcher with pause() alone: there are no balances to see.
    pause = assembled("5f 35 60e0 1c 63 8456cb59 14 6011 57 5f 5f fd 5b 00")
    verdict = judge_code(pause)
    assert verdict.flags == (CodeFlag.PAUSABLE,)
    assert "could not be seen" in verdict.findings[0].reason


@pytest.mark.parametrize(("selector", "signature"), SIGNATURES.items())
def test_selectors_are_those_of_their_signatures(selector: int, signature: str) -> None:
    digest = keccak.new(digest_bits=256, data=signature.encode()).digest()
    assert selector == int.from_bytes(digest[:4], "big")


def test_suggested_flags_have_names() -> None:
    assert set(SUGGESTED) <= set(SIGNATURES)
    assert name_of(0xA9059CBB) == "transfer(address,uint256)"
    assert name_of(0x01020304) == "function 0x01020304"


def test_data_behind_push_is_no_code() -> None:
    program = program_of(assembled("61 5b5b 5b 60"))
    assert program.jump_targets == {3}
    assert program.instructions[0].operand == 0x5B5B
    assert program.instructions[4].operand == 0


def test_metadata_is_cut_off_and_nothing_else() -> None:
    code, metadata = b"\x60\x00\x56" * 20, assembled("a1 64 736f6c63 43 00081a 000a")
    assert without_metadata(code + metadata) == code
    assert without_metadata(code) == code


def test_clones_with_other_constants_have_one_skeleton() -> None:
    assert skeleton_digest(assembled("6001 6002 01")) == skeleton_digest(assembled("6003 6004 01"))
    assert skeleton_digest(assembled("6001 6002 01")) != skeleton_digest(assembled("6001 6002 02"))


def test_the_standard_functions_are_walked_first() -> None:
    contract = explore(program_of(without_metadata(code_of("Plain"))), Budget())
    assert tuple(contract.functions)[:4] == FIRST_SELECTORS
    assert not contract.unwalked


def test_selectors_are_recognised_in_every_shape_of_dispatcher() -> None:
    forge = Forge()
    word, selector = forge.make("arg", 0), forge.make("selector")
    assert forge.binary("shr", 224, word) is selector
    assert forge.binary("and", 0xFFFFFFFF, forge.binary("div", word, 1 << 224)) is selector
    assert selected(forge.make("eq", 7, selector)) == (7, True)
    assert selected(forge.is_zero(forge.make("eq", selector, 7))) == (7, False)
    assert selected(forge.make("sub", selector, 7)) == (7, False)
    assert selected(forge.make("eq", forge.make("and", 0xFFFFFFFF << 224, word), 7 << 224)) == (7, True)
    assert selected(forge.make("lt", selector, 7)) is None


@given(st.sampled_from(["add", "mul", "sub", "and", "or", "xor", "eq", "lt", "gt"]), st.data())
def test_numbers_are_folded_like_the_machine_does(name: str, data: st.DataObject) -> None:
    a, b = (data.draw(st.integers(0, (1 << 256) - 1)) for _ in range(2))
    expected = {
        "add": (a + b) % (1 << 256), "mul": a * b % (1 << 256), "sub": (a - b) % (1 << 256), "and": a & b,
        "or": a | b, "xor": a ^ b, "eq": int(a == b), "lt": int(a < b), "gt": int(a > b),
    }  # fmt: skip
    assert Forge().binary(name, a, b) == expected[name]


def test_a_packed_word_is_read_by_field() -> None:
    forge = Forge()
    word = forge.make("sload", 3)
    flag = forge.binary("and", 0xFF, forge.binary("shr", 160, word))
    assert flag is forge.binary("and", forge.binary("div", word, 1 << 160), 0xFF)
    assert flag is not forge.binary("and", 0xFF, word)
    assert place_of(forge.make("map", 3, forge.make("caller"))).depth == 1
    assert stripped(forge.is_zero(forge.make("iszero", flag))) == (flag, True)


def test_large_expressions_keep_what_they_depend_on() -> None:
    forge = Forge()
    grown = forge.make("caller")
    for number in range(500):
        grown = forge.make("mul", grown, forge.make("add", grown, number + 2))
    assert grown.size <= 400
    assert {leaf.name for leaf in grown.leaves} == {"caller"}


@given(st.lists(st.tuples(st.sampled_from(CodeFlag), st.booleans()), max_size=8), st.sampled_from(CodeFlag))
def test_a_further_finding_never_lowers_the_score(found: list[tuple[CodeFlag, bool]], further: CodeFlag) -> None:
    findings = [CodeFinding(flag=flag, reason="r", final=final) for flag, final in found]
    more = [*findings, CodeFinding(flag=further, reason="more")]
    assert 0 <= score_of(findings) <= score_of(more) <= 100
    assert score_of(findings) == score_of(reversed(findings))
