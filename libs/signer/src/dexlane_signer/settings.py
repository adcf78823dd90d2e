"""Everything the signer's process is told, from one file that askers cannot write: where it listens, its keys, and what
may be signed. A field that is missing or that nobody knows refuses the start."""

from __future__ import annotations

import os
import stat
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from dexlane_signer.approvals import Approver
from dexlane_signer.key_stores.settings import KeyStoreSettings, read_key_store
from dexlane_signer.levels import EntryCap
from dexlane_signer.policy import Policy, SpendingCaps, TokenLimit, Worth
from dexlane_signer.tables import PolicyFileError, Table

MAX_FILE_BYTES = 1 << 20
GUARD_FILE = "guard.db"
LANES = ("fast", "smart")


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSettings:
    """How the bus is reached, to hear halts. ``url_file`` holds the URL, so that no password stands in the policy."""

    url_file: Path
    realm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """What the process is told. Times in seconds."""

    socket: Path
    control_socket: Path
    data_dir: Path
    asker_uids: frozenset[int]
    """Users that may ask for signatures."""
    control_uids: frozenset[int]
    """Users that may halt and give signs of life."""
    key_store: KeyStoreSettings
    max_silence_s: int | None
    """Without a sign of life for so long no entry is signed; ``None`` asks for none."""
    clock_offset_s: int
    """What the chain's time is ahead of this machine's; 0 but on a devnet."""
    bus: BusSettings | None
    policies: tuple[Policy, ...]

    @property
    def guard_path(self) -> Path:
        """The record of signatures."""
        return self.data_dir / GUARD_FILE

    @property
    def accounts(self) -> frozenset[str]:
        """Every account that some policy lets sign."""
        return frozenset().union(*(policy.own_addresses for policy in self.policies))


def read_settings(path: Path) -> ProcessSettings:
    """Read and check the file. Raises ``PolicyFileError`` with one sentence."""
    whole = Table(_parse(path), "")
    process = whole.table("process")
    bus = whole.table("bus") if whole.has("bus") else None
    own = os.getuid()
    settings = ProcessSettings(
        socket=process.path("socket"),
        control_socket=process.path("control_socket"),
        data_dir=process.path("data_dir"),
        asker_uids=frozenset(process.integers("asker_uids") if process.has("asker_uids") else (own,)),
        control_uids=frozenset(process.integers("control_uids") if process.has("control_uids") else (own,)),
        key_store=read_key_store(whole, process),
        max_silence_s=_max_silence_s(process),
        clock_offset_s=process.integer("clock_offset_s") if process.has("clock_offset_s") else 0,
        bus=None if bus is None else BusSettings(url_file=bus.path("url_file"), realm=bus.text("realm")),
        policies=tuple(_policy(table) for table in whole.tables("chains")),
    )
    for table in (process, bus, whole):
        if table is not None:
            table.finish()
    _check(settings)
    return settings


def read_key_store_alone(path: Path) -> KeyStoreSettings:
    """The file's key store and nothing else, for making keys: the accounts of the policy are not known yet. Raises
    ``PolicyFileError``."""
    whole = Table(_parse(path), "")
    return read_key_store(whole, whole.table("process"), must_name_accounts=False)


