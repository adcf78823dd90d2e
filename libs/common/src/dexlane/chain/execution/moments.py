"""The named moments of an executor: each logs once and counts once."""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.chain.execution.relay_moments import RelayMoments
from dexlane.chain.execution.sending_moments import SendingMoments
from dexlane.chain.grants import Grant
from dexlane.events.execution import IntentCreated, TxState
from dexlane.runtime.breaker_board import BreakerMoments
from dexlane.runtime.observability import Log, Metrics
from dexlane_signer import SigningDenied


class ExecutionMoments:
    """What is worth knowing while intents are planned and sent."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        self.sending = SendingMoments(metrics, log)
        self.relays = RelayMoments(metrics, log)
        self.breakers = BreakerMoments(metrics, log)
        self._intents = metrics.counter("intents_total", "Intents by mode and purpose", ("mode", "purpose"))
        self._refusals = metrics.counter("refusals_total", "Refusals by outcome", ("outcome",))
        self._waits = metrics.counter("planned_for_later_total", "Verdicts that waited for cheaper gas")
        self._changes = metrics.counter("tx_changes_total", "Transaction changes by state", ("state",))
        self._denials = metrics.counter("signing_denials_total", "Signatures that were refused", ("reason",))
        self._held = metrics.counter("entries_held_back_total", "Entries stopped between plan and signature")
        self._failures = metrics.counter("pass_failures_total", "Passes over the open slots that could not finish")
        chain = ("chain_id",)
        self._acts = metrics.gauge("acts", "1 while this instance acts on the chain, 0 as its standby", chain)
        self._epoch = metrics.gauge("lease_epoch", "Grows with every change of the instance that acts", chain)
        self._changes_of_holder = metrics.counter("lease_changes_total", "Terms by begin and end", ("change",))
        self._takeover = metrics.histogram("takeover_seconds", "From winning the lease to acting", chain)
        self._open = metrics.gauge("open_slots", "Slots that are not final")
        self._residual = metrics.gauge("allowance_residual", "Allowances in force that nothing needs; must be 0")
        self._left: dict[int, tuple[Grant, ...]] = {}
        self._planning = metrics.histogram("planning_seconds", "From a verdict or exit to its plan")
        self._sending = metrics.histogram("verdict_to_send_seconds", "From a verdict or exit to bytes at the node")

    def planned(self, intent: IntentCreated, seconds: float) -> None:
        """An intent was journalled."""
        self._intents.labels(intent.mode.value, intent.purpose.value).inc()
        self._planning.observe(seconds)
        self._log.info(
            "intent_planned", intent_id=intent.id, book_id=intent.book_id, mode=intent.mode, purpose=intent.purpose
        )

    def refused(self, subject_id: str, book_id: str, outcome: str, reasons: tuple[str, ...]) -> None:
        """A book does nothing about a verdict or an exit."""
        self._refusals.labels(outcome).inc()
        self._log.info("refused", subject_id=subject_id, book_id=book_id, outcome=outcome, reasons=reasons)

    def planned_for_later(self, subject_id: str, reason: str) -> None:
        """A trade waits for a block in which gas is cheaper."""
        self._waits.inc()
        self._log.info("planned_for_later", subject_id=subject_id, reason=reason)

    def sent(self, intent_id: str, seconds: float) -> None:
        """A transaction was handed to the node for the first time."""
        self._sending.observe(seconds)
        self._log.info("transaction_sent", intent_id=intent_id, ms=round(seconds * 1e3, 3))

    def held_back(self, intent_id: str, reason: str) -> None:
        """Trading was stopped after an entry was planned, and before it was signed."""
        self._held.inc()
        self._log.warning("entry_held_back", intent_id=intent_id, reason=reason)

    def changed(self, intent_id: str, state: TxState, reason: str | None) -> None:
        """A slot moved on."""
        self._changes.labels(state.value).inc()
        self._log.info("transaction_changed", intent_id=intent_id, state=state, reason=reason)

    def denied(self, intent_id: str, error: Exception) -> None:
        """The signer, or the encoding, refused a payload, or the signer could not be asked."""
        reason = error.reason.value if isinstance(error, SigningDenied) else type(error).__name__
        self._denials.labels(reason).inc()
        self._log.error("signing_denied", intent_id=intent_id, denial=reason, reason=str(error))

    def pass_failed(self, chain_id: int, reason: str) -> None:
        """The node or the journal did not answer; the next block tries again."""
        self._failures.inc()
        self._log.warning("pass_failed", chain_id=chain_id, reason=reason)

    def lease_taken(self, chain_id: int, epoch: int, seconds: float) -> None:
        """This instance acts from now on."""
        self._acts.labels(chain_id).set(1)
        self._epoch.labels(chain_id).set(epoch)
        self._changes_of_holder.labels("taken").inc()
        self._takeover.labels(chain_id).observe(seconds)
        self._log.info("lease_taken", chain_id=chain_id, epoch=epoch, ms=round(seconds * 1e3, 1))

    def lease_lost(self, chain_id: int, epoch: int, holder: str) -> None:
        """This instance acts no more; another one does, or will in a moment."""
        self._acts.labels(chain_id).set(0)
        self._changes_of_holder.labels("lost").inc()
        self._log.warning("lease_lost", chain_id=chain_id, epoch=epoch, holder=holder)

    def slots_filled_in(self, chain_id: int, account: str, nonces: Sequence[int]) -> None:
        """An older journal was brought up to what the signer has on record."""
        self._log.warning("slots_filled_in", chain_id=chain_id, account=account, nonces=list(nonces))

    def live_refused(self, chain_id: int, book_id: str, reason: str) -> None:
        """A live book may not trade here."""
        self._log.error("live_book_refused", chain_id=chain_id, book_id=book_id, reason=reason)

    def open_slots(self, count: int) -> None:
        """How many slots are open."""
        self._open.set(count)

    def allowances_left(self, chain_id: int, residual: Sequence[Grant]) -> None:
        """What a look at the allowances of a chain's accounts found in force without a need."""
        found = tuple(residual)
        if found and found != self._left.get(chain_id):
            names = [f"{one.token} to {one.spender}{' inside Permit2' if one.in_permit2 else ''}" for one in found]
            self._log.error("allowances_left", chain_id=chain_id, grants=names)
        self._left[chain_id] = found
        self._residual.set(sum(len(grants) for grants in self._left.values()))
