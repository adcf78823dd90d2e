"""What the chain says about our accounts: balances, allowances to Permit2, the next permit's nonce."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dexlane.chain.abi import AbiError
from dexlane.chain.answers import NOT_READABLE, BlockId
from dexlane.chain.permit2 import (
    PERMIT2,
    allowance,
    balance_of,
    decode_amount,
    decode_permit2_allowance,
    permit2_allowance,
)
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.chain.token_facts import is_execution_failure
from dexlane.runtime.errors import Transient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """One token in one account, in its smallest unit. ``permit_nonce`` is that of the next permit to our router."""

    balance: int
    allowance_to_permit2: int
    permit_nonce: int


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """An account's native balance and tokens; without those whose contract gives no sensible answer."""

    native_wei: int
    tokens: Mapping[str, TokenFacts]


async def read_account(
    rpc: Rpc, account: str, tokens: Sequence[str], router: str, *, block: BlockId = "latest"
) -> AccountFacts:
    """Read everything in one batch and one call. ``Transient`` when the node does not answer, or not sensibly."""
    calls = [
        call
        for token in tokens
        for call in (
            (token, balance_of(account)),
            (token, allowance(account, PERMIT2)),
            (PERMIT2, permit2_allowance(account, token, router)),
        )
    ]
    try:
        native, answers = await asyncio.gather(rpc.balance(account, block=block), rpc.eth_calls(calls, block=block))
        read = [_token_facts(answers[index : index + 3]) for index in range(0, len(answers), 3)]
    except (RpcError, *NOT_READABLE) as error:
        raise Transient(f"the state of account {account} could not be read: {error}") from error
    found = zip(tokens, read, strict=True)
    return AccountFacts(native, {token: facts for token, facts in found if facts is not None})


async def read_balances(rpc: Rpc, account: str, tokens: Sequence[str], *, block: BlockId) -> dict[str, int]:
    """Token balances at one block, for the opening entries, without tokens whose contract gives no sensible answer.
    ``Transient`` as above."""
    try:
        answers = await rpc.eth_calls([(token, balance_of(account)) for token in tokens], block=block)
        read = [_said(answer, decode_amount) for answer in answers]
    except (RpcError, *NOT_READABLE) as error:
        raise Transient(f"the balances of account {account} could not be read: {error}") from error
    return {token: balance for token, balance in zip(tokens, read, strict=True) if balance is not None}


def _token_facts(answers: Sequence[bytes | RpcError]) -> TokenFacts | None:
    balance, allowed = (_said(answer, decode_amount) for answer in answers[:2])
    permit = _said(answers[2], decode_permit2_allowance)
    if balance is None or allowed is None or permit is None:
        return None
    return TokenFacts(balance, allowed, permit.nonce)


def _said(answer: bytes | RpcError, decode: Callable[[bytes], T]) -> T | None:
    """What a contract said; None when its code fails or it talks nonsense: one token must not stand in the way of the
    others. Raises the ``RpcError`` of a node that did not ask it."""
    if isinstance(answer, RpcError):
        if is_execution_failure(answer):
            return None
        raise answer
    try:
        return decode(answer)
    except AbiError:
        return None
