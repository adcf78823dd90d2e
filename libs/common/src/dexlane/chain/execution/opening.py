"""The opening entries of an account: its balances at one block, before any transaction of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dexlane.chain.answers import NOT_READABLE
from dexlane.chain.execution.accounts import read_balances
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.domain.gas_value import traded_as
from dexlane.events.execution import AccountOpened
from dexlane.runtime.errors import Transient
from dexlane.values.books import Book, Lane
from dexlane.values.chains import NATIVE, BlockRef
from dexlane.values.pools import Pool
from dexlane.values.tokens import TokenDelta

MAX_WATCHED = 200
"""Tokens of an account that are looked at when it is opened or taken up again."""


@dataclass(frozen=True, slots=True)
class OpeningPlace:
    """Where and when an account is opened."""

    chain_id: int
    lane: Lane
    block: BlockRef
    now_ms: int


async def account_opened(rpc: Rpc, book: Book, paired: Sequence[str], at: OpeningPlace) -> AccountOpened:
    """The balances of a book's account at the block: native coin, quote token, and what it has of the paired tokens.

    Raises ``Transient`` when the node does not give them.
    """
    account = book.accounts[at.lane]
    quote = [] if book.quote.address == NATIVE else [book.quote.address]
    try:
        native = await rpc.balance(account, block=at.block.hash)
    except (RpcError, *NOT_READABLE) as error:
        raise Transient(f"the balance of account {account} could not be read: {error}") from error
    balances = await read_balances(rpc, account, [*quote, *paired], block=at.block.hash)
    if not balances.keys() >= set(quote):
        raise Transient(f"the quote token {book.quote.symbol} does not say what account {account} has of it")
    held = {token: amount for token, amount in balances.items() if amount or token == book.quote.address}
    return AccountOpened(
        id=AccountOpened.make_id(book.id, account),
        chain_id=at.chain_id,
        occurred_at_ms=at.now_ms,
        book_id=book.id,
        mode=book.mode,
        lane=at.lane,
        account=account,
        quote=book.quote,
        block=at.block,
        balances=(
            *(TokenDelta(token=token, amount=amount) for token, amount in held.items()),
            TokenDelta(token=NATIVE, amount=native),
        ),
    )


def paired_tokens(book: Book, pools: Mapping[str, Pool]) -> list[str]:
    """Tokens that a known pool trades against the book's quote token, sorted."""
    quote = traded_as(book.chain_id, book.quote.address)
    keys = (pool.key for pool in pools.values())
    traded = [{token.address for token in key.tokens} for key in keys]
    return sorted(set().union(*(found for found in traded if quote in found)) - {quote})[:MAX_WATCHED]
