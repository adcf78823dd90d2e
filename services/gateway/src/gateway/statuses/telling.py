"""Telling a halt on every path that it has, and knowing on which of them it arrived."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from dexlane.events.control import Status
from dexlane.runtime.errors import Transient
from dexlane.runtime.journal import Journal
from dexlane.runtime.signer_control import halt_all
from dexlane.values.base import Value
from gateway.metrics import Moments
from gateway.projections.picture import LivePicture

PUBLISHED_WITHIN_S = 1.0
BY_HAND = "`touch HALT` in that signer's data folder halts it without an answer"
BUS_BY_HAND = (
    "it did not take the halt at once; stop the executors, who trade on until it does: the halt is stored and goes out "
    "when the bus is back"
)


class Told(Value):
    """One path of a halt."""

    path: str = Field(description="'bus', which all services hear, or the control socket of a signer on this host")
    confirmed: bool = Field(description="false: act by hand, this path may not be halted")
    why: str = Field(default="", description="why it is not confirmed, and what to do")


class Paths:
    """The signers of this host, who are told directly, and the bus, which takes what the journal keeps."""

    def __init__(self, signers: tuple[Path, ...], journal: Journal, picture: LivePicture, moments: Moments) -> None:
        self._signers = signers
        self.published = journal.drained
        self._picture = picture
        self._moments = moments

    async def signers(self, scope: Status, reason: str) -> tuple[Told, ...]:
        """Halt them all. Who does not confirm is logged and stays on the page, until it does or people resume."""
        refused = await halt_all(self._signers, scope, reason)
        for socket, why in refused.items():
            self._moments.signer_not_halted(socket, why)
        self._picture.not_halted = {socket: f"{why}; {BY_HAND}" for socket, why in refused.items()}
        missing = self._picture.not_halted
        places = map(str, self._signers)
        return tuple(Told(path=at, confirmed=at not in missing, why=missing.get(at, "")) for at in places)

    async def bus(self) -> Told:
        """Wait a moment until everything the journal keeps is published."""
        confirmed = await self.published(PUBLISHED_WITHIN_S)
        return Told(path="bus", confirmed=confirmed, why="" if confirmed else BUS_BY_HAND)

    def resumed(self) -> None:
        """People let trading go on: nobody has to act by hand any more."""
        self._picture.not_halted = {}


@contextmanager
def stored_after(signers: tuple[Told, ...]) -> Iterator[None]:
    """Where the journal does not take a halt that signers were told, ``Transient`` says which of them are halted."""
    try:
        yield
    except Transient as error:
        told = [f"{one.path} {'is halted' if one.confirmed else f'is NOT halted ({one.why})'}" for one in signers]
        heard = "; ".join(told) or "no signer is told directly"
        raise Transient(f"{error}; the halt is neither stored nor published: {heard}") from error
