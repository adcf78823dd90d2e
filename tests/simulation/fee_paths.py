"""Fee paths: the real send state of one slot against histories of base fee and tip, without services and disk.

``python -m simulation.fee_paths --paths 1..100000``. A path is a seed: how dear gas gets, what the quote says, what the
budget is. What must hold is what a budget means: no attempt may pay more, a replacement is one that nodes take, nothing
stays open. Exits that are not in one of the next blocks although their budget allowed it are counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from random import Random

from dexlane.domain import send_state
from dexlane.domain.circumstances import PlanningRules
from dexlane.domain.fees import BlockFees, fee_parameters, tiers
from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.send_values import Attempt, AttemptKind, Head, SendPolicy, SendState, Sighting, Sign, Step
from dexlane.events.base import FeeCap
from dexlane.events.fees import FeeTier
from dexlane.testing.fake_mempool import REPLACEMENT_BUMP_PERCENT
from dexlane.values.amounts import apply_bps
from dexlane.values.chains import BlockRef
from simulation.demand import GWEI, Demand, base_fee_after

BEGIN, RUSH = 24, 60
"""At which block a path's slot is planned, and for how many blocks others may be in a hurry."""
LAST = 260
"""By then gas has long been cheap again: a slot must have come to its end."""
EXIT_BLOCKS = 3
CANCEL_CAP_WEI = 625 * GWEI
ANSWERS = (PublishAnswer.ACCEPTED, PublishAnswer.ALREADY_KNOWN, PublishAnswer.UNKNOWN)


class Weather:
    """What each block of a path costs: its base fee, and the tip it asks, in wei per gas."""

    def __init__(self, seed: int, first_base_fee_wei: int) -> None:
        self._demand = Demand(f"path {seed}", BEGIN + RUSH + 1)
        self._demand.calm_from = BEGIN + RUSH
        self._base_fees = [first_base_fee_wei]

    def base_fee(self, number: int) -> int:
        """The base fee of a block, in wei."""
        while len(self._base_fees) <= number:
            parent, paid = len(self._base_fees) - 1, self._base_fees[-1]
            self._base_fees.append(base_fee_after(paid, self._demand.fullness_bps(parent, paid)))
        return self._base_fees[number]

    def history(self) -> list[BlockFees]:
        """What is known of fees when the slot is planned."""
        return self._demand.history(BEGIN, self._demand.fullness_bps(BEGIN, self.base_fee(BEGIN)))

    def takes(self, fee: FeeCap, number: int) -> bool:
        """Whether a block takes a transaction with that fee."""
        room = fee.max_fee_per_gas_wei - self.base_fee(number)
        return room >= 0 and min(fee.max_priority_fee_per_gas_wei, room) >= self._demand.tip_wei(number)

    def allows(self, most_wei: int, number: int) -> bool:
        """Whether so much per gas would buy a place in a block."""
        return most_wei >= self.base_fee(number) + self._demand.tip_wei(number)


