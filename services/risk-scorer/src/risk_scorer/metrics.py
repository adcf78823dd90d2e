"""Named moments of risk-scorer: each logs once and counts once."""

from __future__ import annotations

from dexlane.domain.risk.evidence import CodeFacts, TrialFacts
from dexlane.events.risk import TokenFlagged, VerdictApproved, VerdictRejected
from dexlane.runtime.observability import Log, Metrics

_SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 2)


class Moments:
    """What can happen in risk-scorer."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._verdicts = metrics.counter("verdicts_total", "Verdicts by outcome and lane", ("outcome", "lane"))
        self._seconds = metrics.histogram(
            "verdict_seconds", "From opportunity to verdict, publishing excluded", ("evidence",), _SECONDS
        )
        self._scores = metrics.histogram("risk_score", "Risk scores given", buckets=range(0, 101, 10))
        self._flags = metrics.counter("tokens_flagged_total", "Findings against tokens", ("flag",))
        self._refreshed = metrics.counter("token_facts_read_total", "Tokens about which the node was asked")
        self._failed = metrics.counter("gathering_failed_total", "Times when the node gave no token facts")
        self._tried = metrics.counter("tokens_tried_total", "Executed checks of tokens", ("verdict",))
        self._trial_seconds = metrics.histogram("trial_seconds", "Time of an executed check", (), _SECONDS)
        self._trial_failed = metrics.counter("trials_failed_total", "Times when the node made no executed check")
        self._codes = metrics.counter("codes_judged_total", "Codes of tokens that were judged", ("outcome",))
        self._cache = metrics.counter("cache_lost_total", "Times when the cache did not answer")

    def approved(self, verdict: VerdictApproved, seconds: float, *, held: bool) -> None:
        """Nothing speaks against an opportunity."""
        self._verdicts.labels("approved", verdict.lane).inc()
        self._judged(verdict, seconds, held=held)
        self._log.debug("approved", opportunity_id=verdict.opportunity.id, lane=verdict.lane, risk=verdict.risk_score)

    def rejected(self, verdict: VerdictRejected, seconds: float, *, held: bool) -> None:
        """At least one veto."""
        self._verdicts.labels("rejected", "none").inc()
        self._judged(verdict, seconds, held=held)
        self._log.info("rejected", opportunity_id=verdict.opportunity.id, vetoes=list(verdict.vetoes))

    def _judged(self, verdict: VerdictApproved | VerdictRejected, seconds: float, *, held: bool) -> None:
        self._seconds.labels("held" if held else "gathered").observe(seconds)
        self._scores.observe(verdict.risk_score)

    def token_flagged(self, event: TokenFlagged) -> None:
        """Something speaks against a token."""
        self._flags.labels(event.flag).inc()
        self._log.warning("token_flagged", token=event.token, flag=event.flag, reason=event.reason)

    def facts_read(self, tokens: int) -> None:
        """The node told about this many tokens."""
        self._refreshed.inc(tokens)
        self._log.debug("token_facts_read", tokens=tokens)

    def gathering_failed(self, reason: str) -> None:
        """The node told nothing; what is needed and missing will be a veto."""
        self._failed.inc()
        self._log.warning("gathering_failed", reason=reason)

    def token_tried(self, facts: TrialFacts, seconds: float) -> None:
        """A token was bought and sold in simulated blocks."""
        self._tried.labels(facts.verdict).inc()
        self._trial_seconds.observe(seconds)
        self._log.info("token_tried", token=facts.address, verdict=facts.verdict, flags=list(facts.flags))

    def trial_failed(self, token: str, reason: str) -> None:
        """The node made no executed check; where one is needed and missing, that will be a veto."""
        self._trial_failed.inc()
        self._log.warning("trial_failed", token=token, reason=reason)

    def code_judged(self, code_hash: str, facts: CodeFacts) -> None:
        """What a code allows is known."""
        self._codes.labels("complete" if facts.complete else "incomplete").inc()
        self._log.info("code_judged", code_hash=code_hash, score=facts.score, flags=list(facts.flags))

    def code_not_judged(self, code_hash: str, reason: str) -> None:
        """The process that judges codes is gone; the contract score counts that."""
        self._codes.labels("failed").inc()
        self._log.warning("code_not_judged", code_hash=code_hash, reason=reason)

    def cache_lost(self, reason: str) -> None:
        """The cache did not answer; facts come from the node."""
        self._cache.inc()
        self._log.warning("cache_lost", reason=reason)
