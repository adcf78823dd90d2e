"""What executors and the signer's process say to each other: frames of JSON, read strictly.

A frame is a length of four bytes (big endian) and that many bytes of one JSON object. Integers are decimal strings,
bytes are ``0x`` and hex digits. Every field must be there and none may be unknown: two versions that differ understand
nothing of each other, rather than something else.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

MAX_FRAME_BYTES = 65_536
"""Larger than any router program that the rules admit."""
_LENGTH = 4
_INTEGER = re.compile(r"0|[1-9][0-9]{0,77}")
_BYTES = re.compile(r"0x(?:[0-9a-f]{2})*")
T = TypeVar("T")


class MalformedFrameError(ValueError):
    """The bytes are no frame that this signer understands; one sentence says why."""


class OversizedFrameError(MalformedFrameError):
    """The frame is longer than is read; what follows it cannot be found."""


class Frames:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return every frame that is whole. Raises ``OversizedFrameError``; then the stream is lost."""
        self._buffer += data
        whole: list[bytes] = []
        while len(self._buffer) >= _LENGTH:
            length = int.from_bytes(self._buffer[:_LENGTH], "big")
            if length > MAX_FRAME_BYTES:
                raise OversizedFrameError(f"a frame of {length} bytes is over {MAX_FRAME_BYTES}")
            if len(self._buffer) < _LENGTH + length:
                break
            whole.append(bytes(self._buffer[_LENGTH : _LENGTH + length]))
            del self._buffer[: _LENGTH + length]
        return whole

    @property
    def is_inside_a_frame(self) -> bool:
        """Whether bytes of an unfinished frame were taken."""
        return bool(self._buffer)


def to_frame(message: Mapping[str, Any]) -> bytes:
    """One message as bytes. Raises ``OversizedFrameError``."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME_BYTES:
        raise OversizedFrameError(f"a frame of {len(body)} bytes is over {MAX_FRAME_BYTES}")
    return len(body).to_bytes(_LENGTH, "big") + body


def to_object(body: bytes) -> dict[str, Any]:
    """Read one JSON object: UTF-8, no name twice, no fractions. Raises ``MalformedFrameError``."""
    try:
        message = json.loads(
            body.decode(), object_pairs_hook=_unique, parse_float=_no_number, parse_constant=_no_number
        )
    except MalformedFrameError:
        raise
    except (ValueError, RecursionError):
        raise MalformedFrameError("the frame is no JSON") from None
    if not isinstance(message, dict):
        raise MalformedFrameError("the frame is no JSON object")
    return message


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise MalformedFrameError("a field is there twice")
    return names


def _no_number(_: str) -> NoReturn:
    raise MalformedFrameError("fractions and infinities are no part of this language")


def dump(value: Any) -> Any:
    """A request or one of its parts as JSON. Raises ``TypeError`` for what the language has no form for."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, int):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {name: dump(getattr(value, name)) for name in _hints(type(value))}
    raise TypeError(f"{type(value).__name__} cannot be sent")


def load(kind: type[T], value: Any) -> T:
    """Read a request of a kind from JSON. Raises ``MalformedFrameError`` with the name of what is wrong."""
    loaded: T = _load(kind, value, kind.__name__)
    return loaded


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind) if field.init}


def _load(kind: Any, value: Any, name: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        inner = next(part for part in get_args(kind) if part is not type(None))
        return None if value is None else _load(inner, value, name)
    if origin is Literal:
        if not isinstance(value, str) or value not in get_args(kind):
            raise MalformedFrameError(f"{name} is none of {', '.join(get_args(kind))}")
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        return _load_fields(kind, value, name)
    return _load_plain(kind, value, name)


def _load_plain(kind: Any, value: Any, name: str) -> Any:
    if not isinstance(value, str):
        raise MalformedFrameError(f"{name} is not written as text")
    if kind is str:
        return value
    if kind is int and _INTEGER.fullmatch(value):
        return int(value)
    if kind is bytes and _BYTES.fullmatch(value):
        return bytes.fromhex(value[2:])
    raise MalformedFrameError(f"{name} has another form")


def _load_fields(kind: type, value: Any, name: str) -> Any:
    hints = _hints(kind)
    if not isinstance(value, dict):
        raise MalformedFrameError(f"{name} is no object")
    if value.keys() != hints.keys():
        odd = sorted(value.keys() ^ hints.keys())[0]
        raise MalformedFrameError(f"{name} has {'no' if odd in hints else 'an unknown'} field {odd[:40]!r}")
    parts = {field: _load(hint, value[field], f"{name}.{field}") for field, hint in hints.items()}
    try:
        return kind(**parts)
    except ValueError as error:
        raise MalformedFrameError(f"{name}: {error}") from None
