"""Command line: ``python -m dexlane_devnet build|up|flow|info``."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import orjson

from dexlane_devnet.accounts import ROLES, account
from dexlane_devnet.addresses import chain_of
from dexlane_devnet.build import build_state, default_cache
from dexlane_devnet.devnet import DevnetConfig, start_devnet
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.flow import FlowPlayer, FlowSettings
from dexlane_devnet.synthetic_flow import SyntheticPlayer
from dexlane_devnet.tracking import FlowStats

Player = FlowPlayer | SyntheticPlayer


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
    flow = commands.add_parser("flow", help="play the recorded (on Base: a synthetic) flow onto a running chain")
    info = commands.add_parser("info", help="print addresses, pools and public test accounts as JSON")
    for command in (build, up, flow, info):
        command.add_argument("--chain-id", type=int, default=1, help="8453 is Base, any other Ethereum's contracts")
    for command in (build, up):
        command.add_argument("--cache", type=Path, default=None, help="folder for fetched parts and built states")
    up.add_argument("--port", type=int, default=8545)
    up.add_argument("--block-time", type=float, default=1.0, help="seconds between blocks")
    up.add_argument("--prune-history", type=int, default=128, help="past states kept in memory")
    up.add_argument("--no-flow", action="store_true", help="run the chain alone")
    flow.add_argument("--url", default="ws://127.0.0.1:8545", help="WebSocket address of the chain")
    for command in (up, flow):
        command.add_argument("--speed", type=speed, default=100.0, help="times the recorded pace, 1 to 1000")
        command.add_argument(
            "--seed", type=int, default=1, help="seed of the synthetic traders and the base fee's walk"
        )
        command.add_argument("--report-every", type=float, default=10.0, help="seconds between two JSON lines")
    build.set_defaults(run=_build)
    up.set_defaults(run=_up)
    flow.set_defaults(run=_flow)
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


async def _info(options: argparse.Namespace) -> int:
    chain = chain_of(options.chain_id)
    known = {
        "addresses": asdict(chain.addresses),
        "pools": {name: asdict(pool) for name, pool in chain.pools.items()},
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
        start_base_fee_wei=chain_of(options.chain_id).base_fee_wei,
    )
    stop = stop_on_signals()
    async with await start_devnet(config, report) as devnet:
        emit(f"ready {devnet.ws_url}".encode())
        ended = asyncio.create_task(devnet.wait())
        ended.add_done_callback(lambda _: stop.set())
        if not options.no_flow:
            await _play(_player(devnet.ws_url, options), stop, ended)
        await stop.wait()
        if ended.done():
            report(f"anvil ended with code {ended.result()}.")
            return 1
        ended.cancel()
    return 0


async def _play(player: Player, stop: asyncio.Event, ended: asyncio.Task[int]) -> None:
    """Play until stopped; a lost connection is the chain's end if the chain ended, and an error of its own if not."""
    try:
        final = await player.run(stop, lambda stats: emit(stats_line("flow", stats)))
    except DevnetError:
        await asyncio.wait({ended}, timeout=1)
        if not ended.done():
            raise
    else:
        emit(stats_line("flow-summary", final))


async def _flow(options: argparse.Namespace) -> int:
    player = _player(options.url, options)
    try:
        final = await player.run(stop_on_signals(), lambda stats: emit(stats_line("flow", stats)))
    except OSError as error:
        raise DevnetError(f"no chain answers at {options.url}.") from error
    emit(stats_line("flow-summary", final))
    return 0


def _player(url: str, options: argparse.Namespace) -> Player:
    chain = chain_of(options.chain_id)
    if not chain.is_recorded:
        every_s = options.report_every
        return SyntheticPlayer(url, chain, speed=options.speed, seed=options.seed, report_every_s=every_s)
    settings = FlowSettings(report_every_s=options.report_every)
    return FlowPlayer(url, speed=options.speed, seed=options.seed, settings=settings)


def stats_line(event: str, stats: FlowStats) -> bytes:
    """One JSON line of the log."""
    return orjson.dumps({"event": event, **asdict(stats)})


def speed(text: str) -> float:
    """A speed between 1 and 1000."""
    value = float(text)
    if not 1 <= value <= 1000:
        raise argparse.ArgumentTypeError("the speed lies between 1 and 1000")
    return value


def stop_on_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
