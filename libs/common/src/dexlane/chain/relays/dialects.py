"""The three kinds of relays, as their operators document them.

Sources: Flashbots documentation, "eth_sendPrivateTransaction", "Transaction Status API", "JSON-RPC Endpoints" and
"Bundle Cancellations"; MEV Blocker documentation, "Endpoints" and "Transaction Status".
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from dexlane.chain.relays.http import RelayHttp, Reply
from dexlane.chain.relays.relay import Parcel, RelayAnswer, RelayStatus
from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.relay_scores import Fault

PRIVATE_BLOCKS = 25
"""Protect forgets a transaction after so many blocks, and cuts a longer wish down to it without a word."""

_STATUSES = {
    "PENDING": RelayStatus.PENDING,
    "INCLUDED": RelayStatus.INCLUDED,
    "FAILED": RelayStatus.GONE,
    "CANCELLED": RelayStatus.GONE,
    "UNKNOWN": RelayStatus.UNKNOWN,
}
OnSent = Callable[[], None]


class _Dialect:
    """What all kinds have in common: a name, an end point, and perhaps a status page."""

    def __init__(self, name: str, http: RelayHttp) -> None:
        self.name = name
        self._http = http

    async def status(self, tx_hash: str) -> RelayStatus:
        """What the status page says; one that is not there, or fails, says nothing."""
        return _STATUSES.get(await self._http.status(tx_hash), RelayStatus.UNKNOWN)

    async def stop(self) -> None:
        """Close the connections."""
        await self._http.close()


class Protect(_Dialect):
    """Flashbots Protect."""

    async def send(self, parcel: Parcel, on_sent: OnSent | None = None) -> RelayAnswer:
        """``eth_sendPrivateTransaction`` until the last useful block."""
        until = min(parcel.last_block, parcel.tip + PRIVATE_BLOCKS)
        wish = {"tx": _hex(parcel.raw), "maxBlockNumber": hex(until), "preferences": {"fast": True}}
        reply = await self._http.call("eth_sendPrivateTransaction", [wish], on_sent)
        return _read_hash(reply, parcel, until)

    async def cancel(self, parcel: Parcel) -> bool:
        """``eth_cancelPrivateTransaction``."""
        reply = await self._http.call("eth_cancelPrivateTransaction", [{"txHash": parcel.tx_hash}])
        return reply.result is True


class PrivatePool(_Dialect):
    """An end point that takes plain transactions and keeps them private. It knows no cancel: the self-transfer in the
    same slot is the only one."""

    async def send(self, parcel: Parcel, on_sent: OnSent | None = None) -> RelayAnswer:
        """``eth_sendRawTransaction``."""
        reply = await self._http.call("eth_sendRawTransaction", [_hex(parcel.raw)], on_sent)
        return _read_hash(reply, parcel, parcel.tip + PRIVATE_BLOCKS)

    async def cancel(self, parcel: Parcel) -> bool:
        """There is no such request."""
        return False


class Bundles(_Dialect):
    """A builder: a bundle of one transaction for the next block, anew for each. Requests are signed."""

    async def send(self, parcel: Parcel, on_sent: OnSent | None = None) -> RelayAnswer:
        """``eth_sendBundle`` for the block after the tip; nothing in it may revert."""
        bundle: dict[str, object] = {
            "txs": [_hex(parcel.raw)],
            "blockNumber": hex(parcel.tip + 1),
            "minTimestamp": 0,
            "revertingTxHashes": [],
            "replacementUuid": _slot_uuid(parcel),
        }
        if parcel.deadline_s is not None:
            bundle["maxTimestamp"] = parcel.deadline_s
        reply = await self._http.call("eth_sendBundle", [bundle], on_sent)
        if reply.result is not None and not isinstance(reply.result, dict | str):
            reply = Reply(fault=(Fault.GARBAGE, "the answer to a bundle names none"))
        # Some builders answer null, and mean that they took it.
        return _answer(reply, parcel.tip + 1)

    async def cancel(self, parcel: Parcel) -> bool:
        """``eth_cancelBundle`` of all attempts of the slot."""
        reply = await self._http.call("eth_cancelBundle", [{"replacementUuid": _slot_uuid(parcel)}])
        return reply.refusal is None and reply.fault is None


def _read_hash(reply: Reply, parcel: Parcel, until: int) -> RelayAnswer:
    """An acceptance names the transaction; one that names another has not understood what it was given."""
    named = reply.result.lower() if isinstance(reply.result, str) else ""
    if reply.refusal is None and reply.fault is None and named != parcel.tx_hash:
        reply = Reply(fault=(Fault.GARBAGE, "the answer names another transaction"))
    return _answer(reply, until)


def _answer(reply: Reply, until: int) -> RelayAnswer:
    if reply.fault is not None:
        fault, text = reply.fault
        limited = fault is Fault.RATE_LIMITED
        return RelayAnswer(PublishAnswer.RATE_LIMITED if limited else PublishAnswer.UNKNOWN, text, fault, until)
    if reply.refusal is not None:
        answer, text = reply.refusal
        return RelayAnswer(answer, text, None, until)
    return RelayAnswer(PublishAnswer.ACCEPTED, "", None, until)


def _slot_uuid(parcel: Parcel) -> str:
    """The same for all attempts of a slot, so that a later bundle takes the place of an earlier one."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, parcel.slot_key))


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()
