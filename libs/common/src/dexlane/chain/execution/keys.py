"""From key files to a signer. Nothing here runs before a live book asks for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import orjson

from dexlane.chain.calldata import RouterDeployment, RouterKind
from dexlane.chain.execution.payloads import Signer
from dexlane.chain.permit2 import MAX_PERMIT_AMOUNT
from dexlane.domain.fees import fee_parameters
from dexlane.domain.gas_value import WRAPPED_NATIVE
from dexlane.events.control import Status
from dexlane.runtime.errors import Misconfigured
from dexlane.values.books import Book, Lane
from dexlane.values.chains import NATIVE
from dexlane_signer import (
    HALT_FILE,
    ROUTER02_SELECTORS,
    SWAP_ROUTER02_SELECTORS,
    Approver,
    Brake,
    ControlServer,
    EntryCap,
    GuardUnavailableError,
    InvalidKeyError,
    KeystoreError,
    Latch,
    Level,
    LocalSigner,
    NonceGuard,
    Policy,
    PrivateKey,
    RecordRequest,
    SignedAttempt,
    SignedBefore,
    SignRequest,
    SocketTakenError,
    SpendingCaps,
    TokenLimit,
    load_keystore,
    normal_address,
    read_password,
)

EXECUTE_SELECTOR = "0x3593564c"
MAX_GAS_LIMIT = 16_777_216
API_SOURCE = "api"
"""The gateway, in a record of halts."""
FOLLOW_EVERY_S = 0.1


@dataclass(frozen=True, kw_only=True)
class KeyFiles:
    """Where keys lie. ``plain`` is JSON of address to hex key, for the devnet's public test keys; ``keystores`` are
    Web3 Secret Storage files whose password is the content of ``password``."""

    plain: Path | None = None
    keystores: tuple[Path, ...] = ()
    password: Path | None = None

    @property
    def given(self) -> bool:
        """Whether any key is configured."""
        return self.plain is not None or bool(self.keystores)


def load_keys(files: KeyFiles) -> list[PrivateKey]:
    """Read every key. ``Fatal`` with one sentence, which never repeats key material."""
    keys = [] if files.plain is None else _plain_keys(files.plain)
    if files.keystores:
        if files.password is None:
            raise Misconfigured("keystores are configured, but no file with their password")
        try:
            password = read_password(files.password)
            keys += [load_keystore(path, password) for path in files.keystores]
        except (KeystoreError, OSError) as error:
            raise Misconfigured(f"a keystore cannot be used: {error}") from error
    return keys


def _plain_keys(path: Path) -> list[PrivateKey]:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise Misconfigured(f"{path.name} may be read by others; run chmod 600 on it")
        table = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        raise Misconfigured(f"{path.name} is no readable JSON file of addresses and keys") from None
    if not isinstance(table, dict):
        raise Misconfigured(f"{path.name} must be a JSON object of addresses and keys")
    return [_checked_key(path.name, address, secret) for address, secret in table.items()]


def _checked_key(name: str, address: object, secret: object) -> PrivateKey:
    try:
        key = PrivateKey.from_hex(str(secret))
        wanted = normal_address(str(address))
    except (InvalidKeyError, ValueError):
        raise Misconfigured(f"{name} holds an entry that is no address with its private key") from None
    if key.address != wanted:
        raise Misconfigured(f"the key that {name} gives for {wanted} belongs to {key.address}")
    return key


@dataclass(frozen=True, kw_only=True)
class SigningRules:
    """Bounds that the signer enforces whatever planning says. Wei per gas, and a multiple of a lane's capital."""

    max_fee_per_gas_wei: int = 500 * 10**9
    allowance_factor: int = 20
    max_cost_wei: int = 10**18
    """Most that the gas of one transaction may cost."""
    capitals_per_hour: int | None = None
    """Most that entries may pay within any hour, in capitals of the lane; and within 24 hours, below."""
    capitals_per_day: int | None = None
    gas_wei_per_hour: int | None = None
    gas_wei_per_day: int | None = None
    approvers: Mapping[int, bytes] = field(default_factory=dict)
    """Public keys of those who approve; with any of them every trade needs an approval."""


