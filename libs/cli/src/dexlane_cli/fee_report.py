"""The gas report: what our policy pays on recorded blocks, beside named baselines and perfect foresight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from dexlane.domain.fees import GWEI
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.fee_histories import FeeHistory
from dexlane_cli.fee_replay import WARM_UP_BLOCKS, Advance, Outcomes, Replay
from dexlane_cli.fee_senders import FRONTIER, ONE_BLOCK_PROBABILITY, Knowledge, Sender, baselines
from dexlane_cli.fee_statistics import RESAMPLES, SEED, Saving, mean, pairs, quantile, saving, share_of

MEDIAN_WALLET = "median_tip_wallet"
SEED_CLAIM = 0.231
"""The saving that the seed printed as a constant; the report says where a measured one reaches it."""
LEAST_TRADES = 20
Json: TypeAlias = dict[str, Any]

METHOD: Json = {
    "price_effect": "every figure here: wei per gas of the same transaction, base fee and tip, never the cap",
    "gas_unit_effect": None,
    "gas_unit_effect_reason": "fee histories hold no transactions of ours, so gas units are not measured",
    "saving": "1 - paid / baseline over the trades that both had included; negative when dearer",
    "share_of_foresight": "saving over that of paying exactly the least in the cheapest block of the same deadline",
    "interval": f"moving-block bootstrap, 95 %, {RESAMPLES} resamples, seed {SEED}",
    "one_block": f"with a deadline of 1 the tip is the {float(ONE_BLOCK_PROBABILITY):.0%} quantile; others in frontier",
    "node_default": "eth_gasPrice of go-ethereum; the lowest recorded percentiles stand for the lowest transactions",
    "warm_up_blocks": WARM_UP_BLOCKS,
}


@dataclass(frozen=True, slots=True)
class Reporter:
    """Reports on one history."""

    replay: Replay
    knowledge: Knowledge
    advance: Advance

    @classmethod
    def of(cls, history: FeeHistory, inclusion_percentile: int, advance: Advance) -> Reporter:
        """Read what is known before each block."""
        return cls(Replay.of(history, inclusion_percentile), Knowledge.of(history, inclusion_percentile), advance)

    def report(self, deadlines: Sequence[int]) -> Json:
        """An entry of ``files``."""
        history = self.replay.history
        return {
            "file": history.path.name,
            "chain_id": history.chain_id,
            "first_block": history.blocks[0].number,
            "blocks": len(history.blocks),
            "has_tips": history.has_tips,
            "deadlines": [self._deadline(deadline) for deadline in deadlines],
        }

    def _deadline(self, deadline: int) -> Json:
        ours = self.replay.send(self._policy(deadline), deadline, self.advance)
        best = self.replay.foresight(deadline)
        theirs = self._baselines(deadline)
        main = next(iter(theirs))
        found = saving(pairs(ours, theirs[main]), deadline)
        entry: Json = {
            "deadline": deadline,
            "trades": len(ours.paid_wei),
            "policy": {
                "paid_gwei": _gwei(ours),
                "mean_delay": mean(ours.delays),
                "p95_delay": quantile(ours.delays, 0.95),
                "missed": ours.missed,
            },
            "foresight_paid_gwei": _gwei(best),
            "share_of_foresight_vs": {name: share_of(pairs(ours, one, best)) for name, one in theirs.items()},
            "baselines": {name: _baseline(ours, one, deadline) for name, one in theirs.items()},
            "main_baseline": main,
            "saves_23_1_percent": None if found is None else found.interval[0] >= SEED_CLAIM,
            "halves": [_half(part, ours, theirs[main], best, deadline) for part in ("first", "second")],
        }
        if deadline == 1 and self.replay.history.has_tips:
            entry["frontier"] = [self._frontier(probability, theirs[main], best) for probability in FRONTIER]
        return entry

    def _policy(self, deadline: int) -> Sender:
        one_block = deadline == 1 and self.replay.history.has_tips
        return self.knowledge.one_shot(ONE_BLOCK_PROBABILITY) if one_block else self.knowledge.policy

    def _baselines(self, deadline: int) -> dict[str, Outcomes]:
        sent = baselines(self.replay.history)
        first = {MEDIAN_WALLET: self.replay.median_wallet(deadline)} if self.replay.history.has_tips else {}
        return first | {name: self.replay.send(sender, deadline, self.advance) for name, sender in sent.items()}

    def _frontier(self, probability: Fraction, wallet: Outcomes, best: Outcomes) -> Json:
        ours = self.replay.send(self.knowledge.one_shot(probability), 1, self.advance)
        found = saving(pairs(ours, wallet), 1)
        return {
            "probability": float(probability),
            "missed": ours.missed,
            "missed_share": ours.missed / len(ours.paid_wei),
            "paid_gwei": _gwei(ours),
            "saving": found and found.share,
            "share_of_foresight": share_of(pairs(ours, wallet, best)),
        }


def work(history: FeeHistory, deadlines: Sequence[int]) -> int:
    """Trades to live through, for a progress bar. Raises ``CommandError`` for a file too short for a deadline."""
    count = 0
    for deadline in deadlines:
        trades = len(history.blocks) - deadline - WARM_UP_BLOCKS + 1
        if trades < LEAST_TRADES:
            needed = deadline + WARM_UP_BLOCKS + LEAST_TRADES - 1
            raise CommandError(
                f"{history.path} has {len(history.blocks)} blocks; a deadline of {deadline} needs {needed}", EXIT_USAGE
            )
        runs = 1 + len(baselines(history)) + (len(FRONTIER) if deadline == 1 and history.has_tips else 0)
        count += trades * runs
    return count


def _baseline(ours: Outcomes, theirs: Outcomes, deadline: int) -> Json:
    found = saving(pairs(ours, theirs), deadline)
    return {
        "paid_gwei": _gwei(theirs),
        "mean_delay": mean(theirs.delays),
        "missed": theirs.missed,
        "saving": found and found.share,
        "saving_ci95": found and list(found.interval),
        "paired_trades": found.trades if found else 0,
    }


def _half(part: str, ours: Outcomes, theirs: Outcomes, best: Outcomes, deadline: int) -> Json:
    """The same of one half of the trades: whether the whole rests on one of them."""
    middle = len(ours.paid_wei) // 2
    chosen = slice(None, middle) if part == "first" else slice(middle, None)
    cut = [Outcomes(one.paid_wei[chosen], ()) for one in (ours, theirs, best)]
    found: Saving | None = saving(pairs(cut[0], cut[1]), deadline)
    return {
        "part": part,
        "missed": cut[0].missed,
        "saving": found and found.share,
        "saving_ci95": found and list(found.interval),
        "share_of_foresight": share_of(pairs(*cut)),
    }


def _gwei(outcomes: Outcomes) -> float | None:
    found = mean([paid for paid in outcomes.paid_wei if paid is not None])
    return None if found is None else found / GWEI
