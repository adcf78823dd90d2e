"""Rules of the outbox, on a node that answers by rote."""

import asyncio
from typing import Any

from dexlane_devnet.outbox import Outbox
from dexlane_devnet.rpc import Rpc, RpcError

SENDER = "0x" + "1" * 40


class RoteNode(Rpc):
    """Counts the nonce up by one at each of the next ``late`` reads; refuses a transaction whose nonce is used up."""

    def __init__(self, nonce: int, late: int = 0) -> None:
        self.nonce, self.late = nonce, late
        self.taken: list[int] = []

    async def call(self, method: str, *params: Any) -> Any:
        if method == "eth_getTransactionCount":
            if self.late:
                self.nonce, self.late = self.nonce + 1, self.late - 1
            return hex(self.nonce)
        if method == "eth_sendTransaction":
            nonce = int(params[0]["nonce"], 16)
            if nonce < self.nonce:
                raise RpcError(method, {"message": "nonce too low"})
            self.taken.append(nonce)
            return "0x1"
        return None


async def test_opening_waits_until_the_node_has_mined_what_an_earlier_run_left() -> None:
    node = RoteNode(229, late=38)
    outbox = Outbox(node, SENDER)
    await outbox.open()
    await outbox.send(SENDER, "0x")
    assert node.taken == [267]


async def test_a_nonce_that_was_used_up_is_learnt_anew_without_waiting_for_a_block() -> None:
    node = RoteNode(229)
    outbox = Outbox(node, SENDER)
    await outbox.open()
    node.nonce = 267
    async with asyncio.timeout(2):
        await outbox.send(SENDER, "0x")
    assert node.taken == [267]
