"""The ``dexlane-signer`` command."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dexlane_signer.brake import HALT_FILE
from dexlane_signer.guard import NonceGuard
from dexlane_signer.guard_file import GuardUnavailableError
from dexlane_signer.hygiene import ExposedMemoryError, close_memory
from dexlane_signer.key_commands import check_keys, init_keys
from dexlane_signer.key_stores.errors import KeyStoreRefusedError
from dexlane_signer.keystore import KeystoreError
from dexlane_signer.process import build, serve
from dexlane_signer.settings import ProcessSettings, read_key_store_alone, read_settings
from dexlane_signer.sockets import SocketTakenError
from dexlane_signer.tables import PolicyFileError

EXIT_FAILED = 1
EXIT_MISCONFIGURED = 2
CONTROL_TIME_LIMIT_S = 2.0
_MISCONFIGURED = (
    PolicyFileError,
    KeystoreError,
    KeyStoreRefusedError,
    ExposedMemoryError,
    SocketTakenError,
    PermissionError,
)
_FAILED = (GuardUnavailableError, OSError, ValueError)


class CommandRefused(Exception):  # noqa: N818 - a decision, not a fault
    """The command does nothing; the message says why and what to do."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog="dexlane-signer",
        description="Holds keys, signs by policy, and says no to everything else. Executors ask it over a socket.",
    )
    commands = whole.add_subparsers(dest="command", required=True)
    for name, purpose in (
        ("run", "listen and sign until SIGTERM"),
        ("check-policy", "read the file, say what it allows, and start nothing"),
        ("check-keys", "open the key store and have each key sign what is good on no chain"),
        ("init", "make the keys that a keystore or Vault does not have yet, and say all accounts for the policy"),
        ("status", "ask the running signer what holds"),
        ("halt", "stop the running signer: cancels only, until a person resumes"),
        ("resume", "release a halt; only for a person who may write the signer's data folder"),
    ):
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument("policy", type=Path, help="the TOML file with sockets, keys, chains and limits")
        if name in ("halt", "resume"):
            command.add_argument("--reason", required=True, help="it is recorded")
        if name == "halt":
            command.add_argument("--reducing", action="store_true", help="go on signing exits")
    return whole


def _run(settings: ProcessSettings, _: argparse.Namespace) -> str:
    asyncio.run(serve(build(settings)))
    return ""


def _check(settings: ProcessSettings, _: argparse.Namespace) -> str:
    lines = []
    for policy in settings.policies:
        rest = "no other token" if policy.unlisted_token_limit is None else "other tokens within their own limit"
        lines.append(
            f"chain {min(policy.chain_ids)}: {len(policy.own_addresses)} accounts, {len(policy.routers)} routers, "
            f"{len(policy.tokens)} listed tokens, {rest}, at most {policy.max_fee_per_gas_wei} wei per gas"
        )
    silence_s = settings.max_silence_s
    life = "asks for no signs of life" if silence_s is None else f"signs no entry after {silence_s} s of silence"
    bus = "is not heard: without [bus] one of three ways to halt is missing" if settings.bus is None else "is heard"
    return "\n".join([*lines, f"the control plane: {life}", f"the bus {bus}"])


def _check_keys(settings: ProcessSettings, _: argparse.Namespace) -> str:
    close_memory()
    return check_keys(settings)


def _status(settings: ProcessSettings, _: argparse.Namespace) -> str:
    return json.dumps(_control(settings, {"do": "status"}), indent=2)


def _halt(settings: ProcessSettings, arguments: argparse.Namespace) -> str:
    level = "reducing" if arguments.reducing else "halted"
    said = {"do": "halt", "level": level, "source": "operator", "reason": arguments.reason}
    answer = _control(settings, said)
    if "refused" in answer:
        raise CommandRefused(str(answer["refused"]))
    return f"the signer is {answer['level']}"


def _resume(settings: ProcessSettings, arguments: argparse.Namespace) -> str:
    """Goes to the record itself and not to the process: whoever can write it is its owner, and no socket resumes."""
    if (settings.data_dir / HALT_FILE).exists():
        raise CommandRefused(f"the file {settings.data_dir / HALT_FILE} still halts; remove it first")
    if not settings.guard_path.exists():
        raise CommandRefused(f"there is no record in {settings.data_dir}")
    guard = NonceGuard(settings.guard_path)
    try:
        held = guard.latch()
        guard.resume(arguments.reason)
    finally:
        guard.close()
    return f"released: {held.sentence}" if held.reason else "nothing was halted; the reason is recorded"


def _control(settings: ProcessSettings, said: dict[str, Any]) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(CONTROL_TIME_LIMIT_S)
        try:
            link.connect(str(settings.control_socket))
            link.sendall(json.dumps(said).encode() + b"\n")
            with link.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline() or b"{}")
        except OSError as error:
            place = settings.control_socket
            raise CommandRefused(f"no signer answers at {place}: {error}; create {HALT_FILE} to halt") from error
    return answer


COMMANDS: dict[str, Callable[[ProcessSettings, argparse.Namespace], str]] = {
    "run": _run,
    "check-policy": _check,
    "check-keys": _check_keys,
    "status": _status,
    "halt": _halt,
    "resume": _resume,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; a known fault is one sentence on standard error. Exit code 2: starting again would end the same
    way."""
    parsed = parser().parse_args(arguments)
    try:
        text = _done(parsed)
    except _MISCONFIGURED as error:
        sys.stderr.write(f"dexlane-signer: {error}\n")
        return EXIT_MISCONFIGURED
    except (CommandRefused, *_FAILED) as error:
        sys.stderr.write(f"dexlane-signer: {error}\n")
        return EXIT_FAILED
    sys.stdout.write(text + "\n" if text else "")
    return 0


def _done(parsed: argparse.Namespace) -> str:
    if parsed.command == "init":
        close_memory()
        return init_keys(read_key_store_alone(parsed.policy))
    return COMMANDS[parsed.command](read_settings(parsed.policy), parsed)


def start() -> None:
    """The console script."""
    sys.exit(main())
