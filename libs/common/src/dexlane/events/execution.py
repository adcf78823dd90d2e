"""The life of an intent: created, carried by transactions, filled or failed. The same for paper and live."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from pydantic import Field, model_validator

from dexlane.events.base import Event, FeeCap, is_absent
from dexlane.events.portfolio import ExitTriggered, FinalFill
from dexlane.events.risk import VerdictApproved
from dexlane.values.amounts import Amount
from dexlane.values.base import Value, digest
from dexlane.values.books import Lane, Mode
from dexlane.values.chains import NATIVE, Address, BlockRef, Hash32
from dexlane.values.routes import PlannedPath, Route
from dexlane.values.sizes import TradeSize
from dexlane.values.tokens import Token, TokenDelta, TokenTax


class Purpose(StrEnum):
    """Why an intent exists."""

    ENTRY = "entry"
    EXIT = "exit"
    GAP = "gap"
    ALLOWANCE = "allowance"


ENTRIES = frozenset({Purpose.ENTRY, Purpose.GAP})
"""What puts capital at risk that was not."""


class FailureReason(StrEnum):
    """Why an intent ended without a fill."""

    REVERTED = "reverted"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    UNDERPRICED = "underpriced"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    MINIMUM_OUT = "minimum_out"
    DENIED = "denied"
    HALTED = "halted"
    STALE_STATE = "stale_state"
    WOULD_REVERT = "would_revert"
    OVER_BLOCK_GAS = "over_block_gas"


class TxState(StrEnum):
    """The states of a transaction that clients can see."""

    PLANNED = "planned"
    SIGNED = "signed"
    SUBMITTED = "submitted"
    PENDING = "pending"
    BUMPED = "bumped"
    REPLACED = "replaced"
    MINED = "mined"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    DROPPED = "dropped"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REORGED = "reorged"


class SendPath(StrEnum):
    """Which way a transaction leaves: the public pool, or private relays alone."""

    PUBLIC = "public"
    PRIVATE = "private"


class Submission(Value):
    """Which way a trade is to be sent, and why that was chosen."""

    path: SendPath
    reason: str = Field(description="one sentence")
    sandwich_value_wei: Amount | None = Field(
        default=None, description="most that a sandwich of this trade could take, net of its gas; None: not known"
    )
    public_after_blocks: int | None = Field(
        default=None, ge=0, description="a private trade goes to the public pool as well after so many blocks"
    )


class Plan(Value):
    """What a trade will do on the chain. ``minimum_out`` is enforced there and is never zero.

    Of a split ``route`` is the first path, and the amounts are those of all paths together.
    """

    route: Route
    amount_in: Amount = Field(gt=0)
    quoted_out: Amount = Field(gt=0)
    minimum_out: Amount = Field(gt=0)
    split: tuple[PlannedPath, ...] = Field(
        default=(), max_length=4, description="the paths of a split, in order; empty when all goes along the route"
    )
    native_in: bool = Field(default=False, description="paid in native coin, which the router wraps first")
    native_out: bool = Field(default=False, description="received in native coin, which the router unwraps last")
    taxes: tuple[TokenTax, ...] = Field(default=(), description="what tokens of the paths keep of a transfer")
    router: Address | None = Field(default=None, description="who carries it out; None is the Universal Router")
    gas_limit: int = Field(gt=21_000, le=16_777_216)
    fee_cap: FeeCap
    deadline_block: int = Field(ge=0)
    deadline_s: int = Field(ge=0, description="Unix seconds, enforced by the router")
    pool_digest: str = Field(description="digest of the pool states that the quote was computed from")

    @model_validator(mode="after")
    def _paths_add_up(self) -> Plan:
        if not self.split:
            return self
        if len(self.split) < 2 or self.split[0].route != self.route:
            raise ValueError("a split has two paths or more, and its first one is the route")
        if {(path.route.token_in, path.route.token_out) for path in self.split} != {
            (self.route.token_in, self.route.token_out)
        } or self.route.is_cycle:
            raise ValueError("the paths of a split begin and end alike, and are no cycles")
        if sum(path.amount_in for path in self.split) != self.amount_in:
            raise ValueError("the amounts of the paths are not the amount of the plan")
        if sum(path.minimum_out for path in self.split) != self.minimum_out:
            raise ValueError("the minimums of the paths are not the minimum of the plan")
        return self

    @property
    def paths(self) -> tuple[PlannedPath, ...]:
        """The paths in order; one when nothing is split."""
        if self.split:
            return self.split
        # Its parts were checked as those of the plan; this stands on the way of every trade.
        return (
            PlannedPath.unchecked({"route": self.route, "amount_in": self.amount_in, "minimum_out": self.minimum_out}),
        )

    @property
    def paid_token(self) -> str:
        """What the account pays with: the native coin's place-holder when that is wrapped first."""
        return NATIVE if self.native_in else self.route.token_in

    @property
    def bought_token(self) -> str:
        """What the account receives: the native coin's place-holder when that is unwrapped last."""
        return NATIVE if self.native_out else self.route.token_out


