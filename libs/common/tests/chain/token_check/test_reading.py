"""Reading code, answers and reasons that may be hostile."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.chain.keccak import keccak256
from dexlane.chain.token_check.probe import (
    ProbeError,
    Step,
    call,
    codes,
    exploration,
    read_exploration,
    selector,
)
from dexlane.chain.token_check.session import MOMENTS, reason_of
from dexlane.chain.token_check.subject import constants, delegates, is_strange_proxy, selectors

TOKEN, OTHER = "0x" + "7" * 40, "0x" + "8" * 40
GETH_MAX_BLOCKS = 256


def test_the_shipped_code_was_made_from_the_shipped_source() -> None:
    folder = resources.files("dexlane.chain.token_check").joinpath("contracts")
    content = json.loads(folder.joinpath("probe.json").read_text())
    assert content["source_sha256"] == hashlib.sha256(folder.joinpath("Probe.sol").read_bytes()).hexdigest()
    assert set(codes()) == {"Probe", "Puppet", "Deputy", "Trap"}


def test_simulated_blocks_stay_within_what_nodes_allow() -> None:
    moments = list(MOMENTS.values())
    assert moments[-1].blocks < GETH_MAX_BLOCKS
    assert all(a.blocks < b.blocks and a.seconds < b.seconds for a, b in pairwise(moments))


def test_selectors_are_hashes_of_signatures() -> None:
    assert selector("transfer(address,uint256)").hex() == "a9059cbb"
    assert call("transfer(address,uint256)", TOKEN, 5) == (
        bytes.fromhex("a9059cbb") + bytes.fromhex(TOKEN[2:]).rjust(32, b"\0") + (5).to_bytes(32, "big")
    )


def test_functions_are_found_in_code_also_when_a_compiler_shortens_them() -> None:
    plain = bytes.fromhex("63a9059cbb14")
    shifted = bytes.fromhex("63278f794360e11b14")  # 0x4f1ef286 as 0x278f7943 << 1, moved to the first four bytes
    data_that_looks_so = bytes.fromhex("64a9059cbb00")
    assert selectors(plain) == (bytes.fromhex("a9059cbb"),)
    assert bytes.fromhex("4f1ef286") in selectors(shifted)
    assert selectors(data_that_looks_so) == ()
    assert selectors(bytes.fromhex("6308c379a063ffffffff")) == ()


def test_addresses_and_delegations_are_found_where_they_are_instructions() -> None:
    address = bytes.fromhex("51" * 20)
    assert constants(b"\x73" + address) == ["0x" + "51" * 20]
    assert constants(b"\x7f" + address.rjust(32, b"\0")) == ["0x" + "51" * 20]
    assert constants(b"\x73" + b"\0" * 19 + b"\1") == []
    assert delegates(b"\xf4")
    assert not delegates(b"\x60\xf4")
    assert is_strange_proxy(b"\xf4", None)
    assert not is_strange_proxy(b"\xf4", OTHER)
    assert is_strange_proxy(b"\x63" + selector("totalSupply()") + b"\xf4", None), "one function of its own hides it"
    own = ("totalSupply()", "balanceOf(address)", "transfer(address,uint256)", "transferFrom(address,address,uint256)")
    assert not is_strange_proxy(b"".join(b"\x63" + selector(each) for each in own) + b"\xf4", None)


@given(code=st.binary(max_size=200))
def test_no_code_breaks_the_reading(code: bytes) -> None:
    selectors(code)
    constants(code)
    delegates(code)


@given(data=st.binary(max_size=300), steps=st.integers(0, 3), switches=st.integers(0, 3), suffix=st.integers(0, 2))
def test_any_answer_is_read_or_refused(data: bytes, steps: int, switches: int, suffix: int) -> None:
    try:
        found = read_exploration(data, steps, switches, suffix)
    except ProbeError:
        return
    assert len(found.steps) == steps
    assert len(found.branches) == switches


def test_a_step_carries_its_flags() -> None:
    step = Step(TOKEN, b"\1\2", OTHER, gas=7, value_wei=9, take=3, all_tokens=True, changing=True)
    encoded = step.encoded()
    assert encoded[60] == 3 | 4 | 8
    assert exploration(TOKEN, [step])[27:] == encoded


def _error(text: bytes, length: int | None = None) -> bytes:
    size = len(text) if length is None else length
    return keccak256(b"Error(string)")[:4] + (32).to_bytes(32, "big") + size.to_bytes(32, "big") + text


@pytest.mark.parametrize(
    ("data", "message", "reason"),
    [
        (_error(b"bot"), "execution reverted", "bot"),
        (b"", "out of gas", "out of gas"),
        (b"", None, "it reverts without a reason"),
        (_error(b"x" * 500), None, "x" * 100),
        (_error(b"abc", 1 << 255), None, "abc"),
        (_error(b"\x1b[31mred\n"), None, "[31mred"),
    ],
)
def test_reasons_are_short_and_printable(data: bytes, message: str | None, reason: str) -> None:
    assert reason_of(data, message) == reason


@given(data=st.binary(max_size=400))
def test_any_payload_has_a_reason(data: bytes) -> None:
    assert 0 < len(reason_of(data, None)) <= 100
