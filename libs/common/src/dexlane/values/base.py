"""The base of every value: frozen, closed to unknown fields, compared by content."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Self

import orjson
from pydantic import BaseModel, ConfigDict

CLOSED = ConfigDict(extra="forbid", ser_json_bytes="utf8")
"""For values that are made by the thousand: pydantic dataclasses, frozen, with slots, and as closed as ``Value``.

They have no dictionary, so each is one object in memory where a model is two; checks and wire form are the same. To go
through a market of very many pools is to wait for memory, and that is per object.
"""

_new = object.__new__
# The four slots of a pydantic model, written as pydantic itself does, past the refusal of a frozen one.
_put_fields = BaseModel.__dict__["__dict__"].__set__
_put_fields_set = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_put_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_put_private = BaseModel.__dict__["__pydantic_private__"].__set__


class Value(BaseModel):
    """A frozen value. Unknown fields are refused, so that a typing slip cannot pass as an option."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="utf8")

    _every_field: ClassVar[set[str]] = set()

    @classmethod
    def __pydantic_init_subclass__(cls, **_arguments: Any) -> None:
        """Note the names of the fields for ``unchecked``."""
        cls._every_field = set(cls.model_fields)

    @classmethod
    def unchecked(cls, fields: dict[str, Any]) -> Self:
        """A value from **all** its fields, in their order and of their types, without validation: some ten times
        cheaper.

        Only for fields that were checked where they came in. ``fields`` belongs to the value from here on.
        """
        made = _new(cls)
        _put_fields(made, fields)
        _put_fields_set(made, cls._every_field)  # shared: pydantic copies it before it changes it
        _put_extra(made, None)
        _put_private(made, None)
        return made


def digest(*parts: Any) -> str:
    """Return a deterministic 128-bit identifier (32 hex digits) of the given parts.

    Parts are JSON-serialised with sorted keys; integers beyond 64 bits must be passed as strings. The same
    parts give the same identifier in every process, which is what makes a redelivery harmless.
    """
    encoded = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()