class IntentCreated(Event):
    """The durable decision to trade; it owns one slot (chain, account, nonce) for life when it is live."""

    NAME: ClassVar[str] = "intent.created"

    book_id: str
    mode: Mode
    lane: Lane
    account: Address
    quote: Token
    purpose: Purpose
    strategy: str
    block: BlockRef = Field(description="the block whose state was planned on")
    plan: Plan | None = Field(default=None, description="None only for an allowance")
    allowance_token: Address | None = None
    allowance_amount: Amount | None = None
    allowance_spender: Address | None = Field(default=None, description="who may take the token; None is Permit2")
    allowance_in_permit2: bool = Field(
        default=False, description="the allowance lies inside Permit2 and is taken back there; its amount is zero"
    )
    verdict: VerdictApproved | None = None
    exit: ExitTriggered | None = None
    received_at_ns: int = Field(ge=0)
    submission: Submission | None = Field(
        default=None, exclude_if=is_absent, description="None: by the public pool, without a choice"
    )
    size: TradeSize | None = Field(
        default=None, exclude_if=is_absent, description="of an entry or a gap: amount and share, and what held it down"
    )

    @model_validator(mode="after")
    def _complete(self) -> IntentCreated:
        if self.purpose is Purpose.ALLOWANCE:
            if self.allowance_token is None or self.allowance_amount is None or self.plan is not None:
                raise ValueError("an allowance names its token and amount, and has no plan")
            if self.allowance_in_permit2 and (self.allowance_amount or self.allowance_spender is None):
                raise ValueError("an allowance inside Permit2 is only ever taken back, from a named spender")
        elif self.plan is None:
            raise ValueError("every intent but an allowance carries its plan")
        if self.purpose in {Purpose.ENTRY, Purpose.GAP} and self.verdict is None:
            raise ValueError("an entry carries its verdict")
        if self.purpose is Purpose.EXIT and self.exit is None:
            raise ValueError("an exit carries what triggered it")
        return self

    @classmethod
    def tails(cls) -> tuple[str, ...]:
        """One subject per mode and lane."""
        return tuple(f"{mode}.{lane}" for mode in Mode for lane in Lane)

    def tail(self) -> str:
        """``<mode>.<lane>``."""
        return f"{self.mode}.{self.lane}"

    @staticmethod
    def make_id(book_id: str, cause_id: str, purpose: str) -> str:
        """One intent per book, cause (verdict, exit or set-up step) and purpose."""
        return digest("intent.created", book_id, cause_id, purpose)


class _OfIntent(Event):
    """Common part of everything that happens to an intent."""

    intent_id: str = Field(pattern="^[0-9a-f]{32}$")
    book_id: str
    mode: Mode
    lane: Lane
    account: Address
    purpose: Purpose
    strategy: str


