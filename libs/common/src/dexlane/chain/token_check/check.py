"""An executed check of one token, from an address to a trial. Costs nothing, needs no key, and never fails on a token.

What a hostile contract can do is spend gas, answer at length or answer nonsense: every call has a gas limit, only
single words of answers are read, and the whole check has a time budget. What goes wrong is written down as missing
evidence.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from dexlane.chain.deployments import deployments
from dexlane.chain.link import RpcError, RpcUnavailable
from dexlane.chain.token_check import trading
from dexlane.chain.token_check.called import trade_in_a_call
from dexlane.chain.token_check.exploring import explore
from dexlane.chain.token_check.observations import observations
from dexlane.chain.token_check.probe import ProbeError
from dexlane.chain.token_check.subject import Head, Node, NoSubjectError, Subject, read_head, read_subject
from dexlane.domain.risk.token_trial import TokenTrial

BUDGET_S = 10.0
PROTOCOL = "uniswap_v2"


@dataclass(frozen=True, slots=True)
class Question:
    """Which token, through which router of Uniswap V2's kind; ``quotes`` are other tokens than the wrapped coin that
    it may have its pool with. Without ``block`` the newest."""

    token: str
    router: str
    quotes: tuple[str, ...] = ()
    block: int | None = None


def known_market(chain_id: int) -> tuple[str | None, tuple[str, ...]]:
    """The router of Uniswap V2 on a chain, None where none is known, and the other quotes that are tried with it."""
    try:
        quotes = tuple(quote.address for quote in deployments().chain(chain_id).quote_tokens)
        return deployments().exchange(chain_id, PROTOCOL).router, quotes
    except KeyError:
        return None, ()


async def try_token(node: Node, question: Question, budget_s: float = BUDGET_S) -> TokenTrial:
    """Make the trial. Raises ``RpcUnavailable`` only when the node gives no answer to the first request."""
    try:
        head = await read_head(node, question.block, budget_s)
    except NoSubjectError as error:
        return TokenTrial(token=question.token, block=question.block or 0, missing=(str(error),))
    trial = TokenTrial(token=question.token, block=head.number)
    try:
        async with asyncio.timeout(budget_s):
            return await _tried(node, question, head)
    except NoSubjectError as error:
        return replace(trial, is_token=error.is_token, missing=(str(error),))
    except TimeoutError:
        return replace(trial, missing=(f"the check did not end within {budget_s:g} s",))
    except (RpcError, RpcUnavailable) as error:
        return replace(trial, missing=(f"the node does not answer: {error}",))
    except (ProbeError, KeyError, TypeError, ValueError) as error:
        return replace(trial, missing=(f"an answer of the node cannot be read: {error}",))


async def _tried(node: Node, question: Question, head: Head) -> TokenTrial:
    subject = await read_subject(node, question.token, question.router, question.quotes, head)
    trial = TokenTrial(
        token=question.token,
        block=head.number,
        pool=subject.pool.pair,
        supply=subject.supply,
        decimals=frozenset({subject.decimals}),
        strange_proxy=subject.strange_proxy,
    )
    traded, found = await asyncio.gather(_session(node, subject, trial), explore(node, subject, simulates=True))
    if not traded.method:
        traded, found = await asyncio.gather(_called(node, subject, trial), explore(node, subject, simulates=False))
    done = replace(
        traded,
        sales=(*traded.sales, *found.far),
        switches=found.switches,
        missing=(*subject.missing, *traded.missing, *found.missing),
    )
    return replace(done, evidence=observations(subject, done))


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
