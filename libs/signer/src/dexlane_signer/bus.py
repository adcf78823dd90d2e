"""Halts heard on the bus: every source's word on whether to trade, and the control plane's signs of life.

Plain NATS, with no part of dexlane: ``<realm>.<chain>.trading.status.<source>`` carries JSON with ``status`` and
``reason``, ``<realm>.control.alive`` carries anything. The bus can only tighten; a word that loosens is not acted on.
Circuit breakers are the one exception, because they open and close by themselves: what a breaker (a source that begins
with ``breaker-``) said holds until the same breaker says otherwise, and never loosens what anybody else latched.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import DeliverPolicy
from nats.js.errors import Error as JetStreamError

from dexlane_signer.brake import Brake
from dexlane_signer.guard_file import GuardUnavailableError
from dexlane_signer.latch import Latch, Level, recordable

RECONNECT_S = 0.25
LAST_WORDS_S = 2.0
BREAKER = "breaker-"
"""How the sources of circuit breakers begin."""


MOST_BREAKERS = 1_000
"""That say anything but ACTIVE. More are nobody's breakers."""


class BreakerWords:
    """What breakers said last, by chain and source, where it stops anything. It is kept in memory alone: every new link
    reads it again."""

    def __init__(self, *, are_awaited: bool = False) -> None:
        """``are_awaited``: a breaker may hold since before the process began, so entries wait for ``all_read``."""
        self._words: dict[str, Latch] = {}
        self._unread = Latch(Level.REDUCING, "bus", "its last words were not read yet") if are_awaited else Latch()

    def all_read(self) -> None:
        """Every last word was heard. A link that is lost later takes nothing back: the words that were heard hold."""
        self._unread = Latch()

    def hear(self, subject: str, level: Level, reason: str) -> None:
        """A breaker's word; ``subject`` names its chain and itself. Where too many speak, all is halted as long as the
        process lives."""
        self._words.pop(subject, None)
        if level is Level.ACTIVE:
            return
        if len(self._words) >= MOST_BREAKERS:
            subject, level, reason = "", Level.HALTED, f"more than {MOST_BREAKERS} breakers speak on the bus"
        self._words[subject] = Latch(level, subject.rpartition(".")[2] or BREAKER, reason)

    def latch(self) -> Latch:
        """The strictest of them."""
        return max([self._unread, *self._words.values()], key=lambda word: word.level.severity)


class BusListener:
    """Listens as long as the process lives, and connects anew for ever."""

    def __init__(
        self, brake: Brake, breakers: BreakerWords, *, url_file: Path, realm: str, log: Callable[[str, str], None]
    ) -> None:
        """``breakers`` hears what breakers say; the brake asks it with every signature."""
        self._brake = brake
        self._breakers = breakers
        self._url_file = url_file
        self._realm = realm
        self._log = log
        self._client: Client | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the link to the bus stands."""
        return self._client is not None and self._client.is_connected

    async def run(self) -> None:
        """Listen for ever. Without the bus the other ways to halt go on."""
        while True:
            try:
                await self._listen()
            except (NatsError, OSError, TimeoutError, ValueError) as error:
                self._log("bus_unreachable", f"{type(error).__name__}")
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self) -> None:
        url = self._url_file.read_text(encoding="utf-8").strip()
        lost = asyncio.Event()

        async def on_closed() -> None:
            lost.set()

        # Connections are made anew here and not by the client, so that the last words are read each time.
        client = await nats.connect(
            url,
            name="dexlane-signer",
            allow_reconnect=False,
            closed_cb=on_closed,
            disconnected_cb=on_closed,
            error_cb=self._on_error,
            connect_timeout=2,
            ping_interval=5,
            max_outstanding_pings=2,
        )
        self._client = client
        try:
            await client.subscribe(f"{self._realm}.*.trading.status.>", cb=self._on_status)
            await client.subscribe(f"{self._realm}.control.alive", cb=self._on_alive)
            await client.flush(timeout=2)
            self._log("bus_connected", "halts are heard")
            while not await self._hear_last_words(client) and not lost.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_WORDS_S):
                        await lost.wait()
            await lost.wait()
        finally:
            with contextlib.suppress(NatsError, OSError, TimeoutError):
                await client.close()

    async def _hear_last_words(self, client: Client) -> bool:
        """What was said before we listened is kept there, one word for each source. Returns whether all were read."""
        read = asyncio.Event()

        def all_read() -> None:
            read.set()
            self._breakers.all_read()

        async def on_last_word(message: Msg) -> None:
            await self._on_status(message)
            if message.metadata.num_pending == 0:
                all_read()

        words: JetStreamContext.PushSubscription | None = None
        try:
            words = await client.jetstream(timeout=LAST_WORDS_S).subscribe(
                f"{self._realm}.*.trading.status.>",
                cb=on_last_word,
                ordered_consumer=True,
                deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
            )
            found = await words.consumer_info()
            if found.num_pending == 0 and found.delivered is not None and found.delivered.consumer_seq == 0:
                all_read()  # nobody ever said anything
            await asyncio.sleep(LAST_WORDS_S)
        except (NatsError, JetStreamError, TimeoutError) as error:
            self._log("last_words_unread", type(error).__name__)
            return False
        finally:
            if words is not None:
                # What is lost needs no goodbye; and an error here would take the place of a cancellation.
                with contextlib.suppress(NatsError):
                    await words.unsubscribe()
        return read.is_set()

    async def _on_error(self, error: Exception) -> None:
        self._log("bus_error", type(error).__name__)

    async def _on_alive(self, _: Msg) -> None:
        if self._brake.lease is not None:
            self._brake.lease.beat()

    async def _on_status(self, message: Msg) -> None:
        try:
            word = json.loads(message.data)
            level, reason = Level(word["status"]), recordable(str(word["reason"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            self._brake.counts.unread += 1
            self._log("word_unread", message.subject[:120])
            return
        if message.subject.rpartition(".")[2].startswith(BREAKER):
            self._breakers.hear(message.subject, level, reason)
            return
        if level is Level.ACTIVE:
            return
        try:
            self._brake.pull(level, "bus", reason)
        except GuardUnavailableError as error:
            self._log("halt_not_recorded", str(error))
