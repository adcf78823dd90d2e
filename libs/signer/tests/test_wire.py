"""Two versions that differ understand nothing of each other, rather than something else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane_signer import SignRequest
from dexlane_signer.wire import (
    MAX_FRAME_BYTES,
    Frames,
    MalformedFrameError,
    OversizedFrameError,
    dump,
    load,
    to_frame,
    to_object,
)

from .test_signer import request

SIGN = dump(request(attempt=3, epoch=2, purpose="exit"))


def test_requests_survive_the_way(tmp_path: object) -> None:
    asked = request(attempt=3, epoch=2, purpose="exit", max_fee_per_gas_wei=2**200)
    assert load(SignRequest, to_object(to_frame(dump(asked))[4:])) == asked
    assert load(SignRequest, dump(request())) == request()


def changed(path: str, value: Any) -> Any:
    copy = json.loads(json.dumps(SIGN))
    part = copy
    *parents, last = path.split(".")
    for name in parents:
        part = part[name]
    part[last] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("surprise", "1"),
        ("transaction.surprise", "1"),
        ("kind", "burn"),
        ("kind", None),
        ("purpose", ["exit"]),
        ("epoch", 2),
        ("epoch", "-1"),
        ("epoch", "02"),
        ("epoch", "1" * 79),
        ("epoch", True),
        ("intent_id", 7),
        ("attempt", "one"),
        ("sender", None),
        ("transaction", None),
        ("transaction", []),
        ("transaction.data", "beef"),
        ("transaction.data", "0xBEEF"),
        ("transaction.data", "0xabc"),
        ("transaction.chain_id", "0"),
        ("transaction.to", "0x12"),
        ("transaction.max_fee_per_gas_wei", "0"),
        ("transaction.gas_limit", str(2**64)),
    ],
)
def test_another_form_is_refused(path: str, value: Any) -> None:
    with pytest.raises(MalformedFrameError):
        load(SignRequest, changed(path, value))


@pytest.mark.parametrize("field", [*SIGN, *(f"transaction.{name}" for name in SIGN["transaction"])])
def test_every_field_must_be_there(field: str) -> None:
    copy = json.loads(json.dumps(SIGN))
    part = copy
    *parents, last = field.split(".")
    for name in parents:
        part = part[name]
    del part[last]
    with pytest.raises(MalformedFrameError, match=last):
        load(SignRequest, copy)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"7", b"null", b"\xff{}", b'{"a":1,"a":2}', b'{"a":1.5}', b'{"a":NaN}', b'{"a":Infinity}',
     b"[" * 20_000, b'{"a":1}x'],
)  # fmt: skip
def test_anything_but_one_plain_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedFrameError):
        to_object(body)


@given(st.binary(max_size=200))
def test_no_bytes_bring_the_reader_down(body: bytes) -> None:
    try:
        load(SignRequest, to_object(body))
    except MalformedFrameError:
        return
    raise AssertionError("chance wrote a request")


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=20), max_size=3), max_size=8), st.data())
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(messages: list[Any], data: st.DataObject) -> None:
    stream = b"".join(map(to_frame, messages))
    frames, found, at = Frames(), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, 17))
        found += frames.feed(stream[at : at + step])
        at += step
    assert [to_object(frame) for frame in found] == messages
    assert not frames.is_inside_a_frame


def test_an_oversized_frame_is_neither_written_nor_read() -> None:
    with pytest.raises(OversizedFrameError):
        to_frame({"a": "x" * MAX_FRAME_BYTES})
    with pytest.raises(OversizedFrameError):
        Frames().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
    frames = Frames()
    assert frames.feed(MAX_FRAME_BYTES.to_bytes(4, "big")) == []
    assert frames.is_inside_a_frame


def test_what_the_language_has_no_form_for_is_not_sent() -> None:
    with pytest.raises(TypeError):
        dump(1.5)
