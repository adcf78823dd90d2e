"""Command line: ``python -m dexlane_devnet build|up|info``."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from dexlane_devnet.accounts import ROLES, account
from dexlane_devnet.addresses import ADDRESSES, POOLS
from dexlane_devnet.build import build_state, default_cache
from dexlane_devnet.devnet import DevnetConfig, start_devnet
from dexlane_devnet.errors import DevnetError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exits 1 with one sentence on stderr when it cannot."""
    options = parser().parse_args(arguments)
    try:
        code = asyncio.run(options.run(options))
    except DevnetError as error:
        sys.stderr.write(f"devnet: {error}\n")
        code = 1
    sys.exit(code)


def parser() -> argparse.ArgumentParser:
    """All commands and their settings."""
    top = argparse.ArgumentParser(prog="dexlane-devnet", description="A local chain with real DEX contracts.")
    commands = top.add_subparsers(required=True, metavar="command")
    build = commands.add_parser("build", help="fetch the parts and build the starting state")
    up = commands.add_parser("up", help="run the chain in the foreground")
    info = commands.add_parser("info", help="print addresses, pools and public test accounts as JSON")
    for command in (build, up):
        command.add_argument("--chain-id", type=int, default=1)
        command.add_argument("--cache", type=Path, default=None, help="folder for fetched parts and built states")
    up.add_argument("--port", type=int, default=8545)
    up.add_argument("--block-time", type=float, default=1.0, help="seconds between blocks")
    up.add_argument("--prune-history", type=int, default=128, help="past states kept in memory")
    build.set_defaults(run=_build)
    up.set_defaults(run=_up)
    info.set_defaults(run=_info)
    return top


def report(line: str) -> None:
    """One progress line for a person, on stderr."""
    sys.stderr.write(f"devnet: {line}\n")


def emit(line: bytes) -> None:
    """One line of output, flushed so that a supervisor sees it at once."""
    sys.stdout.write(line.decode() + "\n")
    sys.stdout.flush()


async def _build(options: argparse.Namespace) -> int:
    path = await build_state(options.cache or default_cache(), report, chain_id=options.chain_id)
    emit(str(path).encode())
    return 0


async def _info(_: argparse.Namespace) -> int:
    known = {
        "addresses": asdict(ADDRESSES),
        "pools": {name: asdict(pool) for name, pool in POOLS.items()},
        "accounts_public_test_keys": {role: asdict(account(role)) for role in ROLES},
    }
    emit(orjson.dumps(known, option=orjson.OPT_INDENT_2))
    return 0


async def _up(options: argparse.Namespace) -> int:
    config = DevnetConfig(
        port=options.port,
        chain_id=options.chain_id,
        block_time_s=options.block_time,
        cache_dir=options.cache or default_cache(),
        prune_history=options.prune_history,
    )
    stop = stop_on_signals()
    async with await start_devnet(config, report) as devnet:
        emit(f"ready {devnet.ws_url}".encode())
        ended = asyncio.create_task(devnet.wait())
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not stop.is_set():
            report(f"anvil ended with code {await ended}.")
            return 1
        ended.cancel()
    return 0


def stop_on_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
