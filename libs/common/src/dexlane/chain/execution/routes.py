"""What an executor consumes; the same for both lanes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dexlane.chain.execution.executor import Executor
from dexlane.chain.execution.side_values import SideValues
from dexlane.events.control import BookChanged, TradingStatus
from dexlane.events.execution import AccountOpened, FillConfirmed, IntentFailed
from dexlane.events.fees import FeeQuoted
from dexlane.events.portfolio import ExitTriggered, ExposureChanged
from dexlane.events.risk import VerdictApproved
from dexlane.runtime.consuming import Routes
from dexlane.values.books import Lane


@dataclass(frozen=True)
class ExecutionDeps:
    """One executor per chain, and the side values they share."""

    service: str
    lane: Lane
    executors: Mapping[int, Executor]
    side: SideValues


def execution_routes(deps: ExecutionDeps) -> Routes:
    """Decisions of the lane, outcomes of its paper intents, and the last values that planning looks at."""
    routes = Routes()
    _decisions(routes, deps)
    _side_values(routes, deps)
    return routes


def _decisions(routes: Routes, deps: ExecutionDeps) -> None:
    executors, name, tail = deps.executors, deps.service, deps.lane.value
    in_a_hurry = deps.lane is Lane.FAST

    @routes.decide(VerdictApproved, durable=f"{name}-verdicts", tail=tail, direct=in_a_hurry)
    async def on_verdict(verdict: VerdictApproved) -> None:
        await executors[verdict.chain_id].on_verdict(verdict)

    @routes.decide(ExitTriggered, durable=f"{name}-exits", tail=tail, direct=in_a_hurry)
    async def on_exit(exit_: ExitTriggered) -> None:
        await executors[exit_.chain_id].on_exit(exit_)

    @routes.decide(FillConfirmed, durable=f"{name}-fills")
    async def on_fill(fill: FillConfirmed) -> None:
        await executors[fill.chain_id].on_outcome(fill)

    @routes.decide(IntentFailed, durable=f"{name}-failures")
    async def on_failure(failure: IntentFailed) -> None:
        await executors[failure.chain_id].on_outcome(failure)


def _side_values(routes: Routes, deps: ExecutionDeps) -> None:
    executors, side = deps.executors, deps.side

    @routes.follow(BookChanged, from_="last")
    async def on_book(event: BookChanged) -> None:
        side.take_book(event)
        executors[event.chain_id].books_changed()

    @routes.follow(TradingStatus, from_="last")
    async def on_status(event: TradingStatus) -> None:
        side.take_status(event)
        executors[event.chain_id].wake()

    @routes.follow(ExposureChanged, from_="last")
    async def on_exposure(event: ExposureChanged) -> None:
        side.take_exposure(event)

    @routes.follow(FeeQuoted, from_="last")
    async def on_fee_quote(event: FeeQuoted) -> None:
        side.take_fee_quote(event)

    @routes.follow(AccountOpened, from_="all")
    async def on_opened(event: AccountOpened) -> None:
        side.take_opened(event)
