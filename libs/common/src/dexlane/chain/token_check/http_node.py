"""A node behind an HTTP address, for checks that people ask for: one request at a time, answers bounded in size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import orjson

from dexlane.chain.link import Request, RpcError, RpcUnavailable, host_of

MAX_ANSWER_BYTES = 64 * 1024 * 1024


class HttpNode:
    """Implements ``Node``. Open it with ``async with``."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._client = httpx.AsyncClient(timeout=timeout_s, trust_env=False)

    async def __aenter__(self) -> HttpNode:
        """Itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def call(self, method: str, *params: Any, timeout_s: float | None = None) -> Any:
        """The result of one request. Raises ``RpcError`` or ``RpcUnavailable``."""
        [answer] = await self.batch([(method, params)], timeout_s=timeout_s)
        if isinstance(answer, RpcError):
            raise answer
        return answer

    async def batch(self, requests: Sequence[Request], *, timeout_s: float | None = None) -> list[Any]:
        """Results in the order of the requests; a refused one is an ``RpcError`` in its place."""
        if not requests:
            return []
        bodies = [
            {"jsonrpc": "2.0", "id": at, "method": method, "params": list(params)}
            for at, (method, params) in enumerate(requests)
        ]
        answers = read_answers(await self._post(orjson.dumps(bodies), timeout_s))
        by_id = {answer.get("id"): answer for answer in answers}
        if by_id.keys() != set(range(len(bodies))):
            raise RpcUnavailable(f"the node at {host_of(self._url)} did not answer every request of a batch")
        return [_result(by_id[at]) for at in range(len(bodies))]

    async def _post(self, body: bytes, timeout_s: float | None) -> bytes:
        where, headers = host_of(self._url), {"content-type": "application/json"}
        timeout = httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s
        parts: list[bytes] = []
        size = 0
        try:
            async with self._client.stream("POST", self._url, content=body, headers=headers, timeout=timeout) as answer:
                async for part in answer.aiter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > MAX_ANSWER_BYTES:
                        raise RpcUnavailable(f"the answer of {where} is longer than {MAX_ANSWER_BYTES} bytes")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RpcUnavailable(f"no node answers at {where}: {error or type(error).__name__}") from error
        return b"".join(parts)


def read_answers(body: bytes) -> list[dict[str, Any]]:
    """The answers of a batch; ``RpcUnavailable`` when they are none."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RpcUnavailable("the node's answer is no JSON") from error
    answers = content if isinstance(content, list) else [content]
    if not all(isinstance(answer, dict) for answer in answers):
        raise RpcUnavailable("the node's answer is no JSON-RPC")
    return answers


def _result(answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if isinstance(error, dict):
        return RpcError(int(error.get("code", 0)), str(error.get("message", "")), error.get("data"))
    return answer.get("result")
