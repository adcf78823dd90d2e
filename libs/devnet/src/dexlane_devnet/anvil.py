"""Find the anvil binary, start it as a child process and stop it for certain."""

import asyncio
import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from dexlane_devnet.accounts import ACCOUNT_COUNT, TEST_MNEMONIC
from dexlane_devnet.clock import monotonic_s
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.packages import Report, anvil_package, fetch
from dexlane_devnet.rpc import Rpc

MIN_VERSION = (1, 7)
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
HOST = "127.0.0.1"
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def find_anvil(cache: Path, report: Report) -> Path:
    """Path of an anvil binary: DEXLANE_ANVIL, else one on PATH (>= 1.7), else the pinned one from npm.

    Raises:
        DevnetError: the named binary does not answer, or npm cannot deliver one.
    """
    named = os.environ.get("DEXLANE_ANVIL")
    if named:
        if _version(named) < MIN_VERSION:
            raise DevnetError(f"DEXLANE_ANVIL names {named}, which is not an anvil of version 1.7 or newer.")
        return Path(named)
    on_path = shutil.which("anvil")
    if on_path is not None and _version(on_path) >= MIN_VERSION:
        return Path(on_path)
    return fetch(anvil_package(), cache, report) / "bin" / "anvil"


def _version(binary: str) -> tuple[int, ...]:
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(int(part) for part in found.groups()) if found else (0,)


def check_port_free(port: int) -> None:
    """Refuse a port somebody listens on.

    Raises:
        DevnetError: the port is taken.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DevnetError(f"port {port} on {HOST} is taken; choose another one with --port.") from error


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class AnvilProcess:
    """A running anvil: one child process, one scratch folder that dies with it."""

    port: int
    process: asyncio.subprocess.Process
    scratch: tempfile.TemporaryDirectory[str] = field(repr=False)

    @property
    def ws_url(self) -> str:
        return f"ws://{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def stop(self) -> None:
        """Ask with SIGINT, then insist with SIGKILL; the scratch folder is removed."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        self.scratch.cleanup()


def _die_with_parent() -> None:
    """Linux: the kernel ends anvil when its parent dies, even by SIGKILL; elsewhere such an orphan stays."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


async def start_anvil(binary: Path, port: int, extra: list[str]) -> AnvilProcess:
    """Start anvil and wait until it answers.

    Raises:
        DevnetError: the port is taken, or anvil ends or stays silent.
    """
    check_port_free(port)
    scratch = tempfile.TemporaryDirectory(prefix="dexlane-devnet-", ignore_cleanup_errors=True)
    arguments = [
        "--host", HOST, "--port", str(port), "--quiet", "--cache-path", scratch.name,
        "--accounts", str(ACCOUNT_COUNT), "--mnemonic", TEST_MNEMONIC, *extra,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        str(binary),
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # Ctrl-C goes to the whole foreground group; the parent decides when its child stops.
        process_group=0,
        preexec_fn=_die_with_parent if _LIBC is not None else None,  # one system call, no Python locks
    )
    anvil = AnvilProcess(port, process, scratch)
    try:
        await _wait_until_answering(anvil)
    except BaseException:
        await anvil.stop()
        raise
    return anvil


async def _wait_until_answering(anvil: AnvilProcess) -> None:
    give_up = monotonic_s() + START_TIMEOUT_S
    while monotonic_s() < give_up:
        if not anvil.running:
            stderr = anvil.process.stderr
            text = (await stderr.read()).decode(errors="replace").strip() if stderr else ""
            raise DevnetError(f"anvil ended at start: {text.splitlines()[-1] if text else 'no message'}")
        try:
            async with await Rpc.connect(anvil.ws_url) as rpc:
                await rpc.call("eth_chainId")
                return
        except (OSError, EOFError):
            await asyncio.sleep(0.01)
    raise DevnetError(f"anvil did not answer within {START_TIMEOUT_S:.0f} s.")
