"""A real signer's process, and what a test wants to do with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from dexlane_signer import PrivateKey, write_keystore
from dexlane_signer.client import RemoteSigner

COMMAND = str(Path(sys.executable).parent / "dexlane-signer")


@dataclass
class Running:
    folder: Path
    policy: Path
    process: asyncio.subprocess.Process
    signer: RemoteSigner

    async def control(self, said: dict[str, Any]) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(str(self.folder / "control.sock"))
        writer.write(json.dumps(said).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return answer

    async def command(self, *arguments: str) -> tuple[int, str]:
        done = await asyncio.create_subprocess_exec(
            COMMAND, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await done.communicate()
        return int(done.returncode or 0), said.decode()

    def log(self) -> str:
        return (self.folder / "signer.log").read_text()

    async def logged(self, event: str, times: int = 1) -> None:
        """Wait until an event was logged that often since the folder is there."""
        for _ in range(1_500):
            if self.log().count(f'"{event}"') >= times:
                return
            if self.process.returncode is not None:
                break
            await asyncio.sleep(0.02)
        raise AssertionError(self.log())


def prepare(folder: Path, policy_text: str, key: PrivateKey) -> Path:
    """The files that a signer's process is started with."""
    password = folder / "password"
    password.touch(0o600)
    password.write_text("correct horse\n")
    if not (folder / "key.json").exists():
        write_keystore(folder / "key.json", key, "correct horse", scrypt_n=2)
    policy = folder / "policy.toml"
    policy.write_text(policy_text)
    policy.chmod(0o600)
    return policy


@asynccontextmanager
async def running(folder: Path, policy_text: str, key: PrivateKey) -> AsyncIterator[Running]:
    policy = prepare(folder, policy_text, key)
    earlier = (folder / "signer.log").read_text().count('"signer_ready"') if (folder / "signer.log").exists() else 0
    with (folder / "signer.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(COMMAND, "run", str(policy), stdout=log, stderr=log)
    started = Running(folder, policy, process, RemoteSigner(folder / "signer.sock", time_limit_s=20))
    try:
        await started.logged("signer_ready", earlier + 1)
        yield started
    finally:
        await started.signer.close()
        if process.returncode is None:
            os.kill(process.pid, signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 10)


class Line:
    """A line to a server, that can be cut and mended."""

    def __init__(self, url: str) -> None:
        self._far = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._ends: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where the near end is; it stays the same."""
        return f"nats://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def mend(self) -> None:
        """Connections go through."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """What is connected is cut off, and nobody connects."""
        if self._server is not None:
            self._server.close()
        for end in self._ends:
            end.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._far.hostname, self._far.port)
        ends = {writer, far_writer}
        self._ends |= ends
        await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))
        self._ends -= ends


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while some := await reader.read(65_536):
            writer.write(some)
            await writer.drain()
    writer.close()
