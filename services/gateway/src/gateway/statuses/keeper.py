"""Halt and resume: the operator's word on each chain, kept in the journal and published as ``trading.status``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from dexlane.events.control import Status, TradingStatus, strictest
from dexlane.runtime.errors import DexlaneError
from dexlane.runtime.journal import Journal, Tx
from dexlane.runtime.settings import SERVICES
from gateway.records import statuses

OPERATOR = "operator"
BEFORE_THE_BREAKER = "gas"
"""Said by gas oracles before they had a breaker; such a word may still be stored."""
RELEASABLE = frozenset({OPERATOR, BEFORE_THE_BREAKER, *SERVICES})
"""Sources whose word a person ends here."""
EARLIER = "; and before that: "
MOST_REASONS = 8
"""Of halts that came one on top of the other, the newest are told."""


class StatusRefused(DexlaneError):  # noqa: N818
    """A change of the trading status that is not allowed."""


class StatusKeeper:
    """The last word of every source on every chain. The operator's is written here; others' are remembered."""

    def __init__(self, journal: Journal, chains: tuple[int, ...]) -> None:
        self._journal = journal
        self._chains = chains
        self._words: dict[tuple[int, str], TradingStatus] = {}

    @property
    def words(self) -> Mapping[tuple[int, str], TradingStatus]:
        """The last word by chain and source."""
        return self._words

    async def load(self, published: Iterable[TradingStatus]) -> None:
        """Read the journal. Where the bus holds a newer word of the operator, take that one, so that a lost or restored
        journal never lifts a halt; where there is none at all, trading begins as active. What the bus lacks is told
        again."""
        on_bus = {word.chain_id: word for word in published if word.source == OPERATOR}
        async with self._journal.transaction() as tx:
            self._words = await _newest(tx.conn)
            for chain_id in self._chains:
                known, newer = self._words.get((chain_id, OPERATOR)), on_bus.get(chain_id)
                if newer is None and known is None:
                    newer = _first_word(chain_id, tx.now_ms)
                if newer is not None and (known is None or newer.status_version > known.status_version):
                    await _insert(tx.conn, newer)
                    self._words[chain_id, OPERATOR] = newer
                word = self._words[chain_id, OPERATOR]
                if chain_id not in on_bus or on_bus[chain_id].status_version < word.status_version:
                    await tx.emit(word)

    @property
    def operator_level(self) -> Status:
        """The strictest that the operator says of any chain."""
        return strictest([self._words[chain_id, OPERATOR].status for chain_id in self._chains])

    def is_news(self, word: TradingStatus) -> bool:
        """Whether nothing as new is known of its source."""
        known = self._words.get((word.chain_id, word.source))
        return known is None or known.status_version < word.status_version

    async def remember(self, word: TradingStatus) -> None:
        """Keep what a source said, if it is news. It is known at once, and stays so when the journal does not commit
        (``Transient``): a halt that nobody sees, nobody can release.

        A service that halted when it failed is gone, and its word is nowhere but on the bus. It is put into the outbox
        here, before the release that may follow: when the bus loses what it stored, it is told again.
        """
        key = (word.chain_id, word.source)
        if not self.is_news(word):
            return
        self._words[key] = word
        async with self._journal.transaction() as tx:
            await _insert(tx.conn, word)
            if word.source in SERVICES and self._words[key] is word:
                await tx.emit(word)

    async def halt(self, scope: Status, reason: str, chain_ids: tuple[int, ...]) -> list[TradingStatus]:
        """Tighten the operator's word. It never loosens one: a halt stays a halt when less is asked for.

        A halt for another reason is said though nothing becomes stricter: who saw only the one before must not release
        it unseen.
        """
        async with self._journal.transaction() as tx:
            said = [
                await self._say(tx, word, strictest([word.status, scope]), _with(word, reason))
                for word in (self._words[chain_id, OPERATOR] for chain_id in chain_ids)
                if word.status.severity < scope.severity or not _tells(word, reason)
            ]
        self._keep(said)
        return said

    async def resume(
        self, to: Status, reason: str, seen: Mapping[int, int], source: str = OPERATOR
    ) -> list[TradingStatus]:
        """Loosen a word: the operator's own, or that of a service which halted when it failed. ``seen`` has the version
        that was looked at, by chain.

        ``StatusRefused`` where ``held`` refuses, and where another word holds than was seen: nobody has looked at it.
        """
        async with self._journal.transaction() as tx:
            held = self.held(to, seen, source)
            if unseen := [word for word in held if word.status_version != seen[word.chain_id]]:
                raise StatusRefused(f"this is not what you saw, look at it and resume again: {told(unseen)}")
            said = [await self._say(tx, word, to, reason) for word in held]
        self._keep(said)
        return said

    def held(self, to: Status, chain_ids: Iterable[int], source: str) -> list[TradingStatus]:
        """What a resume of a source would release.

        Breakers and the signer release themselves. ``StatusRefused`` for those, and where nothing is to be released.
        """
        if source.startswith("breaker-"):
            raise StatusRefused(f"{source!r} releases its halt itself, or by `dexlane breakers reset {source}`")
        if source not in RELEASABLE:
            raise StatusRefused(f"{source!r} releases its halt itself; look there for the cause")
        words = [self._words.get((chain_id, source)) for chain_id in chain_ids]
        held = [word for word in words if word is not None and word.status.severity > to.severity]
        if not held:
            raise StatusRefused(f"{source} holds nothing back that {to.value!r} would release")
        return held

    async def _say(self, tx: Tx, before: TradingStatus, status: Status, reason: str) -> TradingStatus:
        version = before.status_version + 1
        word = before.model_copy(
            update={
                "id": TradingStatus.make_id(before.chain_id, before.source, version),
                "occurred_at_ms": tx.now_ms,
                "status": status,
                "status_version": version,
                "reason": reason,
            }
        )
        await _insert(tx.conn, word)
        await tx.emit(word)
        return word

    def _keep(self, words: Iterable[TradingStatus]) -> None:
        # What a service said while this was stored is newer, and stays.
        self._words.update({(word.chain_id, word.source): word for word in words if self.is_news(word)})


def told(words: Iterable[TradingStatus]) -> str:
    """Words for people, with the version that a resume names."""
    return "; ".join(
        f"{one.source} on chain {one.chain_id} says {one.status.value} (version {one.status_version}): {one.reason}"
        for one in words
    )


def _tells(word: TradingStatus, reason: str) -> bool:
    return f"{EARLIER}{reason}{EARLIER}" in f"{EARLIER}{word.reason}{EARLIER}"


def _with(before: TradingStatus, reason: str) -> str:
    if before.status is Status.ACTIVE:
        return reason
    earlier = [one for one in before.reason.split(EARLIER) if one != reason]
    return EARLIER.join([reason, *earlier[: MOST_REASONS - 1]])


def _first_word(chain_id: int, now_ms: int) -> TradingStatus:
    return TradingStatus(
        id=TradingStatus.make_id(chain_id, OPERATOR, 1),
        chain_id=chain_id,
        occurred_at_ms=now_ms,
        source=OPERATOR,
        status=Status.ACTIVE,
        status_version=1,
        reason="first start",
    )


async def _insert(conn: AsyncConnection, word: TradingStatus) -> None:
    key = {"chain_id": word.chain_id, "source": word.source, "version": word.status_version}
    await conn.execute(statuses.insert().values(**key, body=word.to_wire().decode()))


async def _newest(conn: AsyncConnection) -> dict[tuple[int, str], TradingStatus]:
    rows = await conn.execute(sa.select(statuses.c.body).order_by(statuses.c.version))
    words = (TradingStatus.from_wire(row.body) for row in rows)
    return {(word.chain_id, word.source): word for word in words}