def policy_for(
    chain_id: int, lane: Lane, books: Iterable[Book], routers: Sequence[RouterDeployment], rules: SigningRules
) -> Policy:
    """What may be signed for these books on one chain: their accounts, our routers, their quote tokens within limits.

    Position tokens have no limit of their own in quote units, so only the form of a call restrains them: they can be
    sold to the own account through a router, or approved to Permit2, and nothing else. Native coin may come along, and
    be wrapped and unwrapped, only when a book's quote is the native coin.
    """
    live = [book for book in books if lane in book.accounts]
    tokens: dict[str, TokenLimit] = {}
    for book in live:
        limits, known = book.limits[lane], tokens.get(book.quote.address, TokenLimit(0, 0))
        tokens[book.quote.address] = TokenLimit(
            max_allowance=max(known.max_allowance, limits.capital * rules.allowance_factor),
            max_trade=max(known.max_trade, limits.max_trade),
            max_hour=_more(known.max_hour, limits.capital, rules.capitals_per_hour),
            max_day=_more(known.max_day, limits.capital, rules.capitals_per_day),
        )
    native = tokens.get(NATIVE)
    universal = frozenset(one.router for one in routers if one.kind is RouterKind.UNIVERSAL)
    return Policy(
        chain_ids=frozenset({chain_id}),
        own_addresses=frozenset(book.accounts[lane] for book in live),
        routers={one.router: _SELECTORS[one.kind] for one in routers},
        permit_spenders=universal,
        direct_spenders=frozenset(one.router for one in routers) - universal,
        tokens=tokens,
        max_fee_per_gas_wei=rules.max_fee_per_gas_wei,
        max_gas_limit=MAX_GAS_LIMIT,
        max_cost_wei=rules.max_cost_wei,
        approvers={Approver(number): key for number, key in rules.approvers.items()},
        book_accounts={book.id: frozenset({book.accounts[lane]}) for book in live},
        entry_caps={book.accounts[lane]: _entry_cap(book, lane) for book in live},
        caps=SpendingCaps(gas_wei_per_hour=rules.gas_wei_per_hour, gas_wei_per_day=rules.gas_wei_per_day),
        max_value_wei=0 if native is None else native.max_trade,
        wrapped_native=None if native is None else WRAPPED_NATIVE.get(chain_id),
        legacy_chain_ids=frozenset({chain_id} if fee_parameters(chain_id).is_legacy else ()),
        unlisted_token_limit=TokenLimit(max_allowance=MAX_PERMIT_AMOUNT, max_trade=MAX_PERMIT_AMOUNT),
    )


def _entry_cap(book: Book, lane: Lane) -> EntryCap:
    return EntryCap(level=book.level, lane=lane, token=book.quote.address, capital=book.limits[lane].capital)


def _more(known: int | None, capital: int, capitals: int | None) -> int | None:
    """The caps of all books that are paid with a token add up."""
    return None if capitals is None else (known or 0) + capital * capitals


_SELECTORS: Mapping[RouterKind, frozenset[str]] = MappingProxyType(
    {
        RouterKind.UNIVERSAL: frozenset({EXECUTE_SELECTOR}),
        RouterKind.SWAP_ROUTER02: SWAP_ROUTER02_SELECTORS,
        RouterKind.ROUTER02: ROUTER02_SELECTORS,
    }
)


class SignerHere:
    """Keys in this process, asked like a signer elsewhere. Awaiting it never yields: policy, signature and record are
    done before the event loop runs anything else."""

    def __init__(self, local: LocalSigner) -> None:
        self._local = local

    async def sign_transaction(self, request: SignRequest) -> SignedAttempt:
        """Sign and record; raises ``SigningDenied`` or ``GuardUnavailableError``."""
        return self._local.sign_transaction(request)

    async def signed_before(self, request: RecordRequest) -> SignedBefore | None:
        """What is on record; raises ``SigningDenied`` or ``GuardUnavailableError``."""
        return self._local.signed_before(request)


class SignerSource(Protocol):
    """Where one chain's signatures come from."""

    @property
    def loaded(self) -> bool:
        """Whether the accounts are known."""
        ...

    @property
    def addresses(self) -> frozenset[str]:
        """Accounts that can be signed for."""
        ...

    @property
    def silence(self) -> str:
        """Why nothing can be signed just now, in a sentence: the signer did not answer. Empty when it did."""
        ...

    async def load(self) -> None:
        """Make it ready, once. ``Fatal`` when it cannot be used, ``Transient`` while it does not answer."""
        ...

    def use(self, policy: Policy) -> None:
        """Sign by these rules from now on, as far as the rules are ours to set."""
        ...

    def signer(self) -> Signer:
        """Whom to ask."""
        ...

    async def highest_signed(self) -> Mapping[str, int]:
        """The highest nonce ever signed for each account."""
        ...

    async def close(self) -> None:
        """Let go of files and connections."""
        ...


