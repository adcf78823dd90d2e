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
    PERMIT2,
    allowance,
    decode_amount,
    decode_permit2_allowance,
    permit2_allowance,
)
from dexlane.chain.rpc import Rpc, RpcError

GRANT_TOPICS = (
    "0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925",  # Approval(address,address,uint256)
    "0xda9fa7c1b00402c17d0161b249b1ab8bbec047c5a52207b9c112deffd817036b",  # Permit2 Approval
    "0xc6a377bfc4eb120024a8ac08eef205be16b817020812c73223e81d1bdb9708ec",  # Permit2 Permit
)
"""Events of grants, in a token and inside Permit2; the owner is the first indexed argument of each."""


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """Leave for ``spender`` to take ``token`` from ``owner``; inside Permit2, or in the token itself."""

    owner: str
    token: str
    spender: str
    in_permit2: bool = False


async def find_grants(rpc: Rpc, owners: Iterable[str], first: int, last: int) -> set[Grant]:
    """The grants of these owners that the logs of some blocks tell of. Raises ``RpcError`` or ``RpcUnavailable``."""
    named = ["0x" + owner[2:].lower().rjust(64, "0") for owner in owners]
    return grants_in(await rpc.logs_between(first, last, [GRANT_TOPICS, named]))


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
