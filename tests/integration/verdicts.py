"""Verdicts about the devnet's real pools, made by hand so that a test decides when something is traded."""

from __future__ import annotations

import time

from dexlane.events.execution import FillIncluded, IntentCreated, Purpose
from dexlane.events.market import BlockApplied
from dexlane.events.risk import VerdictApproved
from dexlane.testing.devnet_verdicts import Purchase, approval
from dexlane.testing.stack import Stack, Witness
from dexlane.values.books import Lane
from dexlane.values.chains import BlockRef

BOOKS = ("paper-main", "live-devnet")


async def head(stack: Stack) -> BlockRef:
    """The chain's newest block."""
    block = await stack.rpc("eth_getBlockByNumber", "latest", False)
    return BlockRef(number=int(block["number"], 16), hash=block["hash"])


async def a_verdict(
    stack: Stack, witness: Witness, *, lane: Lane = Lane.FAST, blocks_to_live: int = 8, spend: int = 1_000 * 10**6
) -> VerdictApproved:
    """A sealed approval to buy WETH for ``spend`` USDC units in the deepest pool, from the newest block: the second
    after the last entry, for books do not make the same trade again within a block of it."""
    planned = [intent.block.number for intent in await witness.stored(IntentCreated) if intent.purpose is Purpose.ENTRY]
    least = max(planned, default=0) + 2
    await witness.until(BlockApplied, lambda event: event.block.number >= least)
    block = await head(stack)
    tip = await witness.until(BlockApplied, lambda event: event.block.number >= block.number)
    purchase = Purchase(lane=lane, spend=spend, blocks_to_live=blocks_to_live)
    return stack.approving().verdict(approval(block, purchase, time.time_ns()), tip)


def fills(verdict: VerdictApproved, book_id: str):  # type: ignore[no-untyped-def]
    """Recognises the fill of a verdict's intent in a book."""
    intent_id = IntentCreated.make_id(book_id, verdict.id, Purpose.ENTRY)
    return lambda event: event.intent_id == intent_id


def gained(fill: FillIncluded, token: str) -> int:
    """What the account gained of a token."""
    return sum(delta.amount for delta in fill.deltas if delta.token == token)
