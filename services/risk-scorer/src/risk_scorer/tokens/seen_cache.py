"""The caches that keep evidence about tokens between runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from dexlane.domain.risk.evidence import Seen, TokenFacts, TrialFacts
from risk_scorer.tokens.row_cache import Form, Keeping, RowCache

FACTS_KEPT_S = 7 * 86_400
TRIALS_KEPT_S = 6 * 3_600

F = TypeVar("F", bound=TokenFacts | TrialFacts)


class SeenCache(RowCache[Seen[F]]):
    """Evidence about the tokens of one chain."""

    def __init__(self, keeping: Keeping, key: str, read: Callable[[Any], F], kept_s: int) -> None:
        def unpack(row: Any) -> Seen[F]:
            return Seen(read(row["facts"]), int(row["block"]), int(row["at_ms"]))

        super().__init__(keeping, key, Form(_packed, unpack, kept_s))

    def place(self, facts: F) -> str:
        """What a piece of evidence is kept under: the token's address."""
        return facts.address

    async def keep(self, facts: Iterable[Seen[F]]) -> None:
        """Write evidence."""
        await self.write({self.place(seen.value): seen for seen in facts})


class FactCache(SeenCache[TokenFacts]):
    """What the node said, for a week."""

    def __init__(self, keeping: Keeping, prefix: str) -> None:
        super().__init__(keeping, f"{prefix}:token-facts", TokenFacts.model_validate, FACTS_KEPT_S)


class TrialCache(SeenCache[TrialFacts]):
    """What executed checks said, for some hours; older ones would be too old to count."""

    def __init__(self, keeping: Keeping, prefix: str) -> None:
        super().__init__(keeping, f"{prefix}:token-trials", TrialFacts.model_validate, TRIALS_KEPT_S)

    def place(self, facts: TrialFacts) -> str:
        """A check is about a token in a pool."""
        return f"{facts.address} {facts.pool}"


def _packed(seen: Seen[Any]) -> dict[str, Any]:
    return {"block": seen.block, "at_ms": seen.at_ms, "facts": seen.value.model_dump(mode="json")}
