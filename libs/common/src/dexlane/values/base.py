"""The base of every value: frozen, closed to unknown fields, compared by content."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen value. Unknown fields are refused, so that a typing slip cannot pass as an option."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="utf8")


def digest(*parts: Any) -> str:
    """Return a deterministic 128-bit identifier (32 hex digits) of the given parts.

    Parts are JSON-serialised with sorted keys; integers beyond 64 bits must be passed as strings. The same
    parts give the same identifier in every process, which is what makes a redelivery harmless.
    """
    encoded = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()
