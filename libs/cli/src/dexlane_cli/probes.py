"""Ways to find out whether a process is ready. A probe returns True, or the reason why not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from dexlane.runtime.signer_control import tell

Probe = Callable[[], Awaitable[bool | str]]


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
        try:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                answer = await client.get(url)
        except httpx.HTTPError:
            return f"{url} does not answer yet"
        if answer.status_code == 200:
            return True
        try:
            reasons = answer.json().get("reasons", {})
        except ValueError:
            reasons = {}
        return "; ".join(f"{name}: {reason}" for name, reason in reasons.items()) or f"status {answer.status_code}"

    return probe


def signer(control: Path) -> Probe:
    """A signer's process answers at its control socket, whatever it may sign just now."""

    async def probe() -> bool | str:
        answer = await tell(control, {"do": "status"})
        return True if "level" in answer else str(answer.get("refused", "the signer does not say what holds"))

    return probe


async def fetch(url: str) -> dict[str, Any] | None:
    """The JSON object at a URL; None when there is none."""
    try:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            answer = await client.get(url)
        found = answer.json()
    except (httpx.HTTPError, ValueError):
        return None
    return found if answer.status_code == 200 and isinstance(found, dict) else None


def json_rpc(url: str) -> Probe:
    """A node answers ``eth_chainId``."""

    async def probe() -> bool | str:
        request = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
        try:
            async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
                answer = await client.post(url, json=request)
        except httpx.HTTPError:
            return f"no node answers at {url} yet"
        return True if answer.status_code == 200 and "result" in answer.json() else f"{url} is no JSON-RPC node"

    return probe
