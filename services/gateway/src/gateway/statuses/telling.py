"""Telling a halt on every path that it has, and knowing on which of them it arrived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sa

from dexlane.events.control import Status, strictest
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import Journal
from dexlane.runtime.signer_control import BEAT_EVERY_S, beat, halt_all
from gateway.metrics import SignerMoments
from gateway.projections.picture import LivePicture, Told
from gateway.records import untold_halts

PUBLISHED_WITHIN_S = 1.0
TELL_AGAIN_S = 2.0
BY_HAND = "`touch HALT` in that signer's data folder halts it without an answer"
BUS_BY_HAND = (
    "it did not take the halt at once; stop the executors, who trade on until it does: the halt is stored and goes out "
    "when the bus is back"
)


@dataclass(frozen=True)
class Untold:
    """A halt that a signer did not confirm, and why."""

    level: Status
    reason: str
    why: str


class Paths:
    """The signers of this host, who are told directly, and the bus, which takes what the journal keeps."""

    def __init__(
        self, signers: tuple[Path, ...], journal: Journal, picture: LivePicture, moments: SignerMoments
    ) -> None:
        self._signers = signers
        self._journal = journal
        self.published = journal.drained
        self._picture = picture
        self._moments = moments
        self._untold: dict[str, Untold] = {}
        self._telling = asyncio.Lock()
        self._storing = asyncio.Lock()

    async def load(self, level: Status) -> None:
        """Take up who did not confirm before a restart, as far as people still hold trading back."""
        async with self._journal.reading() as conn:
            rows = (await conn.execute(sa.select(untold_halts))).all()
        self._untold = {row.socket: Untold(Status(row.level), row.reason, row.why) for row in rows}
        self._lower(level)

    async def signers(self, scope: Status, reason: str) -> tuple[Told, ...]:
        """Halt them all. Who does not confirm is logged, stays on the page and is told again, until it does or people
        resume. Who has not confirmed something stricter yet is not told less."""
        level = strictest([scope, *(one.level for one in self._untold.values())])
        refused = await halt_all(self._signers, level, reason)
        for socket, why in refused.items():
            self._moments.signer_not_halted(socket, why)
        self._untold = {socket: Untold(level, reason, why) for socket, why in refused.items()}
        self._show()
        missing = self._picture.not_halted
        places = map(str, self._signers)
        return tuple(Told(path=at, confirmed=at not in missing, why=missing.get(at, "")) for at in places)

    async def bus(self) -> Told:
        """Wait a moment until everything the journal keeps is published."""
        confirmed = await self.published(PUBLISHED_WITHIN_S)
        return Told(path="bus", confirmed=confirmed, why="" if confirmed else BUS_BY_HAND)

    @asynccontextmanager
    async def stored(self, signers: tuple[Told, ...]) -> AsyncIterator[None]:
        """Who did not confirm is stored before the halt is. Where the journal does not take that, ``Transient`` says
        which signers are halted."""
        try:
            await self._store()
            yield
        except Transient as error:
            told = [f"{one.path} {'is halted' if one.confirmed else f'is NOT halted ({one.why})'}" for one in signers]
            heard = "; ".join(told) or "no signer is told directly"
            raise Transient(f"{error}; the halt is neither stored nor published: {heard}") from error

    async def resumed(self, level: Status) -> None:
        """People let trading go on, as far as this level: nobody is told more than that any more.

        It waits for what is being said, so that no signer is halted after a resume."""
        async with self._telling:
            self._lower(level)
            await self._store_if_possible()

    async def run(self) -> None:
        """Tell them again, for ever."""
        while True:
            await asyncio.sleep(TELL_AGAIN_S)
            await self.again()

    async def again(self) -> None:
        """Tell everybody once more who did not confirm."""
        async with self._telling:
            before = dict(self._untold)
            told = (halt_all([Path(socket)], one.level, one.reason) for socket, one in before.items())
            for (socket, one), refused in zip(before.items(), await asyncio.gather(*told), strict=True):
                if self._untold.get(socket) is not one:
                    continue  # another halt came meanwhile, and was told
                if why := refused.get(socket):
                    self._moments.signer_not_halted(socket, why, is_news=why != one.why)
                    self._untold[socket] = replace(one, why=why)
                else:
                    self._moments.signer_halted_late(socket)
                    del self._untold[socket]
            self._show()
            if before.keys() != self._untold.keys():
                await self._store_if_possible()

    async def give_signs_of_life(self, bus: Bus) -> None:
        """Signers sign entries only while they hear that people could stop them."""
        while True:
            for reason in await beat(self._signers):
                self._moments.signer_not_reached(reason)
            try:
                await bus.say_alive()
            except Transient as error:
                self._moments.signer_not_reached(str(error))
            await asyncio.sleep(BEAT_EVERY_S)

    def _lower(self, level: Status) -> None:
        held = self._untold.items() if level is not Status.ACTIVE else ()
        self._untold = {
            socket: one if one.level.severity <= level.severity else replace(one, level=level) for socket, one in held
        }
        self._show()

    def _show(self) -> None:
        self._picture.not_halted = {socket: f"{one.why}; {BY_HAND}" for socket, one in self._untold.items()}

    async def _store_if_possible(self) -> None:
        # What stays there too long is told once more after a restart, or not at all when trading was resumed.
        with suppress(Transient):
            await self._store()

    async def _store(self) -> None:
        async with self._storing, self._journal.transaction() as tx:
            await tx.conn.execute(untold_halts.delete())
            for socket, one in self._untold.items():
                values = {"level": one.level.value, "reason": one.reason, "why": one.why}
                await tx.conn.execute(untold_halts.insert().values(socket=socket, **values))
