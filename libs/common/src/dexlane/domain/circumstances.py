"""What a plan is made from, and what comes out of planning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dexlane.domain.controls.facts import ChainUse, OpenTrade
from dexlane.domain.fee_bumps import LEAST_BUMP_PERCENT
from dexlane.domain.gas_value import WRAPPED_NATIVE, traded_as
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.pool_table import PoolTable
from dexlane.domain.risk.compliance import ComplianceRules
from dexlane.domain.tried import Tried
from dexlane.events.control import Status
from dexlane.events.execution import Plan, Purpose, Submission
from dexlane.events.fees import DataFeeTerms, FeeQuoted
from dexlane.events.portfolio import ExposureChanged, ExposurePart
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.chains import BlockRef
from dexlane.values.sizes import TradeSize


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningRules:
    """The constants of planning. ``max_legs`` above 1 searches routes; 1 keeps the route that was judged."""

    max_legs: int = 1
    max_paths: int = 1
    """Above 1 an amount is split over so many paths at most, when that brings more after gas."""
    max_state_age_ms: int = 15_000
    """A tip that came longer ago is no ground to trade on."""
    max_fee_age_blocks: int = 2
    """A fee quote may be this many blocks behind the tip; the base fee itself is always that of the tip."""
    max_wait_blocks: int = 25
    """An entry waits at most so many blocks for its inclusion, even when its chance lasts longer."""
    exit_wait_blocks: int = 6
    empty_account_wait_blocks: int = 16
    """An exit waits so long for tokens that its account does not hold: the fill may not be read yet. After that they
    are gone, and an old exit must not close what is bought later."""
    exit_retry_blocks: int = 64
    """An exit that the price of gas or a missing route forbids comes again for so long; then it ends as refused. Longer
    than that its message would take the place of others, and portfolio asks anew while its rule holds."""
    min_gap_profit_bps: int = 1
    """What a gap must earn after gas, of the amount put in."""
    max_price_impact_bps: int = 100
    """Our own effect on the price that an entry may have; a smaller size is tried first."""
    permit_gas: int = 60_000
    """Gas for applying a signed Permit2 permit: an ecrecover, a cold slot written, two calls."""
    gas_margin_bps: int = 3_000
    """The gas limit lies this far above the estimate; unused gas costs nothing."""
    entry_fee_budget_bps: int = 15_000
    """Replacements of an entry may raise its fee cap to this share of the first one (a gap's is never raised)."""
    exit_budget_bps: int = 500
    """What an exit may pay for its inclusion in all, of what it brings. Not known where the native coin has no price in
    the quote token."""
    urgent_exit_budget_bps: int = 2_000
    """The same for a stop-loss or a halt: what is not sold may be lost."""
    exit_fee_budget_bps: int = 40_000
    """Nor may an exit's fee cap be raised above this share of the first one: nobody outbids the whole market."""
    most_fee_per_gas_wei: int = 500 * 10**9
    """What signers sign at most; no fee and no budget is above it."""
    bump_percent: int = LEAST_BUMP_PERCENT
    """The rise of a replacement, for which an exit's first fee leaves room."""
    compliance: ComplianceRules | None = None
    """Who may trade, where only verified accounts may; None: everybody."""
    waits_for_cheaper_blocks: bool = False
    """Whether an entry whose chance lasts may be planned for a later block in which gas is expected to be cheaper."""

    @property
    def searches(self) -> bool:
        """Whether other routes than the one that was judged may be taken."""
        return self.max_legs > 1 or self.max_paths > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """The chain as this service sees it. ``age_ms`` is the time since the tip came, ``block_time_s`` rounded up."""

    chain_id: int
    block: BlockRef
    timestamp_s: int
    next_base_fee_wei: int
    age_ms: int
    block_time_s: int
    pool_book: PoolBook
    fee_quote: FeeQuoted | None
    status: Status
    held_by: str = ""
    """Who holds trading back, and why."""
    entry_size_bps: int = BPS_DENOMINATOR
    """The share of a lane's largest trade that an entry may be: less while a breaker is tried out."""
    taxes: Mapping[str, int] = field(default_factory=dict)
    """What tokens are known to keep of a transfer, in basis points."""

    @property
    def data_fee(self) -> DataFeeTerms | None:
        """What a rollup's fee for data is computed from; None where there is none, or it is not known."""
        return None if self.fee_quote is None else self.fee_quote.data_fee

    @property
    def wrapped_native(self) -> str | None:
        """The wrapped native coin of the chain, None where it is not known."""
        return WRAPPED_NATIVE.get(self.chain_id)

    def traded_as(self, token: str) -> str:
        """What pools know a token as: the native coin is traded wrapped."""
        return traded_as(self.chain_id, token)

    @property
    def pools(self) -> PoolTable:
        """Pool states at the tip, by address."""
        return self.pool_book.pools


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """What the open intents of a book's lane hold of its limits.

    ``tokens_in_flight`` are the tokens that transactions not yet included are paying with, ``trades`` what reserves the
    capital, and ``recent`` tells in which block each direction was last traded (``direction_of``).
    """

    capital: int = 0
    open_entries: int = 0
    orders_last_minute: int = 0
    tokens_in_flight: frozenset[str] = frozenset()
    trades: tuple[OpenTrade, ...] = ()
    recent: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """The account of a book in one lane. A balance that is None is not known (and then does not limit).

    ``held`` is the balance of the token an exit sells; ``elsewhere`` is the exposure of each other lane of the book;
    ``confirmed`` is what a person said this trade may put in, None when nobody was asked.
    """

    exposure: ExposureChanged | None
    reserved: Reserved = field(default_factory=Reserved)
    quote_balance: int | None = None
    native_balance_wei: int | None = None
    held: int | None = None
    elsewhere: tuple[ExposureChanged | None, ...] = ()
    chain: ChainUse | None = None
    confirmed: int | None = None

    @property
    def book_parts(self) -> Iterator[ExposurePart]:
        """What the book holds in all its lanes, as far as it is known."""
        for exposure in (self.exposure, *self.elsewhere):
            yield from () if exposure is None else exposure.parts or ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A trade to be made. ``reserved`` is what it holds of the lane's capital, in quote units.

    ``max_fee_per_gas_budget_wei`` bounds every replacement of its transaction.
    """

    purpose: Purpose
    strategy: str
    plan: Plan
    reserved: int
    price_impact_bps: int
    max_fee_per_gas_budget_wei: int
    submission: Submission | None = None
    """Which way it is to be sent; None: by the public pool, without a choice."""
    size: TradeSize | None = None
    """Of an entry or a gap: how large it is, and what held it down."""
    tried: tuple[Tried, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why nothing is done: one word, and sentences. ``passing`` says that waiting may help, without a new event.

    ``proposal`` is what would be done if a person confirmed it.
    """

    outcome: str
    reasons: tuple[str, ...]
    passing: bool = False
    proposal: Planned | None = None
    tried: tuple[Tried, ...] = ()


@dataclass(frozen=True, slots=True)
class Objection:
    """One reason against a trade."""

    outcome: str
    sentence: str
    passing: bool = False


def refusal(objections: list[Objection]) -> Refused:
    """All objections as one refusal, named after the first; it passes by waiting when all of them do."""
    return Refused(
        outcome=objections[0].outcome,
        reasons=tuple(objection.sentence for objection in objections),
        passing=all(objection.passing for objection in objections),
    )
