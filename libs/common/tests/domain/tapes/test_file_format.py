"""The tape file: everything that goes in comes out, and nothing else is believed."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.domain.tapes.columns import Coding, CorruptColumn, deflate, inflate, pack, unpack
from dexlane.domain.tapes.file_format import MAGIC, UnreadableTape, decode, decode_header, encode
from dexlane.domain.tapes.tape import Tape
from dexlane.testing.recordings import Recorder
from dexlane.values.tokens import Token

INT256 = st.integers(-(2**255), 2**255 - 1)
SMALL = st.integers(-300, 300)


@given(st.lists(st.one_of(SMALL, INT256)), st.sampled_from(Coding))
def test_a_column_of_any_integers_comes_back(values: list[int], coding: Coding) -> None:
    width, planes = pack(values, coding)
    assert unpack(inflate(deflate(planes), len(planes)), len(values), width, coding) == values


@given(st.binary(max_size=200), st.integers(0, 50), st.integers(-1, 60))
def test_bytes_that_are_no_column_are_refused(planes: bytes, count: int, width: int) -> None:
    if width > 0 and width <= 40 and len(planes) == count * width:
        assert len(unpack(planes, count, width, Coding.PLAIN)) == count
    else:
        with pytest.raises(CorruptColumn):
            unpack(planes, count, width, Coding.PLAIN)


def test_a_stream_that_would_grow_beyond_its_column_is_refused_before_it_does() -> None:
    bomb = deflate(bytes(10**7))
    for length in (0, 1, 10**7 - 1, 10**7 + 1):
        with pytest.raises(CorruptColumn):
            inflate(bomb, length)


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_tape_comes_back_whole(seed: int, complete: bool) -> None:
    recorder = Recorder(seed).run(80)
    tape = recorder.tape(complete=complete)
    content = encode(tape)
    assert decode(content) == tape
    header = decode_header(content)
    assert header.swaps + header.liquidity_changes == len(tape.records)
    assert (header.first_block, header.last_block) == (tape.records[0].block_number, tape.records[-1].block_number)


def test_a_tape_without_records_and_one_of_two_pools_come_back() -> None:
    recorder = Recorder(1).run(30)
    one = recorder.tape(complete=True)
    assert decode(encode(Tape(one.pools, (), "nothing"))) == Tape(one.pools, (), "nothing")
    named = one.pools[0].model_copy(
        update={"address": "0x" + "ab" * 20, "token0": Token(address="0x" + "01" * 20, symbol="A", decimals=6)}
    )
    records = tuple(record._replace(pool=index % 2) for index, record in enumerate(one.records))
    two = Tape((one.pools[0], named), records, "two", 10)
    assert decode(encode(two)) == two
    assert len(two.of_pool(0)) + len(two.of_pool(1)) == len(records)


def test_the_digest_is_of_the_content_and_not_of_its_source() -> None:
    tape = Recorder(2).run(40).tape(complete=True)
    digest = decode_header(encode(tape)).digest
    assert decode_header(encode(Tape(tape.pools, tape.records, "another source", 1))).digest == digest
    changed = (tape.records[0]._replace(timestamp_s=1), *tape.records[1:])
    assert decode_header(encode(Tape(tape.pools, changed, tape.source, 1))).digest != digest


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_byte_anywhere_and_any_cut_are_noticed(data: st.DataObject) -> None:
    content = CONTENT
    at = data.draw(st.integers(0, len(content) - 1))
    flipped = bytes([*content[:at], content[at] ^ data.draw(st.integers(1, 255)), *content[at + 1 :]])
    for broken in (flipped, content[:at], content + b"\0"):
        with pytest.raises(UnreadableTape):
            decode(broken)


def resealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def test_a_later_format_is_refused_by_its_number() -> None:
    later = CONTENT[: len(MAGIC)] + (2).to_bytes(2, "little") + CONTENT[len(MAGIC) + 2 : -32]
    with pytest.raises(UnreadableTape, match="format 2"):
        decode(resealed(later))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"swaps":', b'"swabs":'),
        (b'"name":"tick"', b'"name":"tack"'),
        (b'"coding":"plain"', b'"coding":"delta"'),
        (b'"table":"liquidity"', b'"table":"liquidite"'),
    ],
)
def test_a_sealed_header_that_lies_is_refused_or_at_least_never_crashes(old: bytes, new: bytes) -> None:
    body = CONTENT[:-32]
    length = int.from_bytes(body[10:14], "little")
    header = body[14 : 14 + length].replace(old, new, 1)
    lying = body[:10] + len(header).to_bytes(4, "little") + header + body[14 + length :]
    if b"delta" in new:
        assert decode(resealed(lying)).records != decode(CONTENT).records
    else:
        with pytest.raises(UnreadableTape):
            decode(resealed(lying))


def test_records_out_of_order_are_not_written() -> None:
    tape = Recorder(4).run(10).tape(complete=True)
    with pytest.raises(ValueError, match="sorted"):
        encode(Tape(tape.pools, tape.records[::-1], tape.source))


CONTENT = encode(Recorder(7).run(60).tape(complete=True))
