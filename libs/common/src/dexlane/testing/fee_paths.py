"""Paths of the price of gas, drawn from a seed, and what becomes of a trade that is sent into one.

The plan is made by ``dexlane.domain.planning`` and carried on by ``dexlane.domain.send_state``, as live; a block takes
the newest attempt by the rule of paper fills: its cap covers the base fee, and its effective tip reaches what the block
asks for, which is little while there is room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from dexlane.domain import send_state
from dexlane.domain.circumstances import Planned
from dexlane.domain.fees import BlockFees, FeeParameters, next_base_fee
from dexlane.domain.send_values import CANCEL_GAS, AttemptKind, Head, SendPolicy, SendState, Sign
from dexlane.domain.send_values import Attempt as SentAttempt
from dexlane.events.execution import Purpose
from dexlane.testing.builders import a_hash

GAS_LIMIT = 30_000_000
HISTORY = 20
LENGTH = HISTORY + 30
FULL_PERCENT = 99
KINDS = ("climbing", "falling", "spiky", "calm", "crowded", "squeezed", "recorded")


@dataclass(frozen=True, slots=True)
class PathBlock:
    """A block of a path. ``asked_tip_wei`` is what it asks for when it has no room."""

    base_fee_wei: int
    gas_used: int
    asked_tip_wei: int

    def required_tip_wei(self, gas_limit: int, minimum_tip_wei: int) -> int:
        """The least effective tip that a transaction of this gas limit is included with."""
        has_room = GAS_LIMIT - self.gas_used >= gas_limit
        return minimum_tip_wei if has_room else max(minimum_tip_wei, self.asked_tip_wei)


@dataclass(frozen=True, slots=True)
class FeePath:
    """Blocks in order; a trade is planned after the first ``HISTORY`` of them."""

    kind: str
    params: FeeParameters
    blocks: Sequence[PathBlock]

    def next_base_fee_wei(self, index: int) -> int:
        """What the block after this one asks for. Recorded paths hold it, also where they leave the rule."""
        return self.blocks[index + 1].base_fee_wei

    def history(self) -> list[BlockFees]:
        """What the oracle knows at the plan: every percentile is what the block asked for."""
        return [
            BlockFees(number, block.gas_used / GAS_LIMIT, (block.asked_tip_wei,) * 7, block.base_fee_wei)
            for number, block in enumerate(self.blocks[:HISTORY])
        ]


def drawn_path(kind: str, params: FeeParameters, chance: Random, recorded: Sequence[PathBlock]) -> FeePath:
    """A path of one kind. ``climbing`` has twenty full blocks from the plan on, ``falling`` empty ones, and
    ``squeezed`` full ones that ask for ever more tip."""
    if kind == "recorded":
        first = chance.randrange(len(recorded) - LENGTH)
        return FeePath(kind, params, recorded[first : first + LENGTH])
    base_fee, tip = round(10 ** chance.uniform(7, 11.5)), round(10 ** chance.uniform(0, 10.5))
    blocks = []
    for number in range(LENGTH):
        used = _gas_used(kind, number - HISTORY, chance)
        if kind in {"spiky", "crowded"}:
            tip = max(1, round(tip * chance.choice((0.2, 0.5, 1, 1, 1, 2, 6 if kind == "spiky" else 1.3))))
        if kind == "squeezed" and number >= HISTORY:
            tip = max(1, round(tip * chance.choice((1.3, 2, 4, 8))))
        blocks.append(PathBlock(base_fee, used, tip))
        base_fee = next_base_fee(base_fee, used, GAS_LIMIT, params)
    return FeePath(kind, params, blocks)


def _gas_used(kind: str, since_plan: int, chance: Random) -> int:
    if kind == "climbing" and 0 <= since_plan < 20:
        return GAS_LIMIT
    if kind == "falling" and since_plan >= 0:
        return 0
    if kind == "crowded" or (kind == "squeezed" and since_plan >= 0) or (kind == "spiky" and chance.random() < 0.6):
        return GAS_LIMIT - chance.randrange(50_000)
    return chance.randrange(GAS_LIMIT * 3 // 4)


@dataclass(slots=True)
class Voyage:
    """What became of a trade: every attempt, and where one was included."""

    planned: Planned
    attempts: list[SentAttempt] = field(default_factory=list)
    included: SentAttempt | None = None
    blocks_waited: int = 0
    paid_wei: int = 0

    @property
    def budget_wei(self) -> int:
        """What the slot may cost in all."""
        return self.planned.max_fee_per_gas_budget_wei * self.planned.plan.gas_limit

    def most_wei(self, attempt: SentAttempt) -> int:
        """What an attempt can cost: its cap for all of its gas."""
        is_cancel = attempt.kind is AttemptKind.CANCEL
        gas = CANCEL_GAS if is_cancel else self.planned.plan.gas_limit
        return attempt.fee.max_fee_per_gas_wei * gas


def sail(path: FeePath, planned: Planned, policy: SendPolicy) -> Voyage:
    """Send a plan that was made after the first ``HISTORY`` blocks, until it is included or the path ends."""
    voyage = Voyage(planned)
    plan, start = planned.plan, HISTORY - 1
    state = send_state.planned(
        plan.deadline_block,
        planned.max_fee_per_gas_budget_wei,
        gas_limit=plan.gas_limit,
        exit_since=start if planned.purpose is Purpose.EXIT else 0,
    ).state
    state = _signed(state, voyage, Sign(AttemptKind.TRADE, None), start)
    for number in range(HISTORY, len(path.blocks) - 1):
        block, newest = path.blocks[number], voyage.attempts[-1]
        price = _price(block, newest, plan.gas_limit, policy)
        voyage.blocks_waited = number - start
        if price is not None:
            voyage.included, gas = newest, voyage.most_wei(newest) // newest.fee.max_fee_per_gas_wei
            voyage.paid_wei = price * gas
            return voyage
        head = Head(
            number=number,
            next_base_fee_wei=path.next_base_fee_wei(number),
            base_fee_wei=block.base_fee_wei,
            room_gas=GAS_LIMIT - block.gas_used,
        )
        step = send_state.at_head(state, head, policy)
        state = step.state
        if isinstance(step.action, Sign):
            state = _signed(state, voyage, step.action, number)
    return voyage


def _price(block: PathBlock, attempt: SentAttempt, gas_limit: int, policy: SendPolicy) -> int | None:
    """What the block takes per gas; None when it does not include the attempt."""
    gas = CANCEL_GAS if attempt.kind is AttemptKind.CANCEL else gas_limit
    cap = attempt.fee.max_fee_per_gas_wei
    tip = min(attempt.fee.max_priority_fee_per_gas_wei, cap - block.base_fee_wei)
    fits = cap >= block.base_fee_wei and tip >= block.required_tip_wei(gas, policy.least_tip_wei)
    return block.base_fee_wei + tip if fits else None


def _signed(state: SendState, voyage: Voyage, sign: Sign, block: int) -> SendState:
    fee = sign.fee or voyage.planned.plan.fee_cap
    number = len(voyage.attempts) + 1
    attempt = SentAttempt(number=number, kind=sign.kind, tx_hash=a_hash(f"{number}"), fee=fee, block=block)
    voyage.attempts.append(attempt)
    return send_state.signed(state, attempt).state
