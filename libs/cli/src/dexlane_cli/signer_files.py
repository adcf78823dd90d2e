"""What the stack's signers need: their sockets, and for a signer's process its policy, the devnet's keys as keystores,
and the bus's address. The policy is written from the live books of the start and follows no later change."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import orjson

from dexlane.chain.direct_calls import routers_of
from dexlane.chain.execution.keys import SigningRules, policy_for
from dexlane.runtime.books_file import load_books
from dexlane.runtime.sealing import read_approvers
from dexlane.values.books import Book, Lane, Mode
from dexlane_cli.default_books import roles
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.session import write_private
from dexlane_cli.stack import APPROVER_KEYS, CONTROL_SOCKET, EXECUTORS, SIGNER_POLICY, SIGNER_SOCKET, StackOptions
from dexlane_signer import EntryCap, Policy, PrivateKey, TokenLimit, write_keystore

MAX_SOCKET_BYTES = 107
"""The longest path that Linux lets a socket have: unix(7)."""
SCRYPT_N = 4_096
"""Everybody has the devnet's keys; a start of the stack need not take seconds for them."""
MAX_SILENCE_S = 10
"""Twice the usual: a devnet shares its processors with the node and all services."""
MAX_AHEAD_S = 86_400
"""The devnet's blocks may come faster than its clock, and each is a second younger than the one before."""
LANES = {"fast-executor": Lane.FAST, "smart-executor": Lane.SMART}


def with_signers(options: StackOptions) -> StackOptions:
    """The options with the control sockets of the signers that the live books need. ``CommandError`` when a process was
    asked for that would have nothing to sign, or could not listen."""
    books = live_books(options) if options.uses_devnet else []
    if not options.signer_process:
        sockets = tuple(
            options.sockets / f"{name}-{chain_id}.sock"
            for name in EXECUTORS
            for chain_id in sorted({book.chain_id for book in books if LANES[name] in book.accounts})
        )
        # Where the path is too long, a halt reaches these signers over the bus alone.
        return replace(options, signer_controls=sockets if all(map(_is_short, sockets)) else ())
    if not books:
        raise CommandError("--signer-process needs a live book on the devnet; there is nothing to sign", EXIT_USAGE)
    control = options.sockets / CONTROL_SOCKET
    if not _is_short(control):
        raise CommandError(f"{control} is too long for a socket; choose a shorter folder with --home", EXIT_USAGE)
    return replace(options, signer_controls=(control,))


def _is_short(path: Path) -> bool:
    return len(bytes(path)) <= MAX_SOCKET_BYTES


def live_books(options: StackOptions) -> list[Book]:
    """The live books of the start, on the chains that are played."""
    books = load_books(options.books_file, roles=roles()).books
    return [book for book in books if book.mode is Mode.LIVE and book.chain_id in options.chains]


def write_signer_files(options: StackOptions, books: Sequence[Book]) -> None:
    """Write policy, keystores, password and the bus's address, each for its owner alone. The signer has the keys of
    these books' accounts and of no others."""
    folder = options.signer
    folder.mkdir(mode=0o700, exist_ok=True)
    password = secrets.token_hex(16)
    write_private(folder / "password", password.encode())
    write_private(folder / "bus-url", f"nats://127.0.0.1:{options.ports.nats}".encode())
    rules = SigningRules(approvers=read_approvers(options.approvals / APPROVER_KEYS))
    policies = [policy_of_chain(chain_id, books, rules) for chain_id in sorted({book.chain_id for book in books})]
    accounts = sorted(frozenset().union(*(policy.own_addresses for policy in policies)))
    _write_keystores(folder, accounts, password)
    write_private(folder / SIGNER_POLICY, policy_text(options, accounts, policies).encode())


def _write_keystores(folder: Path, accounts: Iterable[str], password: str) -> None:
    # Imported when used: it takes most of a second, and no other command should wait for it.
    from dexlane_devnet import account

    held = {account(role).address.lower(): account(role).private_key for names in EXECUTORS.values() for role in names}
    for address in accounts:
        if address not in held:
            raise CommandError(f"a live book trades with {address}, which is no trading account of the devnet")
        key = PrivateKey.from_hex(held[address])
        write_keystore(folder / f"{address}.json", key, password, scrypt_n=SCRYPT_N)


def policy_of_chain(chain_id: int, books: Iterable[Book], rules: SigningRules) -> Policy:
    """What both executors together may have signed on a chain: what each could sign with keys of its own."""
    here = [book for book in books if book.chain_id == chain_id]
    first, *others = (policy_for(chain_id, lane, here, routers_of(chain_id), rules) for lane in LANES.values())
    tokens = dict(first.tokens)
    for policy in others:
        for token, limit in policy.tokens.items():
            tokens[token] = _together(tokens[token], limit) if token in tokens else limit
    return replace(
        first,
        own_addresses=first.own_addresses.union(*(policy.own_addresses for policy in others)),
        tokens=tokens,
        book_accounts={book.id: frozenset(book.accounts.values()) for book in here},
        entry_caps={account: cap for policy in (first, *others) for account, cap in policy.entry_caps.items()},
        max_value_wei=max(policy.max_value_wei for policy in (first, *others)),
        wrapped_native=next((policy.wrapped_native for policy in (first, *others) if policy.wrapped_native), None),
    )


