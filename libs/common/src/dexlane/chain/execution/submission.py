"""Handing signed bytes to a node, and what its answer means."""

from __future__ import annotations

from collections.abc import Callable

from dexlane.chain.rpc import Rpc, RpcError, RpcUnavailable
from dexlane.domain.publish_answers import PublishAnswer, classify_refusal


async def submit(rpc: Rpc, raw: bytes, on_sent: Callable[[], None] | None = None) -> tuple[PublishAnswer, str]:
    """Send once; never raises for what the node or the link says. The text is the node's own, empty when accepted.
    ``on_sent`` is called when the bytes were handed over, before the node has answered.

    A lost answer is ``UNKNOWN``: the bytes may have been accepted, and only receipts can tell.
    """
    try:
        await rpc.send_raw_transaction(raw, on_sent=on_sent)
    except RpcError as error:
        return classify_refusal(error.message), error.message
    except RpcUnavailable as error:
        return PublishAnswer.UNKNOWN, str(error)
    return PublishAnswer.ACCEPTED, ""