class TxChanged(_OfIntent):
    """A transaction of an intent changed its state. ``attempt`` counts signed payloads of the slot from 1."""

    NAME: ClassVar[str] = "tx"

    state: TxState
    sequence: int = Field(ge=1, description="position in the life of this intent")
    attempt: int = Field(default=0, ge=0)
    nonce: int | None = Field(default=None, ge=0)
    tx_hash: Hash32 | None = None
    fee_cap: FeeCap | None = None
    block: BlockRef | None = None
    reason: str | None = None
    elapsed_ms: float | None = Field(default=None, ge=0, description="since the logs that led to it were received")
    path: SendPath | None = Field(
        default=None, exclude_if=is_absent, description="which way the attempt went; None: by the public pool"
    )

    @classmethod
    def tails(cls) -> tuple[str, ...]:
        """One subject per state."""
        return tuple(TxState)

    def tail(self) -> str:
        """The state."""
        return self.state

    @staticmethod
    def make_id(intent_id: str, sequence: int) -> str:
        """One id per step of one intent."""
        return digest("tx", intent_id, sequence)


class _Outcome(_OfIntent):
    """An outcome of an intent. Of all outcomes of one intent the highest ``outcome_version`` holds."""

    outcome_version: int = Field(ge=1)
    fee_paid_wei: Amount = Field(description="native coin paid for gas, including any rollup data fee")
    gas_used: int = Field(default=0, ge=0)
    tx_hash: Hash32 | None = None
    block: BlockRef | None = None


class _Fill(_Outcome):
    quote: Token
    deltas: tuple[TokenDelta, ...] = Field(description="what the account gained and lost, gas excluded")
    quoted_out: Amount = Field(description="output that planning expected")
    price_impact_bps: int | None = None


class FillIncluded(_Fill):
    """The transaction is in a block. Counts in positions at once; may still be reversed."""

    NAME: ClassVar[str] = "fill.included"

    @staticmethod
    def make_id(intent_id: str, outcome_version: int) -> str:
        """One id per version of an intent's outcome."""
        return digest("fill.included", intent_id, outcome_version)


class FillConfirmed(_Fill):
    """The fill is final."""

    NAME: ClassVar[str] = "fill.confirmed"

    @property
    def fill(self) -> FinalFill:
        """What an exposure that contains it names."""
        block = 0 if self.block is None else self.block.number
        return FinalFill(intent_id=self.intent_id, version=self.outcome_version, block=block)

    @staticmethod
    def make_id(intent_id: str, outcome_version: int) -> str:
        """One id per version of an intent's outcome."""
        return digest("fill.confirmed", intent_id, outcome_version)


class FillReversed(_Outcome):
    """A reorganisation took the fill (or the paid failure) back; ``fee_paid_wei`` is therefore zero."""

    NAME: ClassVar[str] = "fill.reversed"
    reason: str

    @staticmethod
    def make_id(intent_id: str, outcome_version: int) -> str:
        """One id per version of an intent's outcome."""
        return digest("fill.reversed", intent_id, outcome_version)


class IntentFailed(_Outcome):
    """The intent ended without a trade. A revert or a cancel still paid ``fee_paid_wei``."""

    NAME: ClassVar[str] = "intent.failed"
    reason: FailureReason
    detail: str = ""
    final: bool = Field(default=True, description="False while a reorganisation could still change it")

    @staticmethod
    def make_id(intent_id: str, outcome_version: int) -> str:
        """One id per version of an intent's outcome."""
        return digest("intent.failed", intent_id, outcome_version)


class AccountOpened(Event):
    """The balances with which a book's account begins: the opening entries of the ledger."""

    NAME: ClassVar[str] = "account.opened"

    book_id: str
    mode: Mode
    lane: Lane
    account: Address
    quote: Token
    block: BlockRef
    balances: tuple[TokenDelta, ...] = Field(description="token balances; the native coin under the NATIVE address")

    @staticmethod
    def make_id(book_id: str, account: str) -> str:
        """An account of a book opens once."""
        return digest("account.opened", book_id, account)


class PaperScored(Event):
    """A paper fill compared with what the chain showed in the next block."""

    NAME: ClassVar[str] = "paper.scored"

    intent_id: str
    book_id: str
    filled_out: Amount
    next_block_out: Amount = Field(description="quote of the same trade on the next block's state, without our impact")
    difference_bps: int
    block: BlockRef

    @staticmethod
    def make_id(intent_id: str) -> str:
        """One score per intent."""
        return digest("paper.scored", intent_id)
