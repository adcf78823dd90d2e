"""A probe says True, or a reason that a person can act on; it never raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dexlane_cli import probes

pytestmark = pytest.mark.integration


@asynccontextmanager
async def server(answer: bytes, *, after_s: float = 0.0) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Its URL, and the requests it got."""
    asked: list[bytes] = []

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        await asyncio.sleep(after_s)
        writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(reply, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/readyz?js=true", asked


def answer(status: int, body: str) -> bytes:
    return f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def test_a_process_that_answers_200_is_ready_and_is_asked_for_the_whole_path() -> None:
    async with server(answer(200, "")) as (url, asked):
        assert await probes.http(url)() is True
        assert asked[0].startswith(b"GET /readyz?js=true HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    ("answered", "reason"),
    [
        (answer(503, '{"reasons": {"bus": "no link", "mirror 1": "no block"}}'), "bus: no link; mirror 1: no block"),
        (answer(503, "{}"), "status 503"),
        (answer(500, "<html>"), "status 500"),
        (answer(503, "[1]"), "status 503"),
        (b"SSH-2.0-OpenSSH\r\n", "does not answer yet"),
        (b"HTTP/1.1\r\n\r\n", "does not answer yet"),
        (b"", "does not answer yet"),
    ],
)
async def test_what_is_not_ready_says_why(answered: bytes, reason: str) -> None:
    async with server(answered) as (url, _):
        said = await probes.http(url)()
    assert isinstance(said, str)
    assert said.endswith(reason)


async def test_what_does_not_listen_or_is_silent_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "ANSWER_TIMEOUT_S", 0.1)
    async with server(answer(200, ""), after_s=0.5) as (url, _):
        assert await probes.http(url)() == f"{url} does not answer yet"
    assert await probes.http(url)() == f"{url} does not answer yet"
    assert await probes.json_rpc(url)() == f"no node answers at {url} yet"
    assert await probes.fetch(url) is None


async def test_a_node_is_what_has_a_result() -> None:
    async with server(answer(200, '{"result": "0x1"}')) as (url, asked):
        assert await probes.json_rpc(url)() is True
        assert asked[0].startswith(b"POST ")
    for body in ('{"error": {}}', "no JSON", "[]"):
        async with server(answer(200, body)) as (url, _):
            assert await probes.json_rpc(url)() == f"{url} is no JSON-RPC node"


async def test_a_page_is_fetched_only_as_an_object_with_status_200() -> None:
    for status, body, found in ((200, '{"a": 1}', {"a": 1}), (200, "[]", None), (503, '{"a": 1}', None)):
        async with server(answer(status, body)) as (url, _):
            assert await probes.fetch(url) == found
