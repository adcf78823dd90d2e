"""One relay's end point over HTTP: requests, and everything that can go wrong with the answer, named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from dexlane.chain.relays.auth import HEADER, AuthKey, as_body
from dexlane.domain.publish_answers import PublishAnswer, classify_refusal
from dexlane.domain.relay_scores import Fault

MAX_ANSWER_BYTES = 1_000_000
TOO_MANY = 429
SERVER_ERROR = 500
BODY_SENT = "send_request_body.complete"
"""The end of the name of httpcore's trace event, for HTTP/1.1 and HTTP/2."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A result, or why there is none. Exactly one of the three is set, unless the result is null."""

    result: Any = None
    refusal: tuple[PublishAnswer, str] | None = None
    fault: tuple[Fault, str] | None = None


class RelayHttp:
    """Requests to one end point, over connections that are kept."""

    def __init__(
        self,
        url: str,
        auth: AuthKey | None,
        *,
        status_url: str | None = None,
        timeout_s: float = 3.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._status_url = status_url
        self._auth = auth
        self._timeout_s = timeout_s
        # No proxy from the environment: what is private goes to the relay and to nobody in between. Without https
        # (on this machine only) there is no certificate to look at.
        is_secure = url.startswith("https:")
        self._client = httpx.AsyncClient(timeout=timeout_s, trust_env=False, verify=is_secure, transport=transport)

    async def call(self, method: str, params: list[object], on_sent: Callable[[], None] | None = None) -> Reply:
        """One JSON-RPC request, its body signed where there is a key. Never raises for the answer."""
        body = as_body(method, params)
        headers = {"Content-Type": "application/json"}
        if self._auth is not None:
            headers[HEADER] = self._auth.header(body)
        request = self._client.build_request("POST", self._url, content=body, headers=headers)
        if on_sent is not None:
            request.extensions["trace"] = _telling(on_sent)
        answer = await self._exchange(request)
        return answer if isinstance(answer, Reply) else _read(answer)

    async def status(self, tx_hash: str) -> str:
        """The word on the status page, in capitals; empty without a page, and when that cannot be read."""
        if self._status_url is None:
            return ""
        answer = await self._exchange(self._client.build_request("GET", self._status_url + tx_hash))
        if isinstance(answer, Reply) or answer.status_code != httpx.codes.OK:
            return ""
        try:
            page = orjson.loads(answer.content)
        except ValueError:
            return ""
        return _text(page.get("status")).upper() if isinstance(page, dict) else ""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _exchange(self, request: httpx.Request) -> httpx.Response | Reply:
        """The whole answer in time: httpx's timeout is for each read alone, and a relay that answers byte by byte would
        hold up whoever waits for it."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._whole(request)
        except TimeoutError:
            return Reply(fault=(Fault.UNREACHABLE, "no whole answer in time"))
        except (httpx.RemoteProtocolError, httpx.DecodingError) as error:
            return Reply(fault=(Fault.GARBAGE, f"the answer is no HTTP: {error}"))
        except httpx.HTTPError as error:
            return Reply(fault=(Fault.UNREACHABLE, f"{type(error).__name__}: {error}"))

    async def _whole(self, request: httpx.Request) -> httpx.Response | Reply:
        response = await self._client.send(request, stream=True)
        try:
            content = b""
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    return Reply(fault=(Fault.GARBAGE, "the answer does not end"))
        finally:
            await response.aclose()
        return httpx.Response(response.status_code, content=content)


def _read(response: httpx.Response) -> Reply:
    """What a relay said. Errors of JSON-RPC count whatever the HTTP status: relays refuse with 4xx and a reason."""
    try:
        answer = orjson.loads(response.content)
    except ValueError:
        answer = None
    error = answer.get("error") if isinstance(answer, dict) else None
    if response.status_code == TOO_MANY:
        return Reply(fault=(Fault.RATE_LIMITED, "too many requests"))
    if response.status_code >= SERVER_ERROR:
        return Reply(fault=(Fault.UNREACHABLE, f"HTTP status {response.status_code}"))
    if error is not None:
        return _refused(error)
    if response.status_code != httpx.codes.OK or not isinstance(answer, dict) or "result" not in answer:
        return Reply(fault=(Fault.GARBAGE, f"HTTP status {response.status_code} without a result"))
    return Reply(result=answer["result"])


def _refused(error: object) -> Reply:
    """Errors are objects with code and message, and at some relays plain text."""
    code, said = (error.get("code", 0), error.get("message")) if isinstance(error, dict) else (0, error)
    text = _text(said)
    answer = classify_refusal(text, code if isinstance(code, int) else 0)
    if answer is PublishAnswer.RATE_LIMITED:
        return Reply(fault=(Fault.RATE_LIMITED, text))
    return Reply(refusal=(answer, text))


def _text(said: object) -> str:
    """What should be text and may be anything: lists a thousand deep, which nobody can print."""
    return said if isinstance(said, str) else ""


def _telling(on_sent: Callable[[], None]) -> Callable[[str, dict[str, Any]], Any]:
    async def trace(event: str, info: dict[str, Any]) -> None:
        if event.endswith(BODY_SENT):
            on_sent()

    return trace
