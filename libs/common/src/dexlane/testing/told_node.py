"""A node that says what a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dexlane.chain.link import Request, RpcError


class ToldNode:
    """Each request is answered by its method and parameters; an ``RpcError`` is a refusal. It counts its rounds."""

    def __init__(self, answer: Callable[[str, Sequence[Any]], Any]) -> None:
        self._answered = answer
        self.rounds = 0

    async def call(self, method: str, *params: Any, timeout_s: float | None = None) -> Any:
        """One request. Raises the ``RpcError`` that it is refused with."""
        [answer] = await self.batch([(method, params)], timeout_s=timeout_s)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, requests: Sequence[Request], *, timeout_s: float | None = None) -> list[Any]:
        """Several; refusals are among the answers."""
        del timeout_s
        self.rounds += 1
        return [self._answered(method, params) for method, params in requests]
