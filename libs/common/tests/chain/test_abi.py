"""Our few encoders and decoders agree with eth_abi."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from dexlane.chain import abi

addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
uints = st.integers(0, 2**256 - 1)
strings = st.binary(max_size=100)


@given(uints, addresses, st.booleans(), strings)
def test_frame_of_static_and_dynamic_fields_equals_eth_abi(number: int, who: str, yes: bool, content: bytes) -> None:
    ours = abi.frame(abi.uint(number), abi.byte_string(content), abi.address(who), abi.flag(yes))
    assert ours == encode(["uint256", "bytes", "address", "bool"], [number, content, who, yes])


@given(st.lists(strings, max_size=5), st.lists(addresses, max_size=5))
def test_arrays_equal_eth_abi(contents: list[bytes], people: list[str]) -> None:
    ours = abi.frame(
        abi.array([abi.byte_string(content) for content in contents]), abi.array([abi.address(who) for who in people])
    )
    assert ours == encode(["bytes[]", "address[]"], [contents, people])


@given(uints, addresses, st.booleans(), strings)
def test_frame_reads_what_eth_abi_wrote(number: int, who: str, yes: bool, content: bytes) -> None:
    words = abi.Frame(encode(["uint256", "address", "bool", "bytes"], [number, who, yes, content]))
    assert (words.uint(0), words.address(1), words.flag(2), words.byte_string(3)) == (number, who, yes, content)


@given(st.lists(st.tuples(st.booleans(), strings), max_size=5))
def test_array_of_tuples_is_read_in_order(results: list[tuple[bool, bytes]]) -> None:
    elements = abi.Frame(encode(["(bool,bytes)[]"], [results])).tuples(0)
    assert [(element.flag(0), element.byte_string(1)) for element in elements] == results


@given(strings, st.integers(1, 64))
def test_truncated_data_are_refused(content: bytes, missing: int) -> None:
    data = encode(["bytes"], [content])
    cut = data[: max(0, 64 + len(content) - missing)]
    with pytest.raises(abi.AbiError):
        abi.Frame(cut).byte_string(0)


def test_array_that_claims_more_elements_than_there_are_bytes_is_refused() -> None:
    with pytest.raises(abi.AbiError, match="truncated"):
        abi.Frame(abi.uint(32) + abi.uint(2**255)).tuples(0)


@pytest.mark.parametrize(("value", "bits"), [(-1, 256), (2**160, 160), (2**256, 256)])
def test_integer_that_does_not_fit_is_refused(value: int, bits: int) -> None:
    with pytest.raises(abi.AbiError, match="does not fit"):
        abi.uint(value, bits)


@pytest.mark.parametrize("text", ["", "0x", "0x" + "1" * 39, "1" * 40, "0x" + "g" * 40, "0x" + " 1" * 20])
def test_text_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(abi.AbiError, match="40 hex digits"):
        abi.address(text)


def test_word_with_dirt_above_its_type_is_refused() -> None:
    with pytest.raises(abi.AbiError, match="does not fit"):
        abi.Frame(b"\xff" * 32).address(0)
    with pytest.raises(abi.AbiError, match="does not fit"):
        abi.Frame(abi.uint(2)).flag(0)
