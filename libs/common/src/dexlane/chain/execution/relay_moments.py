"""The named moments of private relays: what each was given, what it said, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping

from dexlane.domain.publish_answers import PublishAnswer
from dexlane.domain.relay_scores import Fault, RelayScore
from dexlane.events.execution import SendPath
from dexlane.runtime.observability import Log, Metrics


class RelayMoments:
    """What is worth knowing about relays. The counts begin anew with each process, as the scores do."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        who = ("chain_id", "relay")
        self._sent = metrics.counter("relay_sends_total", "Attempts given to a relay", who)
        self._answers = metrics.counter("relay_answers_total", "What relays answered", (*who, "answer"))
        self._outcomes = metrics.counter("relay_outcomes_total", "What came of what a relay held", (*who, "outcome"))
        self._waited = metrics.histogram(
            "relay_inclusion_blocks", "Blocks from giving to inclusion", who, buckets=(1, 2, 3, 5, 8, 13, 25)
        )
        self._faults = metrics.counter("relay_faults_total", "What relays did wrong", (*who, "fault"))
        self._usable = metrics.gauge("relay_usable", "1 while a relay is used, 0 while it is left alone", who)
        self._paths = metrics.counter("submission_paths_total", "Trades by the way they were to leave", ("path",))

    def chose(self, subject_id: str, book_id: str, path: SendPath, reason: str, value_wei: int | None) -> None:
        """A trade of a book that asks for relays goes one way or the other."""
        self._paths.labels(path.value).inc()
        self._log.info(
            "path_chosen", subject_id=subject_id, book_id=book_id, path=path, reason=reason, sandwich_wei=value_wei
        )

    def sent(self, chain_id: int, relay: str, intent_id: str, attempt: int) -> None:
        """Bytes are on their way to a relay."""
        self._sent.labels(chain_id, relay).inc()
        self._log.debug("relay_given", relay=relay, intent_id=intent_id, attempt=attempt)

    def answered(self, chain_id: int, relay: str, intent_id: str, answer: PublishAnswer, text: str) -> None:
        """A relay answered, or did not in time."""
        self._answers.labels(chain_id, relay, answer.value).inc()
        ordinary = answer in {PublishAnswer.ACCEPTED, PublishAnswer.ALREADY_KNOWN}
        (self._log.debug if ordinary else self._log.warning)(
            "relay_answered", relay=relay, intent_id=intent_id, answer=answer, text=text[:300]
        )

    def included(self, chain_id: int, relay: str, intent_id: str, blocks: int, *, alone: bool) -> None:
        """What a relay held is in a block. Only where it alone held it is it known whose doing that was."""
        self._outcomes.labels(chain_id, relay, "included_first" if alone else "included_in_race").inc()
        self._waited.labels(chain_id, relay).observe(blocks)
        self._log.info("relay_included", relay=relay, intent_id=intent_id, blocks=blocks, alone=alone)

    def ended(self, chain_id: int, relay: str, intent_id: str, outcome: str) -> None:
        """What a relay held came to nothing with it: ``expired``, ``superseded`` or ``cancelled``."""
        self._outcomes.labels(chain_id, relay, outcome).inc()
        self._log.info("relay_hold_ended", relay=relay, intent_id=intent_id, outcome=outcome)

    def faulted(self, chain_id: int, relay: str, fault: Fault, text: str) -> None:
        """A relay did something wrong and is left alone for a while."""
        self._faults.labels(chain_id, relay, fault.value).inc()
        self._log.warning("relay_faulted", relay=relay, fault=fault, text=text[:300])

    def usable(self, chain_id: int, scores: Mapping[str, RelayScore], now_ms: int) -> None:
        """Which relays can be used now."""
        for relay, score in scores.items():
            self._usable.labels(chain_id, relay).set(not score.is_dropped(now_ms))