def _together(one: TokenLimit, other: TokenLimit) -> TokenLimit:
    """The larger amount for a single trade; over time both lanes' amounts add up, as those of a lane's books do."""
    return replace(
        one,
        max_allowance=max(one.max_allowance, other.max_allowance),
        max_trade=max(one.max_trade, other.max_trade),
        max_hour=_sum(one.max_hour, other.max_hour),
        max_day=_sum(one.max_day, other.max_day),
    )


def _sum(one: int | None, other: int | None) -> int | None:
    """``None`` is no limit."""
    return None if one is None or other is None else one + other


def policy_text(options: StackOptions, accounts: Iterable[str], policies: Iterable[Policy]) -> str:
    """The file that ``dexlane-signer`` reads."""
    folder = options.signer
    process = {
        "socket": str(options.sockets / SIGNER_SOCKET),
        "control_socket": str(options.sockets / CONTROL_SOCKET),
        "data_dir": str(folder / "data"),
        "keystores": [str(folder / f"{address}.json") for address in accounts],
        "password_file": str(folder / "password"),
        "max_silence_s": MAX_SILENCE_S,
    }
    bus = {"url_file": str(folder / "bus-url"), "realm": "main"}
    lines = ["[process]", *_fields(process), "[bus]", *_fields(bus)]
    for policy in policies:
        lines += _chain(policy)
    return "\n".join(lines) + "\n"


def _chain(policy: Policy) -> Iterator[str]:
    yield "[[chains]]"
    yield from _fields(
        {
            "chain_id": min(policy.chain_ids),
            "accounts": sorted(policy.own_addresses),
            "permit_spenders": sorted(policy.permit_spenders),
            "max_fee_per_gas_wei": str(policy.max_fee_per_gas_wei),
            "max_gas_limit": policy.max_gas_limit,
            "max_deadline_s": MAX_AHEAD_S,
            "max_permit_s": MAX_AHEAD_S,
            "max_approval_s": MAX_AHEAD_S,
            "max_value_wei": str(policy.max_value_wei),
            "direct_spenders": sorted(policy.direct_spenders),
            **({} if policy.max_cost_wei is None else {"max_cost_wei": str(policy.max_cost_wei)}),
            **({"legacy": True} if policy.legacy_chain_ids else {}),
            **({} if policy.wrapped_native is None else {"wrapped_native": policy.wrapped_native}),
        }
    )
    keys = {approver.name.lower(): key.hex() for approver, key in policy.approvers.items()}
    yield from ("[chains.approvers]", *_fields(keys))
    yield from ("[chains.caps]", *_fields(_given(asdict(policy.caps))))
    for book, accounts in sorted(policy.book_accounts.items()):
        yield from _book(book, {account: policy.entry_caps[account] for account in sorted(accounts)})
    for router, selectors in sorted(policy.routers.items()):
        yield from ("[[chains.routers]]", *_fields({"address": router, "selectors": sorted(selectors)}))
    for token, limit in sorted(policy.tokens.items()):
        yield from ("[[chains.tokens]]", *_fields({"address": token}), *_limit(limit))
    if policy.unlisted_token_limit is not None:
        yield from ("[chains.unlisted_tokens]", *_limit(policy.unlisted_token_limit))


def _book(book: str, caps: Mapping[str, EntryCap]) -> Iterator[str]:
    for first in list(caps.values())[:1]:
        yield from ("[[chains.books]]", *_fields({"id": book, "level": first.level, "quote": first.token}))
    for account, cap in caps.items():
        yield from (f"[chains.books.{cap.lane}]", *_fields({"account": account, "capital": str(cap.capital)}))


def _limit(limit: TokenLimit) -> Iterator[str]:
    fields = asdict(limit)
    worth = fields.pop("worth") or {}
    return _fields(_given({**fields, **{f"worth_{name}": number for name, number in worth.items()}}))


def _given(amounts: Mapping[str, int | None]) -> dict[str, str]:
    """What is limited, as texts: TOML's integers end at 64 bits."""
    return {name: str(amount) for name, amount in amounts.items() if amount is not None}


def _fields(table: Mapping[str, object]) -> Iterator[str]:
    """TOML's texts, numbers and lists of texts are written as JSON's are."""
    return (f"{name} = {orjson.dumps(value).decode()}" for name, value in table.items())
