"""Read events from the bus without leaving a trace on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Annotated

import nats
import typer
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import Error as JetStreamError

from dexlane.events.base import DEFAULT_REALM, Event
from dexlane.events.streams import EVENTS, stream_of
from dexlane_cli import rendering
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.options import Shift, console
from dexlane_cli.stack import Ports

DEFAULT_QUIET = frozenset({"block.applied", "fee.quoted", "exposure.changed", "paper.scored"})
"""Events that come with every block; shown only when asked for by name."""


async def connect(url: str, *, attempts: int) -> Client:
    """Connect, or one sentence after so many attempts a quarter of a second apart.

    The client's own report of each failed attempt is a traceback, which helps nobody at a terminal.
    """

    async def keep_quiet(_error: Exception) -> None:
        return

    try:
        return await nats.connect(
            url, connect_timeout=3, max_reconnect_attempts=attempts, reconnect_time_wait=0.25, error_cb=keep_quiet
        )
    except (NatsError, OSError) as error:
        sentence = f"no NATS server lets us in at {host_of(url)}; is dexlane running, and is the address right?"
        raise CommandError(sentence) from error


def host_of(url: str) -> str:
    """The server's address without the password that a URL may carry."""
    return url.rsplit("@", 1)[-1].removeprefix("nats://")


def choose(names: Iterable[str]) -> list[type[Event]]:
    """Event types by name or beginning of a name (``fill``, ``verdict``); all but the quiet ones when none is given."""
    wanted = [name.strip() for name in names if name.strip()]
    if not wanted:
        return [event for event in EVENTS if event.NAME not in DEFAULT_QUIET]
    chosen = [event for event in EVENTS if any(event.NAME.startswith(name) for name in wanted)]
    unknown = [name for name in wanted if not any(event.NAME.startswith(name) for event in EVENTS)]
    if unknown:
        known = ", ".join(sorted({event.NAME for event in EVENTS}))
        raise CommandError(f"no event begins with {unknown[0]!r}; the events are {known}", EXIT_USAGE)
    return chosen


async def listen(
    url: str, types: Iterable[type[Event]], *, realm: str = DEFAULT_REALM, since_start: bool = False
) -> AsyncIterator[Event]:
    """Events as they are stored, in the order of their arrival; with ``since_start`` what is stored comes first."""
    client = await connect(url, attempts=20)
    queue: asyncio.Queue[tuple[type[Event], Msg]] = asyncio.Queue(maxsize=10_000)
    try:
        for event_type in types:
            await _subscribe(client.jetstream(), event_type, queue, realm=realm, since_start=since_start)
        while True:
            event_type, message = await queue.get()
            with contextlib.suppress(ValueError):
                yield event_type.from_wire(message.data)
    finally:
        await client.close()


async def _subscribe(
    js: nats.js.JetStreamContext,
    event_type: type[Event],
    queue: asyncio.Queue[tuple[type[Event], Msg]],
    *,
    realm: str,
    since_start: bool,
) -> None:
    async def on_message(message: Msg) -> None:
        await queue.put((event_type, message))

    policy = DeliverPolicy.ALL if since_start else DeliverPolicy.NEW
    stream = stream_of(event_type).name_in(realm)
    try:
        await js.subscribe(
            event_type.pattern(realm),
            stream=stream,
            cb=on_message,
            ordered_consumer=True,
            config=ConsumerConfig(deliver_policy=policy),
        )
    except (NatsError, JetStreamError) as error:
        raise CommandError(f"stream {stream} is not there; declare the streams with `make streams`") from error


def tail_command(
    events: Annotated[str, typer.Option(help="Comma-separated names or beginnings, e.g. fill,verdict.rejected")] = "",
    since_start: Annotated[bool, typer.Option("--all", help="Begin with everything that is stored.")] = False,
    count: Annotated[int, typer.Option(help="Stop after that many; 0 means never.", min=0)] = 0,
    port_shift: Shift = 0,
) -> None:
    """Show events in colour as they happen. Blocks and fee quotes appear only when asked for by name."""
    chosen = choose(events.split(","))

    async def follow() -> None:
        shown = 0
        url = f"nats://127.0.0.1:{Ports(port_shift).nats}"
        async for event in listen(url, chosen, since_start=since_start):
            console.print(rendering.line(event), highlight=False)
            shown += 1
            if count and shown >= count:
                return

    asyncio.run(follow())
