"""The breakers of a service without a journal: what it said last on the bus is all that it remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from dexlane.events.breakers import BreakerChanged, BreakerReset
from dexlane.runtime.breaker_board import BoardPlace, BreakerBoard, BreakerSpec
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Transient
from dexlane.runtime.stored_values import stored_values

RENEWED_WITHIN_MS = 120_000
"""Such a service says its breakers again at least so often, so that its readers notice when it is dead."""


class SpokenBreakers:
    """The board of one chain, while ``speaks`` says that this process is the one to speak.

    Samples from before it began are not known to it, so a level holds until it has seen enough again.
    """

    def __init__(
        self, bus: Bus, place: BoardPlace, specs: Sequence[BreakerSpec], speaks: Callable[[], bool] = lambda: True
    ) -> None:
        self._bus = bus
        self._place = place
        self._specs = specs
        self._speaks = speaks
        self._board: BreakerBoard | None = None
        self._resets: dict[str, BreakerReset] = {}

    async def see(self, *samples: tuple[str, object]) -> None:
        """These samples, by source, and a look at the clock; without one only the look. What is new is published."""
        board = await self._taken_up()
        if board is None:
            return
        for source, value in samples:
            board.see(source, value)
        await self._tend(board)

    async def reset(self, word: BreakerReset) -> None:
        """An operator's word; the newest of each source is kept for the time when this process speaks."""
        self._resets[word.source] = word
        if self._board is not None and self._speaks():
            await self._tend(self._board)

    async def _taken_up(self) -> BreakerBoard | None:
        if not self._speaks():
            self._board = None
        elif self._board is None:
            board = BreakerBoard(self._place)
            try:
                board.restore((), await last_facts(self._bus, self._place.service, self._place.chain_id))
            except Transient:
                return None  # the next look asks again; what was said last holds meanwhile, and gets old
            for spec in self._specs:
                board.add(spec)
            self._board = board
        return self._board

    async def _tend(self, board: BreakerBoard) -> None:
        for word in self._resets.values():
            board.take(word)
        board.judge()
        told = board.changes()
        try:
            for one in told:
                for event in one.events:
                    await self._bus.publish(event)
        except Transient:
            return  # the same facts go out with the next look
        board.stored(told)


async def last_facts(bus: Bus, service: str, chain_id: int) -> list[BreakerChanged]:
    """What a service last said of its breakers. ``Transient`` when the broker does not answer."""
    try:
        facts = [fact async for fact in stored_values(bus, BreakerChanged, chain_id)]
    except (NatsError, JetStreamError, TimeoutError) as error:
        raise Transient(f"the breakers of chain {chain_id} could not be read: {error}") from error
    return [fact for fact in facts if fact.service == service]
