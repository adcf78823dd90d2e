"""Verdicts on codes in Redis: one takes up to seconds, and a code never changes. Losing them costs that time again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dexlane.domain.risk.evidence import CodeFacts

CODES_KEPT_S = 30 * 86_400
_JUDGE = "dexlane.domain.risk.bytecode"


def judge_digest() -> str:
    """Names the rules that judge codes: what other rules said is no evidence."""
    sources = sorted((each.name, each) for each in files(_JUDGE).iterdir() if each.name.endswith(".py"))
    digest = hashlib.blake2b(digest_size=8)
    for name, source in sources:
        digest.update(name.encode() + source.read_bytes())
    return digest.hexdigest()


class CodeCache:
    """What is known by code hash, the same for every chain. Each use begins the time of all anew."""

    def __init__(self, redis: Redis, prefix: str, on_lost: Callable[[str], None]) -> None:
        self._redis = redis
        self._key = f"{prefix}:codes:{judge_digest()}"
        self._on_lost = on_lost

    async def recall(self) -> dict[str, CodeFacts]:
        """Everything that is kept; nothing when the cache does not answer."""
        try:
            rows = await self._redis.hgetall(self._key)
        except (RedisError, OSError) as error:
            self._on_lost(str(error) or type(error).__name__)
            return {}
        found = {_text(code_hash): _facts(row) for code_hash, row in rows.items()}
        return {code_hash: facts for code_hash, facts in found.items() if facts is not None}

    async def keep(self, judged: Mapping[str, CodeFacts]) -> None:
        """Write verdicts."""
        rows: dict[Any, Any] = {code_hash: facts.model_dump_json() for code_hash, facts in judged.items()}
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hset(self._key, mapping=rows)
                pipe.expire(self._key, CODES_KEPT_S)
                await pipe.execute()
        except (RedisError, OSError) as error:
            self._on_lost(str(error) or type(error).__name__)


def _text(key: bytes | str) -> str:
    return key if isinstance(key, str) else key.decode()


def _facts(row: bytes | str) -> CodeFacts | None:
    """What another version wrote is no evidence."""
    try:
        return CodeFacts.model_validate_json(row)
    except ValidationError:
        return None
