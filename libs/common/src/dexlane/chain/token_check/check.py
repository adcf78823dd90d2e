"""An executed check of one token, from an address to a trial. Costs nothing, needs no key, and never fails on a token.

What a hostile contract can do is spend gas, answer at length or answer nonsense: every call has a gas limit, only
single words of answers are read, and the whole check has a time budget. What goes wrong is written down as missing
evidence.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from dexlane.chain.link import RpcError, RpcUnavailable
from dexlane.chain.token_background.reading import Wanted, read_background
from dexlane.chain.token_check import trading
from dexlane.chain.token_check.asking import Head, Node, NoSubjectError, number_of, read_head, views
from dexlane.chain.token_check.called import trade_in_a_call
from dexlane.chain.token_check.exploring import Found, explore
from dexlane.chain.token_check.observations import observations
from dexlane.chain.token_check.pools import Where
from dexlane.chain.token_check.probe import ProbeError
from dexlane.chain.token_check.subject import Subject, read_subject
from dexlane.chain.token_check.venues import UniswapV3
from dexlane.domain.risk.token_background import Birth
from dexlane.domain.risk.token_trial import TokenTrial

BUDGET_S = 10.0
_LEFT = 5
"""A fifth of the budget is left when nothing more of a token's surroundings is waited for."""
_PLAN_GAS = 20_000_000
"""A fifth of a deep concentrated pool lies behind hundreds of ticks."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which token, and where it may be traded. Without ``block`` the newest; ``birth``: when it began, if known."""

    token: str
    where: Where
    block: int | None = None
    birth: Birth | None = None


async def try_token(node: Node, question: Question, budget_s: float = BUDGET_S) -> TokenTrial:
    """Make the trial. Raises ``RpcUnavailable`` only when the node gives no head that can be read."""
    try:
        head = await read_head(node, question.block, budget_s)
    except NoSubjectError as error:
        return TokenTrial(token=question.token, block=question.block or 0, missing=(str(error),))
    except (RpcError, KeyError, TypeError, ValueError) as error:
        raise RpcUnavailable(f"the node does not give the block to stand on: {error!r}") from error
    trial = TokenTrial(token=question.token, block=head.number)
    try:
        async with asyncio.timeout(budget_s) as whole:
            until = None if (end := whole.when()) is None else end - budget_s / _LEFT
            return await _tried(node, question, head, until)
    except NoSubjectError as error:
        return replace(trial, is_token=error.is_token, missing=(str(error),))
    except TimeoutError:
        return replace(trial, interrupted=True, missing=(f"the check did not end within {budget_s:g} s",))
    except (RpcError, RpcUnavailable) as error:
        return replace(trial, interrupted=True, missing=(f"the node does not answer: {error}",))
    except (ProbeError, KeyError, TypeError, ValueError) as error:
        return replace(trial, missing=(f"an answer of the node cannot be read: {error}",))


async def _tried(node: Node, question: Question, head: Head, until: float | None) -> TokenTrial:
    subject = await _quoted(node, await read_subject(node, question.token, question.where, head))
    trial = TokenTrial(
        token=question.token,
        block=head.number,
        pool=subject.pool.pair,
        supply=subject.supply,
        decimals=frozenset({subject.decimals}),
        strange_proxy=subject.strange_proxy,
    )
    (traded, found), background = await asyncio.gather(
        _traded(node, subject, trial), read_background(node, subject, Wanted(question.where, question.birth, until))
    )
    done = replace(
        traded,
        sales=(*traded.sales, *found.far),
        switches=found.switches,
        background=background,
        interrupted=background.interrupted,
        missing=(*subject.missing, *traded.missing, *found.missing),
    )
    return replace(done, evidence=observations(subject, done))


async def _traded(node: Node, subject: Subject, trial: TokenTrial) -> tuple[TokenTrial, Found]:
    """In simulated blocks, or within calls where the node has none."""
    traded, found = await asyncio.gather(_session(node, subject, trial), explore(node, subject, simulates=True))
    if traded.method:
        return traded, found
    return await asyncio.gather(_called(node, subject, trial), explore(node, subject, simulates=False))


async def _quoted(node: Node, subject: Subject) -> Subject:
    """With what the last of the first buyers gets of a concentrated pool, which its reserves do not tell.

    A quoter is sent the tokens for a moment, so a token that allows nobody that many is quoted for the usual amount
    alone, and priced onwards as a constant product.
    """
    pool = subject.pool
    if not isinstance(pool.venue, UniswapV3):
        return subject
    total, usual = trading.first_amounts(subject)
    asked = [pool.venue.quote(amount, (pool.quote, subject.token)) for amount in (total - usual, total, usual)]
    requests = views(hex(subject.head.number), *((step.target, step.data) for step in asked), gas=_PLAN_GAS)
    before, after, alone = (number_of(answer) or 0 for answer in await node.batch(requests))
    last = after - before if before else alone * pool.reserve_quote**2 // (pool.reserve_quote + total) ** 2
    if last <= 0:
        raise NoSubjectError(f"nobody tells what pool {pool.pair} gives")
    return replace(subject, pool=replace(pool, last_purchase=last))


async def _called(node: Node, subject: Subject, trial: TokenTrial) -> TokenTrial:
    """Within one call, where the node simulates no blocks."""
    try:
        seen = await trade_in_a_call(node, subject)
    except RpcError as error:
        return replace(trial, missing=(f"the node takes no calls on a changed state: {error.message[:100]}",))
    return replace(trial, method="eth_call", buys=seen.buys, sales=seen.sales, moves=seen.moves)


async def _session(node: Node, subject: Subject, trial: TokenTrial) -> TokenTrial:
    """Both runs; the trial as it was, without a method, when the node simulates no blocks."""
    try:
        first = await _run(node, subject, trading.build(subject))
        planned = trading.plan_sales(first)
        second = await _run(node, subject, trading.build(subject, planned)) if planned else first
    except RpcError:
        return trial
    losses = (*first.losses(), *(second.losses() if second is not first else ()))
    return replace(
        trial,
        method="eth_simulateV1",
        decimals=trial.decimals | first.decimals(),
        buys=tuple(trading.purchases(first)),
        sales=tuple(trading.sales(second)) if second is not first else (),
        moves=first.moves() if planned else (),
        losses=losses,
        foreign_allowances=first.foreign_allowances(),
        lies=first.lies(),
    )


async def _run(node: Node, subject: Subject, run: trading.Run) -> trading.Reading:
    answer = await node.call("eth_simulateV1", run.script.request(), hex(subject.head.number))
    return trading.Reading(run, run.script.results(answer))
