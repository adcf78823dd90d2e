"""A double-entry ledger of books: every movement has its counter-movement, and outcomes are told apart by version.

An *entry* has one cause: the opening of an account, or one version of the outcome of one intent. Its *postings* add up
to zero for every token, so the sum of a token over all ledger accounts is zero at any time. Amounts are integers in the
smallest unit of their token; the native coin is kept under the ``NATIVE`` address.

Entries are dated by the block that moved the money. A reversal carries the date of what it takes back, so that the
balance *as of a block* is the sum of all postings dated at or before it, also after a reorganisation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from dexlane.events.execution import AccountOpened, FillConfirmed, FillIncluded, FillReversed, IntentFailed
from dexlane.values.base import digest
from dexlane.values.chains import NATIVE, BlockRef

Fill = FillIncluded | FillConfirmed
Outcome = FillIncluded | FillConfirmed | FillReversed | IntentFailed


class UnbalancedEntry(ValueError):  # noqa: N818  (named for what happened)
    """The postings of an entry do not add up to zero."""


class ConflictingOutcome(ValueError):  # noqa: N818  (named for what happened)
    """Two events of the same kind and version say different things about one intent."""


class AccountKind(StrEnum):
    """What a ledger account stands for."""

    ASSETS = "assets"
    """Coins and tokens at an address of the book."""
    OPENING = "opening"
    """What an account held before the ledger began."""
    MARKET = "market"
    """The other side of every trade."""
    GAS = "gas"
    """Native coin paid for gas."""


_PREFIX = {
    AccountKind.ASSETS: ("assets", ""),
    AccountKind.OPENING: ("equity", "opening"),
    AccountKind.MARKET: ("market", ""),
    AccountKind.GAS: ("expense", "gas"),
}
_WITH_ADDRESS = {AccountKind.ASSETS, AccountKind.GAS}


@dataclass(frozen=True, slots=True, order=True)
class LedgerAccount:
    """An account of the ledger. Assets and gas are kept per address, because each lane of a book has its own."""

    kind: AccountKind
    book_id: str
    address: str = ""

    def __post_init__(self) -> None:
        """Refuse an account that lacks its address or has one too many."""
        if (self.kind in _WITH_ADDRESS) != bool(self.address):
            raise ValueError(f"a ledger account of kind {self.kind} and address {self.address!r} cannot exist")

    @property
    def path(self) -> str:
        """``assets:<book>:<address>``, ``equity:<book>:opening``, ``market:<book>``, ``expense:<book>:gas:<addr>``."""
        root, leaf = _PREFIX[self.kind]
        return ":".join(part for part in (root, self.book_id, leaf, self.address) if part)

    @classmethod
    def parse(cls, path: str) -> LedgerAccount:
        """The account with that path; ``ValueError`` when it is none."""
        parts = path.split(":")
        address = parts[-1] if parts[-1].startswith("0x") else ""
        for kind, (root, _leaf) in _PREFIX.items():
            if parts[0] == root and len(parts) > 1 and (kind in _WITH_ADDRESS) == bool(address):
                account = cls(kind, parts[1], address)
                if account.path == path:
                    return account
        raise ValueError(f"{path!r} is no ledger account")


@dataclass(frozen=True, slots=True, order=True)
class Posting:
    """One side of a movement: what an account gained (positive) or lost (negative)."""

    account: LedgerAccount
    token: str
    amount: int


@dataclass(frozen=True, slots=True)
class Entry:
    """Postings that belong together and balance.

    ``cause_id`` is the intent (or the opening); ``version`` its outcome version (0 for an opening); ``reverses`` the id
    of the entry that this one takes back.
    """

    id: str
    chain_id: int
    book_id: str
    address: str
    cause_id: str
    version: int
    block: BlockRef | None
    occurred_at_ms: int
    postings: tuple[Posting, ...]
    reverses: str | None = None

    def __post_init__(self) -> None:
        """Refuse postings that do not balance."""
        open_sums = trial_balance(self.postings)
        if open_sums:
            raise UnbalancedEntry(f"entry {self.id} does not balance: {open_sums}")

    def has_effect_of(self, other: Entry) -> bool:
        """Whether both move the same amounts at the same date."""
        same_date = (self.block and self.block.number) == (other.block and other.block.number)
        return same_date and self.postings == other.postings


def trial_balance(postings: Iterable[Posting]) -> dict[str, int]:
    """The tokens whose postings do not add up to zero, with their sums. Empty for sound books."""
    sums: dict[str, int] = defaultdict(int)
    for posting in postings:
        sums[posting.token] += posting.amount
    return {token: amount for token, amount in sums.items() if amount != 0}


def balances(entries: Iterable[Entry]) -> dict[tuple[LedgerAccount, str], int]:
    """What every account holds of every token after these entries; zero balances are left out."""
    sums: dict[tuple[LedgerAccount, str], int] = defaultdict(int)
    for entry in entries:
        for posting in entry.postings:
            sums[posting.account, posting.token] += posting.amount
    return {key: amount for key, amount in sums.items() if amount != 0}


def _transfer(source: LedgerAccount, target: LedgerAccount, amounts: Mapping[str, int]) -> list[Posting]:
    postings = []
    for token, amount in amounts.items():
        if amount != 0:
            postings += [Posting(target, token, amount), Posting(source, token, -amount)]
    return postings


def _merged(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    sums: dict[tuple[LedgerAccount, str], int] = defaultdict(int)
    for posting in postings:
        sums[posting.account, posting.token] += posting.amount
    return tuple(sorted(Posting(account, token, amount) for (account, token), amount in sums.items() if amount))


def opening_entry(event: AccountOpened) -> Entry:
    """The balances an account begins with, against the opening equity of its book."""
    amounts: dict[str, int] = defaultdict(int)
    for delta in event.balances:
        amounts[delta.token] += delta.amount
    assets = LedgerAccount(AccountKind.ASSETS, event.book_id, event.account)
    opening = LedgerAccount(AccountKind.OPENING, event.book_id)
    cause_id = AccountOpened.make_id(event.book_id, event.account)
    return Entry(
        id=digest("entry", cause_id, 0, event.NAME),
        chain_id=event.chain_id,
        book_id=event.book_id,
        address=event.account,
        cause_id=cause_id,
        version=0,
        block=event.block,
        occurred_at_ms=event.occurred_at_ms,
        postings=_merged(_transfer(opening, assets, amounts)),
    )


def fill_entry(event: Fill) -> Entry:
    """What a fill moved, against the market, and the gas it paid, as an expense in native coin."""
    amounts: dict[str, int] = defaultdict(int)
    for delta in event.deltas:
        amounts[delta.token] += delta.amount
    assets = LedgerAccount(AccountKind.ASSETS, event.book_id, event.account)
    market = LedgerAccount(AccountKind.MARKET, event.book_id)
    return _outcome_entry(event, [*_transfer(market, assets, amounts), *_gas(event)])


def failure_entry(event: IntentFailed) -> Entry:
    """A failure moves nothing but the gas that a revert or a cancel paid."""
    return _outcome_entry(event, _gas(event))


def reversal(entry: Entry) -> Entry:
    """The entry that takes another one back, under the same date."""
    return Entry(
        id=digest("reversal", entry.id),
        chain_id=entry.chain_id,
        book_id=entry.book_id,
        address=entry.address,
        cause_id=entry.cause_id,
        version=entry.version,
        block=entry.block,
        occurred_at_ms=entry.occurred_at_ms,
        postings=tuple(Posting(posting.account, posting.token, -posting.amount) for posting in entry.postings),
        reverses=entry.id,
    )


def _gas(event: Outcome) -> list[Posting]:
    assets = LedgerAccount(AccountKind.ASSETS, event.book_id, event.account)
    gas = LedgerAccount(AccountKind.GAS, event.book_id, event.account)
    return _transfer(assets, gas, {NATIVE: event.fee_paid_wei})


def _outcome_entry(event: Outcome, postings: Iterable[Posting]) -> Entry:
    return Entry(
        id=digest("entry", event.intent_id, event.outcome_version, event.NAME),
        chain_id=event.chain_id,
        book_id=event.book_id,
        address=event.account,
        cause_id=event.intent_id,
        version=event.outcome_version,
        block=event.block,
        occurred_at_ms=event.occurred_at_ms,
        postings=_merged(postings),
    )


def entry_of(event: Outcome) -> Entry | None:
    """What an outcome books when it stands; None when it moves nothing (a reversal, a failure without gas)."""
    if isinstance(event, FillReversed):
        return None
    entry = failure_entry(event) if isinstance(event, IntentFailed) else fill_entry(event)
    return entry if entry.postings else None


def is_final(event: Outcome) -> bool:
    """Whether no reorganisation is expected to change this outcome any more."""
    return isinstance(event, FillConfirmed) or (isinstance(event, IntentFailed) and event.final)


def outcome_rank(event: Outcome) -> tuple[int, int, bool]:
    """The order in which outcomes of one intent hold: by version, then by how definite the kind of event is.

    Only a confirmation shares its version with another event by right. The remaining order among kinds makes the result
    independent of arrival even when a publisher errs.
    """
    kinds = (FillReversed, FillIncluded, IntentFailed, FillConfirmed)
    return event.outcome_version, kinds.index(type(event)), is_final(event)


@dataclass(frozen=True, slots=True)
class OutcomeState:
    """The outcome that holds for an intent, and the entry that stands for it (None when nothing is booked)."""

    event: Outcome
    entry: Entry | None

    @property
    def final(self) -> bool:
        """Whether the outcome is final."""
        return is_final(self.event)


@dataclass(frozen=True, slots=True)
class OutcomeStep:
    """What an outcome event led to: the state that holds now, and the entries to post for it, in order."""

    state: OutcomeState
    entries: tuple[Entry, ...]


def apply_outcome(current: OutcomeState | None, event: Outcome) -> OutcomeStep:
    """Let the highest version hold: take back what stands and post the new; nothing when ``event`` is not newer.

    A confirmation (or a newer version) with the same movements at the same date posts nothing and only takes over as
    the outcome that holds. The end result depends on the set of events, not on their order or repetition. Raises
    ``ConflictingOutcome`` when an event contradicts an equal one.
    """
    if current is not None and outcome_rank(event) <= outcome_rank(current.event):
        _check_agreement(current.event, event)
        return OutcomeStep(current, ())
    standing = None if current is None else current.entry
    wanted = entry_of(event)
    if standing is not None and wanted is not None and standing.has_effect_of(wanted):
        return OutcomeStep(OutcomeState(event, standing), ())
    taken_back = () if standing is None else (reversal(standing),)
    posted = () if wanted is None else (wanted,)
    return OutcomeStep(OutcomeState(event, wanted), (*taken_back, *posted))


def _check_agreement(held: Outcome, event: Outcome) -> None:
    if outcome_rank(held) != outcome_rank(event):
        return
    before, after = entry_of(held), entry_of(event)
    agree = before.has_effect_of(after) if before is not None and after is not None else before is after
    if not agree:
        raise ConflictingOutcome(
            f"intent {event.intent_id} has two different {event.NAME} of version {event.outcome_version}; "
            "the first one stays booked"
        )
