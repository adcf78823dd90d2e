"""Ways to find out whether a process is ready. A probe returns True, or the reason why not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import orjson

from dexlane.runtime.signer_control import tell

Probe = Callable[[], Awaitable[bool | str]]

ANSWER_TIMEOUT_S = 2.0
JSON = {"Content-Type": "application/json"}
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: only this machine is asked. The usual context takes 30 ms to read every authority of the world, for
each of the many questions while services start."""


def tcp(port: int) -> Probe:
    """Something accepts connections on this loopback port."""

    async def probe() -> bool | str:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return f"nothing listens on port {port} yet"
        writer.close()
        await writer.wait_closed()
        return True

    return probe


def http(url: str) -> Probe:
    """The URL answers 200; a service's ``/readyz`` says why not."""

    async def probe() -> bool | str:
        answer = await _asked(url)
        if answer is None:
            return f"{url} does not answer yet"
        status, body = answer
        if status == 200:
            return True
        found = _json_object(body) or {}
        reasons = found.get("reasons", {})
        return "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or f"status {status}"

    return probe


def signer(control: Path) -> Probe:
    """A signer's process answers at its control socket, whatever it may sign just now."""

    async def probe() -> bool | str:
        answer = await tell(control, {"do": "status"})
        return True if "level" in answer else str(answer.get("refused", "the signer does not say what holds"))

    return probe


async def fetch(url: str) -> dict[str, Any] | None:
    """The JSON object at a URL; None when there is none."""
    answer = await _asked(url)
    return _json_object(answer[1]) if answer is not None and answer[0] == 200 else None


def json_rpc(url: str) -> Probe:
    """A node answers ``eth_chainId``."""

    async def probe() -> bool | str:
        answer = await _asked(url, b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}')
        if answer is None:
            return f"no node answers at {url} yet"
        return (
            True if answer[0] == 200 and "result" in (_json_object(answer[1]) or {}) else f"{url} is no JSON-RPC node"
        )

    return probe


async def _asked(url: str, content: bytes | None = None) -> tuple[int, bytes] | None:
    """Status and body, of a POST when there is content; None without an answer."""
    try:
        async with httpx.AsyncClient(timeout=ANSWER_TIMEOUT_S, trust_env=False, verify=NO_TLS) as client:
            answer = await client.request("GET" if content is None else "POST", url, content=content, headers=JSON)
    except httpx.HTTPError:
        return None
    return answer.status_code, answer.content


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
