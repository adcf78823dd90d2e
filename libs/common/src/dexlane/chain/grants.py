"""Who may take tokens of our accounts: read from logs and from the chain, whoever granted it.

A grant lies in the token (EIP-20 ``approve``, EIP-2612 ``permit``) or inside Permit2 (``AllowanceTransfer.sol``, where
it ends with a time). Every grant leaves a log that names its owner, so that one nobody planned is seen as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dexlane.chain.abi import AbiError
from dexlane.chain.answers import RawLog
from dexlane.chain.permit2 import (
    GRANT_TOPICS,
    PERMIT2,
    allowance,
    decode_amount,
    decode_permit2_allowance,
    permit2_allowance,
)
from dexlane.chain.rpc import Rpc, RpcError


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """Leave for ``spender`` to take ``token`` from ``owner``; inside Permit2, or in the token itself."""

    owner: str
    token: str
    spender: str
    in_permit2: bool = False


def grants_in(logs: Iterable[RawLog]) -> set[Grant]:
    """The grants that logs tell of. Only names are taken from them: how much is in force, the chain is asked."""
    found = set()
    for log in logs:
        topics = log.topics
        if topics and topics[0] == GRANT_TOPICS[0] and len(topics) == 3:
            found.add(Grant(_address(topics[1]), log.address, _address(topics[2])))
        elif log.address == PERMIT2 and topics and topics[0] in GRANT_TOPICS[1:] and len(topics) == 4:
            owner, token, spender = (_address(topic) for topic in topics[1:])
            found.add(Grant(owner, token, spender, in_permit2=True))
    return found


def usual_grants(owner: str, tokens: Iterable[str], routers: Sequence[str], universal: str) -> set[Grant]:
    """The grants that a trade may leave behind: to Permit2, to routers that pull tokens, and inside Permit2."""
    return {
        grant
        for token in tokens
        for grant in (
            Grant(owner, token, PERMIT2),
            Grant(owner, token, universal, in_permit2=True),
            *(Grant(owner, token, router) for router in routers),
        )
    }


async def amounts_in_force(rpc: Rpc, grants: Iterable[Grant], now_s: int) -> Mapping[Grant, int]:
    """What may be taken now by each grant, in the token's smallest unit; zero for one inside Permit2 that has ended.

    A contract that gives no such answer is no token, and has nothing to take: it is left out. Raises
    ``RpcUnavailable``.
    """
    asked = sorted(grants)
    calls = [
        (PERMIT2, permit2_allowance(grant.owner, grant.token, grant.spender))
        if grant.in_permit2
        else (grant.token, allowance(grant.owner, grant.spender))
        for grant in asked
    ]
    answers = await rpc.eth_calls(calls) if calls else []
    read = ((grant, _amount(grant, answer, now_s)) for grant, answer in zip(asked, answers, strict=True))
    return {grant: amount for grant, amount in read if amount is not None}


def _amount(grant: Grant, answer: bytes | RpcError, now_s: int) -> int | None:
    if isinstance(answer, RpcError):
        return None
    try:
        if not grant.in_permit2:
            return decode_amount(answer)
        held = decode_permit2_allowance(answer)
    except AbiError:
        return None
    return held.amount if held.expiration_s >= now_s else 0


def _address(topic: str) -> str:
    return "0x" + topic[-40:].lower()
