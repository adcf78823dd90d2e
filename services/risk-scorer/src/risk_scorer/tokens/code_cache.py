"""Verdicts on codes in Redis: one takes up to seconds, and a code never changes. Losing them costs that time again."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from dexlane.domain.risk.evidence import CodeFacts
from risk_scorer.tokens.row_cache import Form, Keeping, RowCache

CODES_KEPT_S = 30 * 86_400
_JUDGE = "dexlane.domain.risk.bytecode"


def judge_digest() -> str:
    """Names the rules that judge codes: what other rules said is no evidence."""
    sources = sorted((each.name, each) for each in files(_JUDGE).iterdir() if each.name.endswith(".py"))
    digest = hashlib.blake2b(digest_size=8)
    for name, source in sources:
        digest.update(name.encode() + source.read_bytes())
    return digest.hexdigest()


class CodeCache(RowCache[CodeFacts]):
    """What is known by code hash, the same for every chain."""

    def __init__(self, keeping: Keeping, prefix: str) -> None:
        form = Form(lambda facts: facts.model_dump(mode="json"), CodeFacts.model_validate, CODES_KEPT_S)
        super().__init__(keeping, f"{prefix}:codes:{judge_digest()}", form)
