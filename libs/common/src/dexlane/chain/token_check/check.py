"""An executed check of one token, from an address to a trial. Costs nothing, needs no key, and never fails on a token.

What a hostile contract can do is spend gas, answer at length or answer nonsense: every call has a gas limit, only single words
of answers are read, and the whole check has a time budget. What goes wrong is written down as missing evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dexlane.chain.link import RpcError, RpcUnavailable
from dexlane.chain.token_check import switches, trading
from dexlane.chain.token_check.delays import delays_of
from dexlane.chain.token_check.observations import observations
from dexlane.chain.token_check.probe import ProbeError, read_exploration
from dexlane.chain.token_check.session import Script
from dexlane.chain.token_check.subject import Head, Node, NoSubject, Subject, read_head, read_subject
from dexlane.domain.risk.token_trial import Kind, Switch, TokenTrial, Trade

BUDGET_S = 10.0
FAR = ((7_200, 86_400), (200_000, 60 * 86_400))
"""Blocks and seconds ahead of which sales are tried beyond the session's month."""


@dataclass(frozen=True, slots=True)
class Question:
    """Which token, through which router of Uniswap V2's kind; ``quotes`` are other tokens than the wrapped coin that it may
    have its pool with. Without ``block`` the newest."""

    token: str
    router: str
    quotes: tuple[str, ...] = ()
    block: int | None = None


async def try_token(node: Node, question: Question, budget_s: float = BUDGET_S) -> TokenTrial:
    """Make the trial. Raises ``RpcUnavailable`` only when the node gives no answer to the first request."""
    try:
        head = await read_head(node, question.block, budget_s)
    except NoSubject as error:
        return TokenTrial(token=question.token, block=question.block or 0, missing=(str(error),))
    trial = TokenTrial(token=question.token, block=head.number)
    try:
        async with asyncio.timeout(budget_s):
            return await _tried(node, question, head)
    except NoSubject as error:
        return replace(trial, has_code=error.has_code, missing=(str(error),))
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
        supply=subject.supply,
        decimals=frozenset({subject.decimals}),
        strange_proxy=subject.strange_proxy,
    )
    traded, (far, switched, missing) = await asyncio.gather(_session(node, subject, trial), _explored(node, subject))
    done = replace(
        traded,
        sales=(*traded.sales, *far),
        switches=switched,
        missing=(*traded.missing, *missing),
    )
    return replace(done, evidence=observations(subject, done))


async def _session(node: Node, subject: Subject, trial: TokenTrial) -> TokenTrial:
    """Both runs."""
    try:
        first = await _run(node, subject, trading.build(subject))
        planned = trading.plan_sales(first)
        second = await _run(node, subject, trading.build(subject, planned)) if planned else first
    except RpcError as error:
        return replace(trial, missing=(f"the node cannot simulate blocks: {error.message[:100]}",))
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


async def _explored(
    node: Node, subject: Subject
) -> tuple[tuple[Trade, ...], tuple[Switch, ...] | None, tuple[str, ...]]:
    """Far sales and switches. Contracts that the token itself needs cannot be puppets: then those are left alone."""
    found = await _explored_with(node, subject)
    if found[1] is None and subject.contracts:
        alone = replace(subject, callers=tuple(who for who in subject.callers if who not in subject.contracts))
        found = await _explored_with(node, alone)
    return found


async def _explored_with(
    node: Node, subject: Subject
) -> tuple[tuple[Trade, ...], tuple[Switch, ...] | None, tuple[str, ...]]:
    script = Script(subject)
    played = switches.cast(script)
    opening, measuring = switches.opening(script, played), switches.measuring(script, played)
    half = trading.part_given(subject)
    tried = switches.attempts(script, played, half)
    selling = switches.selling(script, played.named)
    plain = switches.exploration_of(script, [*opening, *measuring], [], [])
    scan = switches.exploration_of(script, opening, tried, [])
    distant = switches.exploration_of(script, [*opening, *selling], [], [])
    blocks = [
        {"number": hex(subject.head.number + ahead), "time": hex(subject.head.timestamp_s + seconds)}
        for ahead, seconds in FAR
    ]
    answers = await node.batch(
        [
            switches.request(script, played, plain),
            switches.request(script, played, scan),
            *(switches.request(script, played, distant, block) for block in blocks),
        ]
    )
    failed = next((answer for answer in answers if isinstance(answer, RpcError)), None)
    if failed is not None:
        return (), None, (f"the node refuses a call that explores the token: {failed.message[:100]}",)
    usual = switches.baseline(_steps(answers[0], opening, measuring), len(subject.callers) + 1)
    far = tuple(_far(_steps(answer, opening, selling), half, seconds) for answer, (_, seconds) in zip(answers[2:], FAR, strict=True))
    if not usual.sells:
        return far, None, ("switches cannot be compared: holders with code cannot sell",)
    scanned = read_exploration(_hex(answers[1]), len(opening), len(tried), 0)
    missing = ("some functions could not be tried: they use too much gas",) if scanned.broken else ()
    chosen = switches.worth_measuring(tried, scanned)
    delays = await delays_of(node, [who for who in subject.callers if who in subject.contracts], hex(subject.head.number))
    measured = await _measured(node, (script, played), chosen, usual, delays)
    return far, tuple(measured), missing


async def _measured(
    node: Node,
    stage: tuple[Script, switches.Cast],
    chosen: Sequence[switches.Attempt],
    usual: switches.Baseline,
    delays: dict[str, int | None],
) -> list[Switch]:
    """Each call alone; then, for every caller, all of his calls in a row."""
    script, played = stage
    opening, measuring = switches.opening(script, played), switches.measuring(script, played)
    callers = list(dict.fromkeys(attempt.caller for attempt in chosen))
    alone = switches.exploration_of(script, opening, chosen, measuring)
    rows = [[attempt for attempt in chosen if attempt.caller == caller and not attempt.upgrade] for caller in callers]
    in_row = [
        switches.exploration_of(script, [*opening, *(attempt.step for attempt in row), *measuring], [], []) for row in rows
    ]
    answers = await node.batch([switches.request(script, played, data) for data in (alone, *in_row)])
    failed = next((answer for answer in answers if isinstance(answer, RpcError)), None)
    if failed is not None:
        raise failed
    read = read_exploration(_hex(answers[0]), len(opening), len(chosen), len(measuring))
    found = [
        switches.effect(attempt, branch[1:], usual, delays)
        for attempt, branch in zip(chosen, read.branches, strict=True)
        if branch is not None
    ]
    for row, answer in zip(rows, answers[1:], strict=True):
        if len(row) > 1:
            told = _steps(answer, [*opening, *(attempt.step for attempt in row)], measuring)
            found.append(switches.effect(replace(row[0], text=f"{len(row)} functions in a row"), told, usual, delays))
    return found


def _steps(answer: object, before: Sequence[object], wanted: Sequence[object]) -> Sequence[switches.Told]:
    """The results of the last steps of an exploration without switches."""
    return read_exploration(_hex(answer), len(before) + len(wanted), 0, 0).steps[len(before) :]


def _far(told: Sequence[switches.Told], amount: int, seconds: int) -> Trade:
    expected, reserve, sale, received = told
    return Trade(
        kind=Kind.FAR,
        buys=False,
        trader="far",
        amount=amount,
        expected=expected.value or 0,
        received=received.value or 0,
        reserve_out=reserve.value or 0,
        ok=sale.ok,
        reason="" if sale.ok else f"the sale fails {seconds} s ahead",
        gas=sale.gas,
        waited_s=seconds,
    )


def _hex(answer: object) -> bytes:
    return bytes.fromhex(str(answer)[2:])