class Walk:
    """One slot on its way. ``breaches`` are sentences; ``counts`` says what it was."""

    def __init__(self, seed: int) -> None:
        draw = self._draw = Random(f"path {seed}")  # noqa: S311
        rules = PlanningRules()
        self.weather = Weather(seed, draw.choice((GWEI // 10, 2 * GWEI, 40 * GWEI)))
        self.breaches: list[str] = []
        self.counts: Counter[str] = Counter(paths=1)
        self._is_exit = draw.random() < 0.7
        kinds = (FeeTier.EMERGENCY, FeeTier.PROTECTED) if self._is_exit else (FeeTier.SPEED, FeeTier.BALANCED)
        quote = tiers(self.weather.history(), self.weather.base_fee(BEGIN + 1), fee_parameters(1))
        self._cap = quote[draw.choice(kinds)]
        most_bps = rules.exit_fee_budget_bps if self._is_exit else rules.entry_fee_budget_bps
        self._budget_wei = apply_bps(self._cap.max_fee_per_gas_wei, draw.choice((10_000, most_bps, most_bps)))
        deadline = BEGIN + (rules.exit_wait_blocks if self._is_exit else draw.randint(2, 12))
        self._policy = SendPolicy(confirmations=draw.choice((2, 3, 5)), cancel_fee_cap_wei=CANCEL_CAP_WEI)
        self._state = send_state.planned(deadline, self._budget_wei).state
        self._waiting: Attempt | None = None
        self._taken: Sighting | None = None

    def run(self) -> None:
        """From the plan to finality."""
        self._sign(AttemptKind.TRADE, self._cap, BEGIN)
        for number in range(BEGIN + 1, LAST):
            self._mine(number)
            self._look(number)
            if not self._state.is_open:
                self._judge()
                return
        self.breaches.append(f"the slot is still open after {LAST - BEGIN} blocks, in stage {self._state.stage}")

    def _mine(self, number: int) -> None:
        waiting = self._waiting
        if waiting is not None and self.weather.takes(waiting.fee, number):
            block = BlockRef(number=number, hash=f"0x{number:064x}")
            self._taken, self._waiting = Sighting(waiting.tx_hash, block, success=True), None

    def _look(self, number: int) -> None:
        seen = () if self._taken is None else (self._taken,)
        head = Head(
            number=number,
            next_base_fee_wei=self.weather.base_fee(number + 1),
            sightings=seen,
            slot_used=bool(seen),
        )
        step = self._take(send_state.at_head(self._state, head, self._policy))
        if isinstance(step.action, Sign):
            self._sign(step.action.kind, step.action.fee or self._cap, number)

    def _sign(self, kind: AttemptKind, fee: FeeCap, number: int) -> None:
        state, before = self._state, self._waiting
        most = self._budget_wei if kind is AttemptKind.TRADE else self._policy.cancel_fee_cap_wei
        if fee.max_fee_per_gas_wei > most:
            self.breaches.append(f"a {kind.value} may pay {fee.max_fee_per_gas_wei} wei per gas, of {most}")
        if before is not None and not _replaces(fee, before.fee):
            self.breaches.append(f"nodes would refuse attempt {len(state.attempts) + 1} as a replacement")
        count = len(state.attempts) + 1
        attempt = Attempt(number=count, kind=kind, tx_hash=f"0x{count:064x}", fee=fee, block=number)
        self._take(send_state.signed(state, attempt))
        self._waiting = attempt
        self._take(send_state.answered(self._state, count, self._draw.choice(ANSWERS)))
        self.counts["attempts"] += 1

    def _take(self, step: Step) -> Step:
        self._state = step.state
        return step

    def _judge(self) -> None:
        state: SendState = self._state
        assert state.included is not None
        is_trade = state.attempt(state.included.number).kind is AttemptKind.TRADE
        self.counts["trades" if is_trade else "cancels"] += 1
        if not self._is_exit:
            return
        self.counts["exits"] += 1
        by = BEGIN + EXIT_BLOCKS
        if self.weather.allows(self._budget_wei, by):
            self.counts["allowed"] += 1
            self.counts["late"] += not is_trade or state.included.block.number > by


def _replaces(fee: FeeCap, before: FeeCap) -> bool:
    percent = 100 + REPLACEMENT_BUMP_PERCENT
    return (
        fee.max_fee_per_gas_wei * 100 >= before.max_fee_per_gas_wei * percent
        and fee.max_priority_fee_per_gas_wei * 100 >= before.max_priority_fee_per_gas_wei * percent
    )


def walk(seeds: range) -> tuple[Counter[str], list[str]]:
    """Every path of these seeds: what they were, and what was breached."""
    total, breaches = Counter[str](), list[str]()
    for seed in seeds:
        one = Walk(seed)
        one.run()
        total += one.counts
        breaches += [f"path {seed}: {breach}" for breach in one.breaches]
    return total, breaches


def main() -> int:
    """Walk; 1 when anything was breached."""
    parser = argparse.ArgumentParser(prog="simulation.fee_paths", description=__doc__)
    parser.add_argument("--paths", default="1..2000", help="seeds, such as 1..100000")
    first, _, last = parser.parse_args().paths.partition("..")
    began = time.perf_counter()
    total, breaches = walk(range(int(first), int(last or first) + 1))
    print("\n".join(breaches[:20]))
    print(
        f"{total['paths']} paths, {total['attempts']} attempts, {total['trades']} trades, {total['cancels']} cancels, "
        f"{len(breaches)} breaches; {total['exits']} exits, of which {total['allowed']} could pay the third block and "
        f"{total['late']} came later all the same, {time.perf_counter() - began:.1f} s"
    )
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
