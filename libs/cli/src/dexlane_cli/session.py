"""What lies on disk for a run: the session folder, its lock, the broker's configuration, the devnet's test keys."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import orjson
import typer

from dexlane.runtime.sealing import sealer_from
from dexlane_cli.errors import CommandError
from dexlane_cli.options import console
from dexlane_cli.stack import APPROVER_KEYS, APPROVERS, EXECUTORS, Ports, StackOptions

KEPT_SESSIONS = 3

NATS_CONFIG = """\
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor}"
server_name: dexlane
jetstream {{
  store_dir: "{store}"
  max_memory_store: 256MB
  max_file_store: 4GB
}}
max_payload: 8MB
"""


def require_free_ports(ports: Ports, *, devnets: Iterable[int]) -> None:
    """One sentence about the first port that another program holds."""
    for name, port in ports.all(devnets).items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise CommandError(
                    f"port {port} ({name}) is taken by another program; stop it, or use --port-shift 100"
                ) from error


@contextlib.contextmanager
def lock(home: Path) -> Iterator[int]:
    """At most one stack for each home folder. Whoever inherits the descriptor holds the lock, too."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CommandError(
                f"dexlane already runs here ({home}); stop it with `dexlane down` or `make stop`"
            ) from error
        pid_file(home).write_text(str(os.getpid()))
        try:
            yield handle.fileno()
        finally:
            pid_file(home).unlink(missing_ok=True)


def pid_file(home: Path) -> Path:
    """Names the supervisor, or the caretaker that stops what a lost supervisor kept."""
    return home / "pid"


def supervisor_pid(home: Path) -> int | None:
    """The running supervisor's process id; None when none runs. What holds the lock is alive: a file that a power cut
    left behind may name a process of somebody else by now."""
    try:
        with (home / "lock").open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(pid_file(home).read_text())
    return None


def stop_supervisor(home: Path, timeout_s: float) -> bool:
    """Ask the running supervisor to stop and wait for it; False when none runs."""
    pid = supervisor_pid(home)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):  # lost this moment, and its caretaker stops everything by itself
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if supervisor_pid(home) is None:
            return True
        time.sleep(0.1)
    raise CommandError(f"the supervisor (process {pid}) did not stop within {timeout_s:.0f} s")


def prepare(options: StackOptions) -> None:
    """Make the folders and files that the processes need.

    The devnet begins anew with every run, so journals and streams of the run before it describe a chain that is no
    longer there: they are set aside, and the last few are kept.
    """
    if options.uses_devnet:
        _set_aside(options.session)
    for folder in ("data", "logs", "keys", "nats"):
        (options.session / folder).mkdir(parents=True, exist_ok=True)
    write_approval_keys(options.approvals)
    config = NATS_CONFIG.format(
        port=options.ports.nats, monitor=options.ports.nats_monitor, store=options.session / "nats"
    )
    (options.session / "nats.conf").write_text(config)
    options.sockets.mkdir(mode=0o700, exist_ok=True)
    if options.uses_devnet and not options.signer_process:
        # Imported when used: it takes most of a second, and no other command should wait for it.
        from dexlane_devnet import account

        for executor, roles in EXECUTORS.items():
            keys = {account(role).address: account(role).private_key for role in roles}
            write_private(options.session / "keys" / f"{executor}.json", orjson.dumps(keys))


def write_approval_keys(folder: Path) -> None:
    """Make the approvers' keys where there are none, each for its service alone, and write down the public ones."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    public: dict[str, str] = {}
    for service in APPROVERS:
        path = folder / f"{service}.key"
        if not path.exists():
            write_private(path, secrets.token_bytes(32).hex().encode())
        sealer = sealer_from(path)
        if sealer is not None:
            public[service] = sealer.public_key.hex()
    (folder / APPROVER_KEYS).write_bytes(orjson.dumps(public, option=orjson.OPT_INDENT_2))


def _set_aside(session: Path) -> None:
    if not session.exists():
        return
    archive = session.parent / "sessions"
    archive.mkdir(exist_ok=True)
    changed_ns = session.stat().st_mtime_ns
    shutil.rmtree(session / "nats", ignore_errors=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(changed_ns // 10**9))
    session.rename(archive / f"{stamp}-{changed_ns % 10**9:09}")
    for old in sorted(archive.iterdir())[:-KEPT_SESSIONS]:
        shutil.rmtree(old)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)


def approval_keys_command(
    folder: Annotated[Path, typer.Argument(help="Where they lie; old ones stay.")],
) -> None:
    """Make the keys that risk-scorer, portfolio and gateway seal with, and print the public ones for signers."""
    write_approval_keys(folder)
    console.print_json((folder / APPROVER_KEYS).read_text())