def _parse(path: Path) -> dict[str, object]:
    """The file's tables. Mode and owner are asked of the open file, so that it cannot be exchanged in between."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_IMODE(found.st_mode) & 0o022:
                raise PolicyFileError(f"{path.name} may be written by group or others; run chmod go-w on it")
            if found.st_uid not in (0, os.getuid()):
                raise PolicyFileError(f"{path.name} belongs to user {found.st_uid}; run chown {os.getuid()} on it")
            content = file.read(MAX_FILE_BYTES)
        return tomllib.loads(content.decode())
    except OSError as error:
        raise PolicyFileError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyFileError(f"{path.name} is no TOML: {error}") from error


def _max_silence_s(process: Table) -> int | None:
    """On unless it was switched off in words."""
    if process.has("signs_of_life") and not process.flag("signs_of_life"):
        return None
    return process.integer("max_silence_s", least=1, most=60) if process.has("max_silence_s") else 5


def _policy(table: Table) -> Policy:
    routers = {one.address("address"): frozenset(one.texts("selectors")) for one in _finished(table.tables("routers"))}
    tokens = {one.address("address"): _limit(one) for one in table.tables("tokens")}
    books = _books(table)
    unlisted = table.table("unlisted_tokens") if table.has("unlisted_tokens") else None
    chain_id = table.integer("chain_id", least=1, most=2**63 - 1)
    cancel_cap = "max_cancel_fee_per_gas_wei"
    try:
        policy = Policy(
            chain_ids=frozenset({chain_id}),
            own_addresses=frozenset(table.addresses("accounts")),
            routers=routers,
            permit_spenders=frozenset(table.addresses("permit_spenders")),
            direct_spenders=frozenset(table.addresses("direct_spenders") if table.has("direct_spenders") else ()),
            tokens=tokens,
            max_fee_per_gas_wei=table.integer("max_fee_per_gas_wei", least=1),
            max_gas_limit=table.integer("max_gas_limit", least=21_000, most=2**63),
            max_value_wei=table.integer("max_value_wei") if table.has("max_value_wei") else 0,
            max_cancel_fee_per_gas_wei=table.integer(cancel_cap, least=1) if table.has(cancel_cap) else None,
            max_deadline_s=table.integer("max_deadline_s", least=1, most=86_400),
            max_permit_s=table.integer("max_permit_s", least=1, most=86_400),
            unlisted_token_limit=None if unlisted is None else _limit(unlisted, with_address=False),
            wrapped_native=table.address("wrapped_native") if table.has("wrapped_native") else None,
            max_tip_per_gas_wei=_optional(table, "max_tip_per_gas_wei"),
            max_cost_wei=_optional(table, "max_cost_wei"),
            approvers=_approvers(table),
            max_approval_s=table.integer("max_approval_s", least=1, most=86_400)
            if table.has("max_approval_s")
            else 3_600,
            book_accounts={book: frozenset(caps) for book, caps in books.items()},
            entry_caps={account: cap for caps in books.values() for account, cap in caps.items()},
            caps=_caps(table),
            legacy_chain_ids=frozenset({chain_id} if table.has("legacy") and table.flag("legacy") else ()),
        )
    except ValueError as error:
        raise PolicyFileError(f"{table.name}: {error}") from error
    table.finish()
    return policy


def _finished(tables: list[Table]) -> list[Table]:
    for table in tables:
        table.has("address"), table.has("selectors")
        table.finish()
    return tables


def _books(table: Table) -> dict[str, dict[str, EntryCap]]:
    """By book, its accounts and what they may put into one entry. Every account of the chain is one of a book's."""
    books: dict[str, dict[str, EntryCap]] = {}
    for book in table.tables("books"):
        level, quote, accounts = book.integer("level"), book.address("quote"), {}
        for lane in (lane for lane in LANES if book.has(lane)):
            here = book.table(lane)
            accounts[here.address("account")] = _entry_cap(here, level, lane, quote)
            here.finish()
        books[book.text("id")] = accounts
        book.finish()
    without = set(table.addresses("accounts")) - {account for accounts in books.values() for account in accounts}
    if without:
        raise PolicyFileError(
            f"{table.where('accounts')} names {min(without)}, which no book has; write its book down with level and "
            f"capital under {table.where('books')}"
        )
    return books


def _entry_cap(table: Table, level: int, lane: str, token: str) -> EntryCap:
    try:
        return EntryCap(level=level, lane=lane, token=token, capital=table.integer("capital"))
    except ValueError as error:
        raise PolicyFileError(f"{table.name}: {error}") from error


def _approvers(table: Table) -> dict[Approver, bytes]:
    """The public keys of those who approve: ``risk_scorer``, ``portfolio``, ``gateway``; none when the table is left
    out, which only ``require_approvals = false`` allows."""
    if table.has("require_approvals") and not table.flag("require_approvals"):
        return {}
    keys = table.table("approvers")
    found = {approver: _public_key(keys, approver.name.lower()) for approver in Approver}
    keys.finish()
    return found


def _public_key(table: Table, field: str) -> bytes:
    try:
        key = bytes.fromhex(table.text(field))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise PolicyFileError(f"{table.where(field)} must be an Ed25519 public key of 64 hex digits")
    return key


def _caps(table: Table) -> SpendingCaps:
    """What is left out is not limited."""
    if not table.has("caps"):
        return SpendingCaps()
    caps = table.table("caps")
    found = SpendingCaps(**{field.name: _optional(caps, field.name) for field in fields(SpendingCaps)})
    caps.finish()
    return found


def _optional(table: Table, field: str) -> int | None:
    return table.integer(field) if table.has(field) else None


def _worth(table: Table) -> Worth | None:
    if not table.has("worth_numerator"):
        return None
    return Worth(table.integer("worth_numerator", least=1), table.integer("worth_denominator", least=1))


def _limit(table: Table, *, with_address: bool = True) -> TokenLimit:
    if with_address:
        table.has("address")
    limit = TokenLimit(
        max_allowance=table.integer("max_allowance"),
        max_trade=table.integer("max_trade"),
        max_hour=_optional(table, "max_hour"),
        max_day=_optional(table, "max_day"),
        worth=_worth(table),
    )
    table.finish()
    return limit


def _check(settings: ProcessSettings) -> None:
    chains = [chain for policy in settings.policies for chain in policy.chain_ids]
    twice = next((chain for chain in chains if chains.count(chain) > 1), None)
    if twice is not None:
        raise PolicyFileError(f"chain {twice} is there twice")
    for policy in settings.policies:
        if not policy.own_addresses:
            raise PolicyFileError(f"chain {min(policy.chain_ids)} names no account")
    if settings.socket == settings.control_socket:
        raise PolicyFileError("process.socket and process.control_socket are the same")
