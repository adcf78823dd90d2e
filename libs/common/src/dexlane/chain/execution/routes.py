"""What an executor consumes; the same for both lanes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dexlane.chain.execution.seat import Seat
from dexlane.chain.execution.side_values import SideValues
from dexlane.events.breakers import BreakerChanged, BreakerReset
from dexlane.events.confirmations import ConfirmationGiven
from dexlane.events.control import BookChanged, TradingStatus
from dexlane.events.execution import AccountOpened, FillConfirmed, IntentFailed
from dexlane.events.fees import FeeQuoted
from dexlane.events.portfolio import ExitTriggered, ExposureChanged
from dexlane.events.risk import VerdictApproved
from dexlane.runtime.consuming import Routes
from dexlane.values.books import Lane


@dataclass(frozen=True)
class ExecutionDeps:
    """One seat per chain, and the side values they share."""

    service: str
    lane: Lane
    seats: Mapping[int, Seat]
    side: SideValues


def execution_routes(deps: ExecutionDeps) -> Routes:
    """Decisions of the lane, outcomes of its paper intents, and the last values that planning looks at. A standby asks
    for no decisions and follows the last values."""
    routes = Routes()
    _decisions(routes, deps)
    _side_values(routes, deps)
    return routes


def _decisions(routes: Routes, deps: ExecutionDeps) -> None:
    seats, name, tail = deps.seats, deps.service, deps.lane.value
    gate = seats.__getitem__

    @routes.decide(VerdictApproved, durable=f"{name}-verdicts", tail=tail, gate=gate)
    async def on_verdict(verdict: VerdictApproved) -> None:
        await seats[verdict.chain_id].executor.on_verdict(verdict)

    @routes.decide(ExitTriggered, durable=f"{name}-exits", tail=tail, gate=gate)
    async def on_exit(exit_: ExitTriggered) -> None:
        await seats[exit_.chain_id].executor.on_exit(exit_)

    @routes.decide(ConfirmationGiven, durable=f"{name}-confirmations", tail=tail, gate=gate)
    async def on_confirmation(given: ConfirmationGiven) -> None:
        await seats[given.chain_id].executor.on_confirmation(given)

    @routes.decide(FillConfirmed, durable=f"{name}-fills", gate=gate)
    async def on_fill(fill: FillConfirmed) -> None:
        await seats[fill.chain_id].executor.on_outcome(fill)

    @routes.decide(IntentFailed, durable=f"{name}-failures", gate=gate)
    async def on_failure(failure: IntentFailed) -> None:
        await seats[failure.chain_id].executor.on_outcome(failure)


def _side_values(routes: Routes, deps: ExecutionDeps) -> None:
    seats, side = deps.seats, deps.side

    @routes.follow(BookChanged, from_="last")
    async def on_book(event: BookChanged) -> None:
        side.take_book(event)
        seats[event.chain_id].books_changed()

    @routes.follow(TradingStatus, from_="last")
    async def on_status(event: TradingStatus) -> None:
        side.take_status(event)
        seats[event.chain_id].wake()

    @routes.follow(BreakerChanged, from_="last")
    async def on_breaker(event: BreakerChanged) -> None:
        before = side.status(event.chain_id)
        side.take_breaker(event)
        if side.status(event.chain_id) is not before:  # most of them only say that they are there
            seats[event.chain_id].wake()

    @routes.follow(BreakerReset, from_="last")
    async def on_breaker_reset(event: BreakerReset) -> None:
        side.breakers.take_reset(event)
        seats[event.chain_id].wake()

    @routes.follow(ExposureChanged, from_="last")
    async def on_exposure(event: ExposureChanged) -> None:
        side.take_exposure(event)

    @routes.follow(FeeQuoted, from_="last")
    async def on_fee_quote(event: FeeQuoted) -> None:
        side.take_fee_quote(event)

    @routes.follow(AccountOpened, from_="all")
    async def on_opened(event: AccountOpened) -> None:
        side.take_opened(event)
