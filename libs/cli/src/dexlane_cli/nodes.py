"""A first look at nodes that the user gave: they answer, and on the chain that was named."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import orjson
import websockets

from dexlane_cli.errors import CommandError

ANSWER_TIMEOUT_S = 8.0


async def require_nodes(nodes: Mapping[int, Sequence[str]]) -> None:
    """One sentence about the first node that does not answer or is on another chain."""
    for chain_id, url in ((chain_id, url) for chain_id, urls in nodes.items() for url in urls):
        shown = url.split("?")[0].rsplit("/", 1)[0]  # the last part of a provider's URL is often a secret
        try:
            found = await asyncio.wait_for(_chain_id(url), ANSWER_TIMEOUT_S)
        except (OSError, TimeoutError, ValueError, KeyError, websockets.WebSocketException) as error:
            raise CommandError(
                f"the node of chain {chain_id} at {shown} does not answer; check DEXLANE_RPC_WS_URLS and that it runs"
            ) from error
        if found != chain_id:
            raise CommandError(f"the node at {shown} is on chain {found}, not {chain_id}; correct DEXLANE_RPC_WS_URLS")


async def _chain_id(url: str) -> int:
    async with websockets.connect(url, open_timeout=ANSWER_TIMEOUT_S, proxy=None) as link:
        await link.send('{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}')
        return int(orjson.loads(await link.recv())["result"], 16)
