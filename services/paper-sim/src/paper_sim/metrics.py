"""Named moments of paper-sim: each logs once and counts once."""

from __future__ import annotations

from dexlane.events.execution import AccountOpened, FillIncluded, IntentCreated, PaperScored
from dexlane.events.market import BlockReorged
from dexlane.runtime.observability import Log, Metrics
from dexlane.values.chains import BlockRef
from paper_sim.trades import PaperTrade, Step

_BPS = (-1_000, -300, -100, -50, -20, -10, -5, -2, 0, 2, 5, 10, 20, 50, 100, 300, 1_000, 10_000)


class Moments:
    """What can happen in paper-sim."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._steps = metrics.counter("trade_steps_total", "Steps of paper trades by outcome", ("step", "outcome"))
        self._repeated = metrics.counter("intents_repeated_total", "Intents that were delivered again")
        self._accounts = metrics.counter("accounts_opened_total", "Paper accounts opened")
        self._reorgs = metrics.counter("reorgs_total", "Reorganisations followed")
        self._unseen = metrics.counter("unseen_blocks_total", "Times when blocks passed unseen while trades were open")
        self._score = metrics.histogram(
            "score_difference_bps", "Paper fill against the next real state, bps; positive is too kind", buckets=_BPS
        )
        self._blocks = metrics.histogram(
            "blocks_to_inclusion", "Blocks from plan to inclusion", buckets=(1, 2, 3, 5, 8)
        )

    def account_opened(self, event: AccountOpened) -> None:
        """A paper account begins with these balances."""
        self._accounts.inc()
        self._log.info("paper_account_opened", book_id=event.book_id, lane=event.lane, account=event.account)

    def repeated(self, intent: IntentCreated) -> None:
        """An intent that was accepted before was delivered again."""
        self._repeated.inc()
        self._log.debug("paper_intent_repeated", intent_id=intent.id)

    def stepped(self, step: Step) -> None:
        """A trade went one step on: accepted, refused, ended, confirmed, reorged or scored."""
        trade = step.trade
        self._steps.labels(step.moment.value, trade.outcome.result.value if trade.outcome else "none").inc()
        self._log.info(f"paper_trade_{step.moment}", intent_id=trade.intent.id, **_details(trade))
        for fact in step.facts:
            if isinstance(fact, PaperScored):
                self._score.observe(fact.difference_bps)
            if isinstance(fact, FillIncluded) and fact.block is not None:
                self._blocks.observe(fact.block.number - trade.intent.block.number)

    def reorged(self, event: BlockReorged, trades: int) -> None:
        """The chain replaced blocks, and this many trades wait again."""
        self._reorgs.inc()
        self._log.warning("paper_reorg", depth=event.depth, ancestor=event.ancestor.number, trades=trades)

    def blocks_unseen(self, cursor: BlockRef, block: BlockRef) -> None:
        """Blocks passed while paper-sim was not looking; trades that were in a block stand unchecked."""
        self._unseen.inc()
        self._log.warning("paper_blocks_unseen", last_seen=cursor.number, next_seen=block.number)


def _details(trade: PaperTrade) -> dict[str, object]:
    outcome = trade.outcome
    if outcome is None:
        return {"book_id": trade.intent.book_id}
    block = None if outcome.block is None else outcome.block.number
    return {"book_id": trade.intent.book_id, "result": outcome.result, "block": block, "detail": outcome.detail}
