"""Read ``books.toml``: the trading accounts a person sets up, with amounts as people write them.

Money is a decimal string or a whole number ("2500.50", "2500.50 USDC", 2500), never a TOML float, because a float
cannot hold every amount. Whatever is unknown or missing is refused, with the file, the table and the key named: a
misspelt limit that is silently ignored is a limit that does not exist.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from dexlane.domain.strategies.registry import STRATEGIES
from dexlane.runtime.books_controls import CONTROL_KEYS, MONEY_CONTROLS, given_controls
from dexlane.runtime.errors import Misconfigured
from dexlane.values.amounts import parse_decimal_text
from dexlane.values.base import Value, digest
from dexlane.values.books import Book, ExitRules, Lane, LaneLimits, Mode, RelayRules
from dexlane.values.chains import Address
from dexlane.values.controls import Controls
from dexlane.values.tokens import Token

FILE_KEYS = ("tokens", "books")
TOKEN_KEYS = ("chain_id", "address", "decimals")
BOOK_KEYS = (
    "chain_id",
    "mode",
    "level",
    "profile",
    "quote",
    "strategies",
    "slippage_tolerance_bps",
    "gas_reserve",
    "enabled",
    "jurisdiction",
    "accounts",
    "limits",
    "exits",
    "relays",
    "controls",
)
OPTIONAL_BOOK_KEYS = frozenset({"enabled", "jurisdiction", "accounts", "relays", "controls"})
MONEY_LIMITS = ("capital", "max_trade", "max_daily_loss")
COUNT_LIMITS = ("max_open_positions", "max_orders_per_minute")
LIMIT_KEYS = MONEY_LIMITS + COUNT_LIMITS
EXIT_KEYS = ("stop_loss_bps", "take_profit_bps", "max_age_s", "flagged_tokens")
OPTIONAL_EXIT_KEYS = frozenset({"max_age_s", "flagged_tokens"})
RELAY_KEYS = ("policy", "sandwich_limit", "exits_public_after_blocks")

NATIVE_SYMBOLS: Mapping[int, str] = {1: "ETH", 10: "ETH", 56: "BNB", 137: "POL", 8453: "ETH", 42161: "ETH"}
NATIVE_DECIMALS = 18

KNOWN_QUOTES: Mapping[tuple[int, str], Token] = {
    # Circle's own contracts (circle.com, "USDC contract addresses"). Others are declared in [tokens.*].
    (1, "USDC"): Token(address="0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", symbol="USDC", decimals=6),
    (8453, "USDC"): Token(address="0x833589fcd6edb6e08f4c7c32d4f71b54bda02913", symbol="USDC", decimals=6),
}
V = TypeVar("V", bound=Value)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_AMOUNT = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?:\s+(?P<symbol>\S+))?")


class BooksFileError(Misconfigured):
    """The books cannot be used as written. One sentence for each fault, each on its own line."""


@dataclass(frozen=True)
class BooksFile:
    """The books of one file. ``digest`` changes with what the books say, not with comments or layout."""

    books: tuple[Book, ...]
    digest: str


def paper_account(book_id: str, lane: Lane) -> str:
    """The address that stands for a paper account: derived from book and lane, and nobody has a key to it."""
    name = f"dexlane paper account {book_id} {lane.value}".encode()
    return "0x" + hashlib.blake2b(name, digest_size=20).hexdigest()


def default_books_text() -> str:
    """What a new ``books.toml`` says: one paper book and one live book for the devnet."""
    return (files("dexlane.runtime") / "books_default.toml").read_text(encoding="utf-8")


def load_books(path: Path, *, roles: Mapping[str, str]) -> BooksFile:
    """Read and check a file. ``roles`` maps names such as ``live-fast`` to the addresses of live accounts.

    Raises ``BooksFileError`` with everything that is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BooksFileError(f"there is no books file at {path}; copy books.example.toml there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BooksFileError(f"{path} cannot be read: {error}") from error
    books = parse_books(text, source=path.name, roles=roles)
    return BooksFile(books=books, digest=digest(*(book.model_dump(mode="json") for book in books)))


def parse_books(text: str, *, source: str = "books.toml", roles: Mapping[str, str]) -> tuple[Book, ...]:
    """The books of a TOML text in the order of their ids; ``BooksFileError`` with everything that is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BooksFileError(f"{source} is no valid TOML: {error}") from error
    reader = _Reader(source=source, roles=roles)
    books = reader.read(document)
    if reader.faults:
        raise BooksFileError("\n".join(reader.faults))
    return books


@dataclass
class _Reader:
    source: str
    roles: Mapping[str, str]
    faults: list[str] = field(default_factory=list)
    quotes: dict[tuple[int, str], Token] = field(default_factory=lambda: dict(KNOWN_QUOTES))

    def read(self, document: Mapping[str, Any]) -> tuple[Book, ...]:
        self._check_keys(document, "", FILE_KEYS, optional=frozenset({"tokens"}))
        for symbol, table in self._tables(document, "", "tokens").items():
            self._read_token(symbol, table)
        tables = self._tables(document, "", "books")
        if not tables and not self.faults:
            self.faults.append(f"{self.source}: there is no book; add a table [books.<id>]")
        books = [book for name in sorted(tables) if (book := self._read_book(name, tables[name])) is not None]
        for where, sentence in _shared_accounts(books):
            self.fault(where, sentence)
        return tuple(books)

    def fault(self, table: str, sentence: str) -> None:
        """Remember one fault with where it is."""
        where = f"{self.source} [{table}]" if table else self.source
        self.faults.append(f"{where}: {sentence}")

    def _check_keys(
        self, table: Mapping[str, Any], name: str, known: Iterable[str], optional: frozenset[str] = frozenset()
    ) -> bool:
        known = tuple(known)
        before = len(self.faults)
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
                self.fault(name, f"unknown key {key!r}; {hint}")
        for key in known:
            if key not in table and key not in optional:
                self.fault(name, f"the key {key!r} is missing")
        return len(self.faults) == before

    def _tables(self, parent: Mapping[str, Any], parent_name: str, key: str) -> dict[str, Mapping[str, Any]]:
        value = parent.get(key, {})
        name = f"{parent_name}.{key}" if parent_name else key
        if not isinstance(value, dict):
            self.fault(parent_name, f"{key!r} must be a table, written [{name}.<name>]")
            return {}
        tables: dict[str, Mapping[str, Any]] = {}
        for inner, table in value.items():
            if isinstance(table, dict):
                tables[inner] = table
            else:
                self.fault(name, f"{inner!r} must be a table, written [{name}.{inner}]")
        return tables

    def _read_token(self, symbol: str, table: Mapping[str, Any]) -> None:
        name = f"tokens.{symbol}"
        if not self._check_keys(table, name, TOKEN_KEYS):
            return
        token = self._validated(Token, name, {**table, "symbol": symbol}, drop=("chain_id",))
        chain_id = self._whole(name, "chain_id", table["chain_id"])
        if token is None or chain_id is None:
            return
        known = KNOWN_QUOTES.get((chain_id, symbol))
        if known is not None and known != token:
            self.fault(name, f"{symbol} on chain {chain_id} is {known.address}; another token needs another name")
            return
        self.quotes[chain_id, symbol] = token

    def _read_book(self, book_id: str, table: Mapping[str, Any]) -> Book | None:
        name = f"books.{book_id}"
        if not self._check_keys(table, name, BOOK_KEYS, OPTIONAL_BOOK_KEYS):
            return None
        before = len(self.faults)
        chain_id = self._whole(name, "chain_id", table["chain_id"])
        quote = None if chain_id is None else self._quote(name, chain_id, table["quote"])
        if chain_id is None or quote is None:
            return None
        self._check_scalars(name, table)
        limits = self._limits(name, table, quote)
        values = {
            **table,
            "id": book_id,
            "quote": quote,
            "strategies": self._strategies(name, table["strategies"]),
            "gas_reserve_wei": self._gas_reserve(name, chain_id, table["gas_reserve"]),
            "accounts": self._accounts(name, book_id, table, tuple(limits)),
            "limits": limits,
            "exits": self._exits(name, table),
            "relays": self._relays(name, chain_id, table),
            "controls": self._controls(name, table, quote),
        }
        return None if len(self.faults) > before else self._validated(Book, name, values, drop=("gas_reserve",))

    def _check_scalars(self, name: str, table: Mapping[str, Any]) -> None:
        for key in ("level", "slippage_tolerance_bps"):
            self._whole(name, key, table[key])
        if table["mode"] not in tuple(Mode):
            self.fault(name, f"mode is 'live' or 'paper', not {table['mode']!r}")
        if not isinstance(table.get("enabled", True), bool):
            self.fault(name, f"enabled is true or false, not {table['enabled']!r}")

    def _quote(self, name: str, chain_id: int, symbol: object) -> Token | None:
        token = self.quotes.get((chain_id, symbol)) if isinstance(symbol, str) else None
        if token is None:
            known = ", ".join(sorted(known for chain, known in self.quotes if chain == chain_id)) or "none"
            self.fault(
                name,
                f"the quote token {symbol!r} is not known on chain {chain_id} (known: {known}); "
                "declare it in a table [tokens.<SYMBOL>] with chain_id, address and decimals",
            )
        return token

    def _strategies(self, name: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            self.fault(name, "strategies must be a list of names that is not empty, such as ['price_gap']")
            return ()
        for strategy in value:
            if not isinstance(strategy, str) or strategy not in STRATEGIES:
                near = difflib.get_close_matches(str(strategy), STRATEGIES, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(STRATEGIES))}"
                self.fault(name, f"{strategy!r} is no known strategy; {hint}")
        if len({str(strategy) for strategy in value}) != len(value):
            self.fault(name, "strategies names one strategy twice")
        return tuple(value)

    def _gas_reserve(self, name: str, chain_id: int, value: object) -> int | None:
        symbol = NATIVE_SYMBOLS.get(chain_id)
        return self._money(name, "gas_reserve", value, (symbol, NATIVE_DECIMALS))

    def _limits(self, name: str, table: Mapping[str, Any], quote: Token) -> dict[Lane, LaneLimits | None]:
        limits: dict[Lane, LaneLimits | None] = {}
        for lane, values in self._lane_tables(name, table, "limits"):
            where = f"{name}.limits.{lane.value}"
            if not self._check_keys(values, where, LIMIT_KEYS):
                continue
            read: dict[str, int | None] = {
                key: self._money(where, key, values[key], (quote.symbol, quote.decimals)) for key in MONEY_LIMITS
            }
            read.update({key: self._whole(where, key, values[key]) for key in COUNT_LIMITS})
            if None not in read.values():
                limits[lane] = self._validated(LaneLimits, where, read)
        if table["limits"] == {}:
            self.fault(name, f"limits are missing; add a table [{name}.limits.fast] or [{name}.limits.smart]")
        return limits

    def _lane_tables(self, name: str, table: Mapping[str, Any], key: str) -> Iterable[tuple[Lane, Mapping[str, Any]]]:
        for lane, values in self._tables(table, name, key).items():
            if lane in set(Lane):
                yield Lane(lane), values
            else:
                self.fault(f"{name}.{key}", f"{lane!r} is no lane; the lanes are fast and smart")

    def _accounts(self, name: str, book_id: str, table: Mapping[str, Any], lanes: tuple[Lane, ...]) -> dict[Lane, str]:
        given = table.get("accounts")
        if given is None and table["mode"] != Mode.LIVE:
            return {lane: paper_account(book_id, lane) for lane in lanes}
        if not isinstance(given, dict):
            self.fault(name, f"a live book needs a table [{name}.accounts] with one account for each lane")
            return {}
        accounts = {}
        for lane, value in given.items():
            if lane not in set(Lane):
                self.fault(f"{name}.accounts", f"{lane!r} is no lane; the lanes are fast and smart")
            else:
                accounts[Lane(lane)] = self._account(f"{name}.accounts", value, live=table["mode"] == Mode.LIVE)
        return accounts

    def _account(self, where: str, value: object, *, live: bool) -> str:
        if isinstance(value, str) and _ADDRESS.fullmatch(value):
            return value.lower()
        if isinstance(value, str) and live and value in self.roles:
            return self.roles[value].lower()
        if not live:
            self.fault(where, f"{value!r} is no address; leave accounts out and a paper book gets its own")
        else:
            known = ", ".join(sorted(self.roles)) or "none is configured"
            self.fault(where, f"{value!r} is neither an address nor a known role (roles: {known})")
        return ""

    def _exits(self, name: str, table: Mapping[str, Any]) -> ExitRules | None:
        where, values = f"{name}.exits", table["exits"]
        if not isinstance(values, dict):
            self.fault(name, f"'exits' must be a table, written [{where}]")
            return None
        if not self._check_keys(values, where, EXIT_KEYS, OPTIONAL_EXIT_KEYS):
            return None
        read = {
            key: value if isinstance(value, bool) and key == "flagged_tokens" else self._whole(where, key, value)
            for key, value in values.items()
        }
        return None if None in read.values() else self._validated(ExitRules, where, read)

    def _optional_table(
        self, name: str, table: Mapping[str, Any], key: str, known: tuple[str, ...]
    ) -> Mapping[str, Any] | None:
        values = table.get(key, {})
        if isinstance(values, dict):
            return values if self._check_keys(values, f"{name}.{key}", known, frozenset(known)) else None
        self.fault(name, f"{key!r} must be a table, written [{name}.{key}]")
        return None

    def _relays(self, name: str, chain_id: int, table: Mapping[str, Any]) -> RelayRules | None:
        where, values = f"{name}.relays", self._optional_table(name, table, "relays", RELAY_KEYS)
        if values is None:
            return None
        read: dict[str, Any] = {"policy": values["policy"]} if "policy" in values else {}
        if "sandwich_limit" in values:
            unit = (NATIVE_SYMBOLS.get(chain_id), NATIVE_DECIMALS)
            read["sandwich_limit_wei"] = self._money(where, "sandwich_limit", values["sandwich_limit"], unit)
        after = values.get("exits_public_after_blocks")
        if after is not None:
            never = after == "never"
            read["exits_public_after_blocks"] = (
                None if never else self._whole(where, "exits_public_after_blocks", after)
            )
        return self._validated(RelayRules, where, read)

    def _controls(self, name: str, table: Mapping[str, Any], quote: Token) -> Controls | None:
        where, values = f"{name}.controls", self._optional_table(name, table, "controls", CONTROL_KEYS)
        if values is None or "controls" not in table or table["mode"] not in tuple(Mode):
            return None
        unit, given = (quote.symbol, quote.decimals), given_controls(values, Mode(table["mode"]))
        money = {key: self._money(where, key, values[key], unit) for key in MONEY_CONTROLS if key in values}
        return self._validated(Controls, where, {**given, **money})

    def _whole(self, table: str, key: str, value: object) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.fault(table, f"{key} must be a whole number, not {value!r}")
        return None

    def _money(self, table: str, key: str, value: object, unit: tuple[str | None, int]) -> int | None:
        symbol, decimals = unit
        try:
            return _parse_money(value, symbol, decimals)
        except ValueError as error:
            self.fault(table, f"{key}: {error}")
            return None

    def _validated(self, model: type[V], table: str, values: Mapping[str, Any], drop: tuple[str, ...] = ()) -> V | None:
        try:
            return model.model_validate({key: value for key, value in values.items() if key not in drop})
        except ValidationError as error:
            for problem in error.errors():
                key = ".".join(str(part) for part in problem["loc"])
                message = problem["msg"].removeprefix("Value error, ")
                self.fault(table, f"{key}: {message}" if key else message)
            return None


def _shared_accounts(books: Iterable[Book]) -> Iterator[tuple[str, str]]:
    """The tables that name an account of another book, and what is wrong with that."""
    owners: dict[tuple[int, Address], str] = {}
    for book in books:
        for lane, account in book.accounts.items():
            owner = owners.setdefault((book.chain_id, account), book.id)
            if owner != book.id:
                sentence = (
                    f"the account of lane {lane.value} belongs to book {owner!r} already; "
                    "two books may not share an account, because their money could not be told apart"
                )
                yield f"books.{book.id}.accounts", sentence


def _parse_money(value: object, symbol: str | None, decimals: int) -> int:
    if isinstance(value, float):
        raise ValueError(  # noqa: TRY004  what matters to the caller is that the file says it wrongly
            f'a float cannot hold every amount of money; write it in quotes, such as "{value}"'
        )
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f'an amount is a decimal number in quotes, such as "2500.50", not {value!r}')  # noqa: TRY004
    match = _AMOUNT.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f'{value!r} is no amount; write a plain decimal number such as "2500.50"')
    given = cast("str | None", match["symbol"])
    if given is not None and given != symbol:
        raise ValueError(f"the amount is in {given}, but this key is in {symbol or 'the native coin, without symbol'}")
    return parse_decimal_text(match["number"], decimals)
