"""The signer's process: keys in closed memory, two sockets, and three ways to stop it that do not need each other."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dexlane_signer.brake import HALT_FILE, Brake, DeadManLease
from dexlane_signer.bus import BreakerWords, BusListener
from dexlane_signer.control import ControlServer
from dexlane_signer.guard import NonceGuard
from dexlane_signer.hygiene import close_memory
from dexlane_signer.key_stores.opening import OpenedKeys, open_keys
from dexlane_signer.server import SigningServer
from dexlane_signer.settings import ProcessSettings
from dexlane_signer.signer import LocalSigner, wall_clock_s
from dexlane_signer.tables import PolicyFileError

CANCEL_AGAIN_S = 2.0


def say(event: str, sentence: str) -> None:
    """One line of JSON on standard error, in the form of the services' logs."""
    record = {"ts": wall_clock_s(), "service": "signer", "level": "info", "event": event, "reason": sentence}
    sys.stderr.write(json.dumps(record) + "\n")
    sys.stderr.flush()


def _require_own(folder: Path) -> None:
    """Whoever may write in the folder can take the record away, with every halt in it, and lay down another.

    Raises ``PermissionError`` when that is anybody but this user.
    """
    found = folder.stat()
    if stat.S_IMODE(found.st_mode) & 0o022 or found.st_uid not in (0, os.getuid()):
        raise PermissionError(f"others may write in {folder}; run chown {os.getuid()} and chmod go-w on it")


def load_keys(settings: ProcessSettings) -> OpenedKeys:
    """Open the key store. Raises ``PolicyFileError`` when keys and policy do not fit together, and as ``open_keys``."""
    opened = open_keys(settings.key_store, settings.accounts, say)
    held = {key.address for key in opened.keys}
    for address in sorted(held - settings.accounts):
        raise PolicyFileError(f"no chain names {address}, whose key is there; remove the key file, or its entry")
    for address in sorted(settings.accounts - held):
        raise PolicyFileError(f"an account of the policy, {address}, has no key")
    return opened


@dataclass(frozen=True)
class Parts:
    """The process put together, before it listens."""

    settings: ProcessSettings
    keys: OpenedKeys
    guard: NonceGuard
    brake: Brake
    signer: LocalSigner
    bus: BusListener | None
    breakers: BreakerWords


def build(settings: ProcessSettings, *, close: Callable[[], None] = close_memory) -> Parts:
    """Close the memory, then read the keys and open the record. Raises what those raise."""
    close()
    opened = load_keys(settings)
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_own(settings.data_dir)
    guard = NonceGuard(settings.guard_path)
    silence_s = settings.max_silence_s
    breakers = BreakerWords(are_awaited=settings.bus is not None)
    brake = Brake(
        guard,
        told=breakers.latch,
        halt_file=settings.data_dir / HALT_FILE,
        lease=None if silence_s is None else DeadManLease(float(silence_s)),
    )
    offset_s = settings.clock_offset_s
    signer = LocalSigner(opened.keys, settings.policies, guard, clock_s=lambda: wall_clock_s() + offset_s, brake=brake)
    bus = settings.bus
    listener = None if bus is None else BusListener(brake, breakers, url_file=bus.url_file, realm=bus.realm, log=say)
    return Parts(settings, opened, guard, brake, signer, listener, breakers)


async def serve(parts: Parts) -> None:
    """Sign until a signal to end. Raises ``SocketTakenError`` or ``OSError`` when a socket cannot be opened."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    settings, bus = parts.settings, parts.bus
    control = ControlServer(parts.brake, uids=settings.control_uids, more=lambda: _more(parts))
    signing = SigningServer(parts.signer, uids=settings.asker_uids)
    tasks = [asyncio.create_task(parts.brake.keep_looking())]
    if parts.keys.keep is not None:
        tasks.append(asyncio.create_task(parts.keys.keep()))
    if bus is not None:
        tasks.append(asyncio.create_task(bus.run()))
    try:
        # Whoever stops the signer must be able to before anybody can ask it.
        await control.start(settings.control_socket)
        await signing.start(settings.socket)
        latch = parts.brake.latch()
        say("signer_ready", f"{len(parts.signer.addresses)} accounts, {latch.level} {latch.reason}".strip())
        ending = asyncio.create_task(stopping.wait())
        await asyncio.wait([ending, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()  # a way to stop the signer is gone: it must not go on without
    finally:
        await signing.stop()
        await control.stop()
        await _ended(tasks)
        parts.keys.close()
        parts.guard.close()
        settings.socket.unlink(missing_ok=True)
        settings.control_socket.unlink(missing_ok=True)
        say("signer_stopped", "no more signatures")


async def _ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: the client of the bus can take a cancellation for one of its own and go on."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)


def _more(parts: Parts) -> dict[str, object]:
    connected = None if parts.bus is None else parts.bus.is_connected
    held = parts.breakers.latch()
    return {
        "accounts": sorted(parts.signer.addresses),
        "bus_connected": connected,
        "breakers": {"level": held.level, "source": held.source, "reason": held.reason},
    }
