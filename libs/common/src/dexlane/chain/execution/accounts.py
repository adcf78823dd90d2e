"""What the chain says about our accounts: balances, allowances to Permit2, the next permit's nonce."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dexlane.chain.abi import AbiError
from dexlane.chain.answers import BlockId
from dexlane.chain.permit2 import (
    PERMIT2,
    allowance,
    balance_of,
    decode_amount,
    decode_permit2_allowance,
    permit2_allowance,
)
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.runtime.errors import Transient


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """One token in one account, in its smallest unit. ``permit_nonce`` is that of the next permit to our router."""

    balance: int
    allowance_to_permit2: int
    permit_nonce: int


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """An account's native balance and tokens."""

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
    except (RpcError, AbiError) as error:
        raise Transient(f"the state of account {account} could not be read: {error}") from error
    return AccountFacts(native, dict(zip(tokens, read, strict=True)))


async def read_balances(rpc: Rpc, account: str, tokens: Sequence[str], *, block: BlockId) -> dict[str, int]:
    """Token balances at one block, for the opening entries. ``Transient`` as above."""
    try:
        answers = await rpc.eth_calls([(token, balance_of(account)) for token in tokens], block=block)
        return {token: decode_amount(_answer(answer)) for token, answer in zip(tokens, answers, strict=True)}
    except (RpcError, AbiError) as error:
        raise Transient(f"the balances of account {account} could not be read: {error}") from error


def _token_facts(answers: Sequence[bytes | RpcError]) -> TokenFacts:
    balance, allowed, permit = (_answer(answer) for answer in answers)
    return TokenFacts(decode_amount(balance), decode_amount(allowed), decode_permit2_allowance(permit).nonce)


def _answer(answer: bytes | RpcError) -> bytes:
    if isinstance(answer, RpcError):
        raise answer
    return answer