@dataclass(frozen=True, kw_only=True)
class KeysHerePlace:
    """What a signer in this process needs: the key files, the record, and the socket over which it can be halted."""

    chain_id: int
    files: KeyFiles
    guard_path: Path
    control_path: Path | None = None


class KeysHere:
    """Keys in this process, whose policy follows the live books; for the devnet. Read when the first book comes.

    The operator's and the breakers' status holds as the executor knows it and is released where it was set; the
    file ``HALT`` beside the record and the control socket latch in the record. The gateway says a halt on both ways, so
    what it latched is released with its status.
    """

    def __init__(self, place: KeysHerePlace, *, clock_s: Callable[[], int], status: Callable[[], Status]) -> None:
        self._place = place
        self._clock_s = clock_s
        self._status = status
        self._keys: list[PrivateKey] = []
        self._guard: NonceGuard | None = None
        self._brake: Brake | None = None
        self._signer: SignerHere | None = None
        self._control: ControlServer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def loaded(self) -> bool:
        """Whether keys are in this process."""
        return bool(self._keys)

    @property
    def addresses(self) -> frozenset[str]:
        """Accounts whose keys are here."""
        return frozenset(key.address for key in self._keys)

    @property
    def silence(self) -> str:
        """Empty: what is in this process answers."""
        return ""

    async def load(self) -> None:
        """Read the keys and open the record of signatures, once. ``Fatal`` when either cannot be used."""
        if self._keys:
            return
        place = self._place
        keys = load_keys(place.files)
        if not keys:
            raise Misconfigured(
                "a live book is there, but no key: set signer_socket, or private_keys_file or keystore_files"
            )
        place.guard_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._guard = NonceGuard(place.guard_path)
            self._brake = Brake(self._guard, halt_file=place.guard_path.with_name(HALT_FILE), told=self._told)
            if place.control_path is not None:
                self._control = ControlServer(self._brake, uids=(os.getuid(),))
                await self._control.start(place.control_path)
        except (SocketTakenError, OSError) as error:
            raise Misconfigured(str(error)) from error
        self._tasks = [
            asyncio.create_task(self._brake.keep_looking()),
            asyncio.create_task(self._follow(self._guard)),
        ]
        self._keys = keys

    def _told(self) -> Latch:
        """The status as a level: both have the same three words."""
        return Latch(Level(self._status().value), "status", "the status of trading says so")

    async def _follow(self, guard: NonceGuard) -> None:
        """Release what the gateway latched once its status, which was heard meanwhile, is released. A halt whose status
        never came stays, and so does everybody else's."""
        was_heard = False
        while True:
            with contextlib.suppress(GuardUnavailableError):
                held, told = guard.latch(), self._told().level
                if held.source != API_SOURCE or held.level is Level.ACTIVE:
                    was_heard = False
                elif told.severity >= held.level.severity:
                    was_heard = True
                elif was_heard:
                    guard.resume("the status of trading was released", source="status")
            await asyncio.sleep(FOLLOW_EVERY_S)

    def use(self, policy: Policy) -> None:
        """Sign by these rules from now on."""
        if self._guard is None:
            raise Misconfigured("the signer was given rules before its keys were loaded")
        local = LocalSigner(self._keys, [policy], self._guard, clock_s=self._clock_s, brake=self._brake)
        self._signer = SignerHere(local)

    def signer(self) -> Signer:
        """The signer by the newest rules."""
        if self._signer is None:
            raise Misconfigured("the signer was used before its rules were known")
        return self._signer

    async def highest_signed(self) -> Mapping[str, int]:
        """The highest nonce ever signed for each account of ours."""
        if self._guard is None:
            return {}
        chain_id, guard = self._place.chain_id, self._guard
        found = {address: guard.highest_nonce(chain_id, address) for address in self.addresses}
        return {address: nonce for address, nonce in found.items() if nonce is not None}

    async def close(self) -> None:
        """Close the control socket and the record of signatures."""
        for task in self._tasks:
            task.cancel()
        if self._control is not None:
            await self._control.stop()
        if self._guard is not None:
            self._guard.close()
