"""With nodes given in the environment the same command paper-trades those chains. A second anvil plays the node."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dexlane.events.execution import FillIncluded, IntentCreated, TxChanged
from dexlane.testing.servers import free_port
from dexlane.testing.stack import Stack
from ports import free_shift

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def node_port() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "dexlane_devnet", "up", "--port", str(port), "--speed", "400"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"ready")
        # Nobody reads the progress lines that follow, and a full pipe would stop the node.
        drain = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        yield port
        process.terminate()
        process.wait(20)
        drain.wait(5)
    finally:
        if process.poll() is None:
            process.kill()


def remote(home: Path, nodes: str) -> Stack:
    return Stack(home, free_shift(), {"DEXLANE_RPC_WS_URLS": nodes})


@pytest.fixture
def remote_stack(tmp_path: Path, node_port: int) -> Iterator[Stack]:
    stack = remote(tmp_path, f'{{"1": "ws://127.0.0.1:{node_port}"}}')
    stack.start()
    try:
        stack.wait_ready()
        yield stack
    finally:
        stack.stop()


async def test_the_given_chain_is_traded_on_paper_only(remote_stack: Stack) -> None:
    async with remote_stack.bus() as witness:
        fill = await witness.until(FillIncluded, timeout_s=180)
        intents = await witness.stored(IntentCreated)
        changes = await witness.stored(TxChanged)
    assert fill.mode == "paper"
    assert {intent.mode for intent in intents} == {"paper"}
    assert all(change.tx_hash is None for change in changes)
    async with httpx.AsyncClient(base_url=remote_stack.gateway, timeout=10, trust_env=False) as client:
        books = (await client.get("/api/v1/books")).json()["data"]
    assert {entry["book"]["mode"] for entry in books} == {"paper"}


async def test_a_live_book_is_refused_there_in_one_sentence(tmp_path: Path, node_port: int) -> None:
    stack = remote(tmp_path, f'{{"1": "ws://127.0.0.1:{node_port}"}}')
    stack.home.mkdir(exist_ok=True)
    example = Path(__file__).parents[2] / "books.example.toml"
    (stack.home / "books-remote.toml").write_text(
        example.read_text()
        .replace('"live-fast"', '"0x000000000000000000000000000000000000dEaD"')
        .replace('"live-smart"', '"0x000000000000000000000000000000000000bEEF"')
    )
    stack.start()
    code = await asyncio.to_thread(stack.process.wait, 120) if stack.process else 0
    assert code == 1
    assert "I accept that real money can be lost" in stack.output


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        ('{"1": "ws://127.0.0.1:9"}', "does not answer; check DEXLANE_RPC_WS_URLS"),
        ('{"8453": "ws://127.0.0.1:PORT"}', "is on chain 1, not 8453"),
    ],
)
def test_a_wrong_node_is_one_sentence(tmp_path: Path, node_port: int, nodes: str, sentence: str) -> None:
    stack = remote(tmp_path, nodes.replace("PORT", str(node_port)))
    stack.start()
    assert stack.process is not None
    assert stack.process.wait(60) == 1
    assert sentence in stack.output.replace("\n", " ")
