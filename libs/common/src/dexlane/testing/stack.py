"""The whole system as a child process, the way a user starts it: ``dexlane up`` in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import nats
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, DeliverPolicy

from dexlane.events.base import Event
from dexlane.events.seals import Approver
from dexlane.events.streams import stream_of
from dexlane.runtime.sealing import Approving, sealer_from

E = TypeVar("E", bound=Event)

COMMAND = str(Path(sys.executable).parent / "dexlane")


class StackError(AssertionError):
    """The system did not do what the test waits for."""


@dataclass
class Stack:
    """A running system."""

    home: Path
    shift: int
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def gateway(self) -> str:
        """Base URL of the gateway."""
        return f"http://127.0.0.1:{8080 + self.shift}"

    @property
    def nats_url(self) -> str:
        """The bus."""
        return f"nats://127.0.0.1:{14_222 + self.shift}"

    @property
    def rpc_url(self) -> str:
        """The devnet over HTTP."""
        return f"http://127.0.0.1:{18_545 + self.shift}"

    @property
    def output(self) -> str:
        """What the user saw so far."""
        return (self.home / "output").read_text(errors="replace")

    def token(self) -> str:
        """The gateway's token for writes."""
        return (self.home / "session" / "data" / "gateway-token").read_text().strip()

    def start(self, *arguments: str) -> None:
        """Start, without waiting."""
        self.home.mkdir(parents=True, exist_ok=True)
        command = [COMMAND, "up", "--home", str(self.home), "--port-shift", str(self.shift), *arguments]
        with (self.home / "output").open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **self.environment}
            )

    def wait_ready(self, timeout_s: float = 240.0) -> None:
        """Return once the command says that it is ready; fail with its output when it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if "ready after" in self.output:
                return
            if self.process is not None and self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise StackError(f"dexlane did not become ready:\n{self.output}\n{self.tails()}")

    def tails(self) -> str:
        """The last lines of every process's log, for a failure's message."""
        logs = sorted((self.home / "session" / "logs").glob("*.log"))
        return "\n".join(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-6:]) for log in logs)

    def stop(self, timeout_s: float = 40.0) -> int:
        """Ctrl-C; returns the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise StackError(f"dexlane did not stop:\n{self.output}") from None

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another ``dexlane`` command against this system."""
        # What reads journals, or a process id, knows no ports.
        ports = () if arguments[0] in {"thoughts", "down"} else ("--port-shift", str(self.shift))
        placed = [*arguments, "--home", str(self.home), *ports]
        return subprocess.run([COMMAND, *placed], capture_output=True, text=True, timeout=120, check=False)

    def pid_of(self, service: str) -> int:
        """The process id of a service, found by the port it listens on being named in its environment."""
        needle = f"bin/dexlane-{service}".encode()
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                mine = self.process is not None and parent == self.process.pid
                if mine and needle in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        raise StackError(f"{service} does not run")

    def approving(self) -> Approving:
        """The risk-scorer's way to approve: its key, so that signers believe a test's verdicts."""
        return Approving(Approver.RISK_SCORER, sealer_from(self.home / "approvals" / "risk-scorer.key"))

    async def rpc(self, method: str, *params: Any) -> Any:
        """Call the devnet."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            answer = (await client.post(self.rpc_url, json=request)).json()
        if "error" in answer:
            raise StackError(f"{method}: {answer['error']}")
        return answer["result"]

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[Witness]:
        """A connection to publish and to watch."""
        client = await nats.connect(self.nats_url)
        try:
            yield Witness(client)
        finally:
            await client.close()


class Witness:
    """Publishes facts and waits for facts."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.js = client.jetstream()

    async def publish(self, event: Event) -> None:
        """Store a fact under its deterministic id."""
        await self.js.publish(
            event.subject(), event.to_wire(), headers={"Nats-Msg-Id": f"main:{event.id}"}, stream=self._stream(event)
        )

    @staticmethod
    def _stream(event: Event | type[Event]) -> str:
        return stream_of(event if isinstance(event, type) else type(event)).name

    async def stored(self, event_type: type[E]) -> list[E]:
        """Everything of that type that is stored by now."""
        found: list[E] = []
        subscription = await self.js.subscribe(
            event_type.pattern(),
            stream=self._stream(event_type),
            ordered_consumer=True,
            config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
        )
        while True:
            try:
                message = await subscription.next_msg(timeout=0.5)
            except nats.errors.TimeoutError:
                break
            found.append(event_type.from_wire(message.data))
        await subscription.unsubscribe()
        return found

    async def until(
        self, event_type: type[E], matches: Callable[[E], bool] = lambda _event: True, *, timeout_s: float = 30.0
    ) -> E:
        """The first fact that matches, stored before or coming now; fails when the time runs out."""
        subscription = await self.js.subscribe(
            event_type.pattern(),
            stream=self._stream(event_type),
            ordered_consumer=True,
            config=ConsumerConfig(deliver_policy=DeliverPolicy.ALL),
        )
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        message = await subscription.next_msg(timeout=timeout_s)
                    except nats.errors.TimeoutError as error:
                        raise TimeoutError from error
                    event = event_type.from_wire(message.data)
                    if matches(event):
                        return event
        except TimeoutError as error:
            raise StackError(f"no matching {event_type.NAME} within {timeout_s} s") from error
        finally:
            await subscription.unsubscribe()
