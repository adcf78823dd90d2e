"""What is known about one slot (chain, account, nonce): its state, what may happen to it, and what is to be done.

Values only; ``dexlane.domain.send_state`` moves them on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dexlane.domain.fee_bumps import LEAST_BUMP_PERCENT
from dexlane.events.base import FeeCap
from dexlane.events.execution import FailureReason, SendPath, TxState
from dexlane.values.base import Value
from dexlane.values.chains import BlockRef

CANCEL_GAS = 21_000
"""What a transfer of nothing to oneself takes."""


class AttemptKind(StrEnum):
    """What an attempt does when it is included."""

    TRADE = "trade"
    CANCEL = "cancel"


class Stage(StrEnum):
    """How far the slot is. SENT means that some bytes may have reached a node; FINAL is the only end."""

    PLANNED = "planned"
    SIGNED = "signed"
    SENT = "sent"
    INCLUDED = "included"
    FINAL = "final"


class Attempt(Value):
    """One signed payload; numbers count from 1. ``block`` is the tip it was signed at."""

    number: int
    kind: AttemptKind
    tx_hash: str
    fee: FeeCap
    block: int


class Inclusion(Value):
    """Where an attempt was included, and whether it succeeded."""

    number: int
    block: BlockRef
    success: bool


class SendState(Value):
    """Everything that is remembered about a slot; small, and stored whole."""

    deadline_block: int
    fee_budget_wei: int
    """Most that a trade's fee cap per gas may be raised to."""
    gas_limit: int = 0
    """Of the trade: with the budget it bounds what the slot may cost in all, with its cancel. Zero when not known."""
    exit_since: int = 0
    """Of an exit: the block it was planned on, which it is to follow within three. Zero for what is no exit."""
    stage: Stage = Stage.PLANNED
    attempts: tuple[Attempt, ...] = ()
    included: Inclusion | None = None
    giving_up: FailureReason | None = None
    """Why a cancel takes the place of the trade."""
    accepted: int = 0
    """The highest attempt a node said it has; none after a drop or a reorganisation."""
    submitted: int = 0
    """The highest attempt that was told as submitted; none after a drop or a reorganisation."""
    pending: bool = False
    """Whether the submitted attempt was told as pending."""
    dropped: bool = False
    """Whether the newest attempt was told as dropped, and not as submitted since."""
    bump_wanted: bool = False
    short_of_funds: bool = False
    path: SendPath = SendPath.PUBLIC
    """Which way the trade goes. A cancel always goes both ways: it moves nothing that is worth hiding."""
    public_after_blocks: int | None = None
    """A private trade goes to the public pool as well when so many blocks passed without it; None: never."""
    foreign_heads: int = 0
    """Heads in a row at which enough providers said that the slot was used, and that none of our attempts is known."""

    @property
    def newest(self) -> Attempt | None:
        """The last attempt signed."""
        return self.attempts[-1] if self.attempts else None

    @property
    def next_number(self) -> int:
        """The number of the next attempt; they count from 1."""
        return self.attempts[-1].number + 1 if self.attempts else 1

    @property
    def is_private(self) -> bool:
        """Whether what waits is with relays alone, so that no node's pool need know it."""
        newest = self.newest
        return self.path is SendPath.PRIVATE and (newest is None or newest.kind is AttemptKind.TRADE)

    @property
    def is_open(self) -> bool:
        """Whether anything can still change."""
        return self.stage is not Stage.FINAL

    @property
    def is_filled(self) -> bool:
        """Whether the trade, and not its cancel, is in a block and did what it should."""
        included = self.included
        return included is not None and included.success and self.attempt(included.number).kind is AttemptKind.TRADE

    def attempt(self, number: int) -> Attempt:
        """The attempt of that number; numbers rise, but one that the signer alone knows is left out."""
        return next(attempt for attempt in self.attempts if attempt.number == number)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendPolicy:
    """How a slot is brought home. Blocks, per cent, and wei per gas."""

    confirmations: int = 2
    """A receipt this deep is final: 1 is the tip itself."""
    needs_finalized: bool = False
    """Whether the chain's own ``finalized`` block must have reached the receipt as well."""
    watch_blocks: int = 64
    """How long after its inclusion a final slot is still looked at."""
    bump_after_blocks: int = 2
    bump_percent: int = LEAST_BUMP_PERCENT
    cancel_fee_cap_wei: int = 1_000 * 10**9
    least_tip_wei: int = 1
    """What block producers of the chain take at least."""

    def __post_init__(self) -> None:
        """Refuse a bump that nodes would refuse."""
        if self.bump_percent < LEAST_BUMP_PERCENT:
            raise ValueError(f"a bump of {self.bump_percent} % is below {LEAST_BUMP_PERCENT} %: nodes would refuse it")


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to the slot: one ``tx.<state>`` event."""

    state: TxState
    attempt: int = 0
    block: BlockRef | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Resend:
    """Give these attempts to the node again, the same bytes."""

    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign a further attempt with this fee, store it, send it. ``fee`` None means the plan's own."""

    kind: AttemptKind
    fee: FeeCap | None


@dataclass(frozen=True, slots=True)
class StopForeignUse:
    """The slot was used by a transaction that is not ours: somebody else has the key. Stop trading."""


@dataclass(frozen=True, slots=True)
class StopDeepReorg:
    """What was final is not any more. Stop trading, and look at the chain from the start."""


Action = Resend | Sign | StopForeignUse | StopDeepReorg | None


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one transition."""

    state: SendState
    changes: tuple[Change, ...] = ()
    action: Action = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """A receipt of one of our attempts, in the node's canonical chain. ``content`` is a digest of what it says beside
    that, where several providers' receipts are compared; empty otherwise."""

    tx_hash: str
    block: BlockRef
    success: bool
    content: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What is known at a new block: receipts of our attempts, and whether the account's nonce has passed the slot.

    ``complete`` is False when look-ups went unanswered or contradict each other; then absence proves nothing.
    ``quorate`` says that as many providers agree as something final needs. ``absent``: no node knows any attempt.
    ``finalized`` is the number of the chain's finalized block, None when it is not known. ``finally_used``: the nonce
    has passed the slot at that block as well. ``hopeless`` says why the trade, as signed, cannot do its work in the
    next block. ``pooled``: a node has an attempt waiting in its pool. ``held``: a private relay may still include one.
    """

    number: int
    next_base_fee_wei: int
    sightings: Sequence[Sighting] = ()
    slot_used: bool = False
    complete: bool = True
    quorate: bool = True
    absent: bool = False
    finalized: int | None = None
    finally_used: bool = False
    hopeless: FailureReason | None = None
    base_fee_wei: int = 0
    room_gas: int | None = None
    pooled: bool = False
    held: bool = False
