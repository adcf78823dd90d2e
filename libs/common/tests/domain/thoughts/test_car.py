"""CIDs, DAG-CBOR and CAR files as IPFS knows them; the vectors are published by others."""

from __future__ import annotations

import hashlib

import pytest

from dexlane.domain.thoughts.car import Cid, car_file, encoded, node_block


@pytest.mark.parametrize(
    ("content", "cid"),
    [
        # What Kubo prints for `ipfs add --cid-version=1 --raw-leaves` of these bytes.
        (b"", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (b"hello world", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"),
    ],
)
def test_the_cid_of_bytes_is_the_published_one(content: bytes, cid: str) -> None:
    assert str(Cid.raw(hashlib.sha256(content).hexdigest())) == cid


def test_the_cid_of_a_node_is_the_published_one() -> None:
    # The block of the documentation of @ipld/dag-cbor and of Helia.
    cid, data = node_block({"hello": "world"})
    assert data.hex() == "a16568656c6c6f65776f726c64"
    assert str(cid) == "bafyreidykglsfhoixmivffc5uwhcgshx4j465xwqntbmu43nb2dzqwfvae"


@pytest.mark.parametrize(
    ("node", "data"),
    [
        # RFC 8949, appendix A.
        (0, "00"), (23, "17"), (24, "1818"), (100, "1864"), (1_000, "1903e8"), (1_000_000, "1a000f4240"),
        (1_000_000_000_000, "1b000000e8d4a51000"), (None, "f6"), ("", "60"), ("IETF", "6449455446"), ("ü", "62c3bc"),
        ([], "80"), ([1, 2, 3], "83010203"), ({}, "a0"),
        ({"a": "A", "b": "B", "c": "C", "d": "D", "e": "E"}, "a56161614161626142616361436164614461656145"),
        # DAG-CBOR: shorter keys first.
        ({"bb": 1, "a": 2, "aa": 3}, "a361610262616103626262" + "01"),
    ],
)  # fmt: skip
def test_the_form_of_a_node_is_the_published_one(node: object, data: str) -> None:
    assert encoded(node).hex() == data  # type: ignore[arg-type]


@pytest.mark.parametrize("node", [True, -1, 1.5, b"bytes"])
def test_what_has_no_form_is_refused(node: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        encoded(node)  # type: ignore[arg-type]


def test_a_car_file_is_a_header_with_the_root_and_then_its_blocks() -> None:
    root, node = node_block({"hello": "world"})
    data = b"".join(car_file(root, [(root, node)]))
    header = b"\xa2eroots\x81\xd8\x2a\x58\x25\x00" + root.data + b"gversion\x01"
    assert data == bytes([len(header)]) + header + bytes([len(root.data) + len(node)]) + root.data + node


def test_a_link_is_tag_42_over_the_bytes_with_a_zero_before_them() -> None:
    cid = Cid.raw("00" * 32)
    assert encoded(cid) == b"\xd8\x2a\x58\x25\x00" + cid.data


def test_a_block_of_more_than_127_bytes_has_a_length_of_two() -> None:
    root, _ = node_block({})
    content = b"x" * 200
    cid = Cid.raw(hashlib.sha256(content).hexdigest())
    *_, last = car_file(root, [(cid, content)])
    assert last[:2] == bytes([236 & 0x7F | 0x80, 1])
    assert last[2:] == cid.data + content
