"""The named moments between signed bytes and finality: what nodes answered, and what the providers are worth."""

from __future__ import annotations

from dexlane.domain.publish_answers import PublishAnswer
from dexlane.runtime.observability import Log, Metrics


class SendingMoments:
    """What is worth knowing while transactions are on their way."""

    def __init__(self, metrics: Metrics, log: Log) -> None:
        self._log = log
        who = ("chain_id", "provider")
        self._answers = metrics.counter("publish_answers_total", "Answers to sent transactions", ("answer",))
        self._again = metrics.counter("rebroadcasts_total", "Same bytes handed to providers once more")
        self._bumps = metrics.histogram(
            "attempts_per_slot", "Signed attempts of a slot at its end", buckets=(1, 2, 3, 5, 8, 13, 21)
        )
        self._oldest = metrics.gauge(
            "oldest_open_slot_blocks", "Age of the oldest slot that is not final", ("chain_id",)
        )
        self._gaps = metrics.gauge("nonce_gaps", "Slots no node knows, below one that was signed", ("chain_id",))
        self._lags = metrics.counter(
            "receipt_lag_heads_total", "Heads at which a used slot had no receipt", ("chain_id",)
        )
        self._short = metrics.gauge("accounts_short_of_funds", "Accounts that cannot pay for their gas", ("chain_id",))
        self._hopeless = metrics.counter("trades_given_up_total", "Trades given up before inclusion", ("reason",))
        self._heard = metrics.gauge("providers_heard", "Providers that answered at the last block", ("chain_id",))
        self._missed = metrics.gauge("heads_without_provider", "Blocks in a row no provider answered at", ("chain_id",))
        self._left_out = metrics.counter("provider_left_out_total", "Times a provider was left out", who)
        self._disagreed = metrics.counter("provider_disagreements_total", "Contradictions about something final", who)
        self._failures = metrics.counter("look_up_failures_total", "Look-ups that a provider did not answer", who)

    def answered(self, intent_id: str, provider: str, answer: PublishAnswer, text: str) -> None:
        """A provider answered to signed bytes."""
        self._answers.labels(answer.value).inc()
        ordinary = answer in {PublishAnswer.ACCEPTED, PublishAnswer.ALREADY_KNOWN}
        (self._log.debug if ordinary else self._log.warning)(
            "transaction_answered", intent_id=intent_id, provider=provider, answer=answer, text=text[:300]
        )

    def sent_again(self, intent_id: str, number: int) -> None:
        """The same bytes went out once more."""
        self._again.inc()
        self._log.debug("transaction_sent_again", intent_id=intent_id, attempt=number)

    def given_up(self, intent_id: str, reason: str) -> None:
        """A trade is not wanted any more; a cancel takes its slot unless it is included before."""
        self._hopeless.labels(reason).inc()
        self._log.warning("trade_given_up", intent_id=intent_id, reason=reason)

    def ended(self, intent_id: str, attempts: int) -> None:
        """A slot came to its end."""
        self._bumps.observe(attempts)
        self._log.debug("slot_ended", intent_id=intent_id, attempts=attempts)

    def looked_at(self, chain_id: int, *, oldest_blocks: int, gaps: int, short_of_funds: int) -> None:
        """A pass over the open slots is done."""
        self._oldest.labels(chain_id).set(oldest_blocks)
        self._gaps.labels(chain_id).set(gaps)
        self._short.labels(chain_id).set(short_of_funds)

    def receipt_lags(self, chain_id: int, intent_id: str) -> None:
        """The slot's nonce is used, and no receipt of ours is there that can be booked."""
        self._lags.labels(chain_id).inc()
        self._log.warning("receipt_lags", chain_id=chain_id, intent_id=intent_id)

    def quorum(self, chain_id: int, providers: int, quorum: int) -> None:
        """How many providers must agree on what is terminal."""
        say = self._log.info if quorum > 1 else self._log.warning
        say("quorum_of_providers", chain_id=chain_id, providers=providers, quorum=quorum)

    def heard(self, chain_id: int, providers: int, missed_heads: int) -> None:
        """So many providers answered at a block."""
        self._heard.labels(chain_id).set(providers)
        self._missed.labels(chain_id).set(missed_heads)

    def left_out(self, chain_id: int, provider: str, reason: str) -> None:
        """A provider is not listened to, or (without a reason) it is again."""
        if reason:
            self._left_out.labels(chain_id, provider).inc()
            self._log.warning("provider_left_out", chain_id=chain_id, provider=provider, reason=reason)
        else:
            self._log.info("provider_heard_again", chain_id=chain_id, provider=provider)

    def disagreed(self, chain_id: int, provider: str, about: str) -> None:
        """A provider contradicts another one about something final."""
        self._disagreed.labels(chain_id, provider).inc()
        self._log.error("provider_disagrees", chain_id=chain_id, provider=provider, about=about)

    def look_up_failed(self, chain_id: int, provider: str, reason: str) -> None:
        """A provider left a look-up unanswered; the next block asks again."""
        self._failures.labels(chain_id, provider).inc()
        self._log.warning("look_up_failed", chain_id=chain_id, provider=provider, reason=reason[:300])
