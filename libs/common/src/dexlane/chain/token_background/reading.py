"""The surroundings of a token: age, holders, who keeps the liquidity of its pool, and whether any was pulled.

Each is asked by itself, so that a node that refuses one of them still tells the others; what it refuses is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dexlane.chain.link import RpcError, RpcUnavailable
from dexlane.chain.token_background.birth import read_birth
from dexlane.chain.token_background.events import (
    TRANSFER,
    V3_BURN,
    V3_MINT,
    Events,
    block_of,
    read_events,
    topic,
    words,
)
from dexlane.chain.token_background.holdings import Held, read_shares
from dexlane.chain.token_background.scout import Scout
from dexlane.chain.token_check.asking import Node, number_of, views, word_of
from dexlane.chain.token_check.pools import Where
from dexlane.chain.token_check.probe import call
from dexlane.chain.token_check.subject import Subject
from dexlane.chain.token_check.venues import UniswapV3
from dexlane.domain.risk.lp_shares import keepers
from dexlane.domain.risk.token_background import Background, Birth, LiquidityPast, Shares

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where the token may be traded, when it began if that is known, and until when answers are waited for (by the
    loop's clock)."""

    where: Where
    birth: Birth | None = None
    until: float | None = None


async def read_background(node: Node, subject: Subject, wanted: Wanted) -> Background:
    """Everything that the node tells in time about the surroundings of a token and of the pool that is traded."""
    asking, head = _Asking(wanted.until), subject.head
    scout = Scout(node, head, subject.block_ms, wanted.where.chain_id)
    birth, holders, (liquidity, past) = await asyncio.gather(
        asking.told(_birth(node, subject, wanted.birth), "its age"),
        _of_the_token(asking, scout, subject, wanted.where.quotes),
        _of_the_pool(asking, scout, subject),
    )
    if birth is not None and not birth.exact:
        asking.missing.append(f"the node has no older states: the token is there since block {birth.block} at least")
    return Background(
        now_s=head.timestamp_s,
        birth=birth,
        holders=holders,
        liquidity=liquidity,
        past=past,
        missing=tuple(asking.missing),
        interrupted=asking.interrupted,
    )


async def _birth(node: Node, subject: Subject, known: Birth | None) -> Birth:
    return await read_birth(node, subject.token, subject.head) if known is None else known


class _UnseenError(Exception):
    """Something else was not told, which is said already."""


@dataclass
class _Asking:
    """What was not told so far; ``until`` is when no more is waited for, by the loop's clock."""

    until: float | None
    missing: list[str] = field(default_factory=list)
    interrupted: bool = False

    async def told(self, asked: Awaitable[T], what: str) -> T | None:
        """The answer, or None and the reason said."""
        try:
            async with asyncio.timeout_at(self.until):
                return await asked
        except RpcError as error:
            self.missing.append(f"the node does not tell {what}: {error.message[:80]}")
        except (TimeoutError, RpcUnavailable) as error:
            self.interrupted = True
            self.missing.append(f"the node did not tell {what} in time{f': {error}' if str(error) else ''}")
        except _UnseenError as error:
            self.missing.append(str(error))
        except (KeyError, TypeError, ValueError) as error:
            self.missing.append(f"what the node tells of {what} cannot be read: {error}")
        return None


async def _of_the_token(asking: _Asking, scout: Scout, subject: Subject, quotes: Sequence[str]) -> Shares | None:
    events = await asking.told(read_events(scout.node, subject.token, (TRANSFER,), scout.head), "its transfers")
    return await asking.told(_holders(scout, subject, events, quotes), "its holders")


async def _of_the_pool(asking: _Asking, scout: Scout, subject: Subject) -> tuple[Shares | None, LiquidityPast | None]:
    events = await asking.told(_pool_events(scout.node, subject), "events of its pool")
    return await asyncio.gather(
        asking.told(_liquidity(scout, subject, events), "who keeps its liquidity"),
        asking.told(_past(scout.node, subject, events), "what became of its liquidity"),
    )


async def _holders(scout: Scout, subject: Subject, transfers: Events | None, quotes: Sequence[str]) -> Shares:
    if transfers is None:
        raise _UnseenError("without transfers nobody can be named who holds it")
    pool, others = subject.pool, frozenset((subject.pool.wrapped, *quotes))
    return await read_shares(scout, Held(subject.token, subject.supply, transfers, subject.callers, others, pool.pair))


async def _pool_events(node: Node, subject: Subject) -> Events:
    kinds = (V3_MINT, V3_BURN) if isinstance(subject.pool.venue, UniswapV3) else (TRANSFER,)
    return await read_events(node, subject.pool.pair, kinds, subject.head)


async def _liquidity(scout: Scout, subject: Subject, events: Events | None) -> Shares:
    """Who holds the LP tokens of a pair. Positions of Uniswap V3 are tokens of their own kind and are not read."""
    if isinstance(subject.pool.venue, UniswapV3):
        raise _UnseenError("who holds the positions of a Uniswap V3 pool is not read")
    if events is None:
        raise _UnseenError("without events nobody can be named who holds LP tokens")
    pair, at = subject.pool.pair, hex(scout.head.number)
    [answer] = await scout.node.batch(views(at, (pair, call("totalSupply()"))))
    total = number_of(answer)
    if total is None:
        raise _UnseenError("the pool does not tell how many LP tokens there are")
    named = tuple(dict.fromkeys((*keepers(scout.chain_id), *subject.callers)))
    return await read_shares(scout, Held(pair, total, events, named))


async def _past(node: Node, subject: Subject, events: Events | None) -> LiquidityPast:
    """Liquidity counted back from now through what was added and removed; of Uniswap V3 that around the price."""
    if events is None:
        raise _UnseenError("without events of the pool nobody can tell what was pulled")
    v3, pair, at = isinstance(subject.pool.venue, UniswapV3), subject.pool.pair, hex(subject.head.number)
    names = ("liquidity()", "slot0()") if v3 else ("totalSupply()",)
    answers = await node.batch(views(at, *((pair, call(name)) for name in names)))
    now, tick = number_of(answers[0]), _signed(word_of(answers[-1], 1) or 0)
    if now is None:
        raise _UnseenError("the pool does not tell its liquidity")
    level = most = now
    most_block = subject.head.number
    for log in reversed(events.logs):
        level -= _v3_change(log, tick) if v3 else _v2_change(log, pair)
        if level > most:
            most, most_block = level, block_of(log) - 1
    return LiquidityPast(now, most, most_block, events.from_block)


def _v2_change(log: Mapping[str, Any], pair: str) -> int:
    """LP tokens that an event brought into being, less those it destroyed: only the pair destroys any, its own.

    Those that somebody sends to the zero address stay counted, as the first ones do (``MINIMUM_LIQUIDITY``).
    """
    amount = (words(log) or [0])[0]
    if topic(log, 1) == 0:
        return amount
    return -amount if topic(log, 2) == 0 and topic(log, 1) == int(pair, 16) else 0


def _v3_change(log: Mapping[str, Any], tick: int) -> int:
    """Liquidity that an event added around the price, less what it removed."""
    lower, upper = _signed(topic(log, 2)), _signed(topic(log, 3))
    if not lower <= tick < upper:
        return 0
    data = words(log)
    return data[1] if log["topics"][0] == V3_MINT else -data[0]


def _signed(word: int) -> int:
    """An int24 in a word."""
    low = word & 0xFFFFFF
    return low - (1 << 24) if low >> 23 else low
