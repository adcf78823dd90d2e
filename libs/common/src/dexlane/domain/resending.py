"""When the same signed bytes may go out again: longer after each answer of the same kind, and never after some.

Bytes are sent again because nodes forget and answers get lost, not to change a node's mind. Time and jitter are
arguments; nothing is remembered across a restart, so that a restart sends everything once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dexlane.domain.publish_answers import PublishAnswer

DOUBLINGS = 16
FULL_BPS = 10_000


@dataclass(frozen=True, slots=True)
class Delay:
    """How long to leave a node alone after an answer: ``first_ms``, doubling up to ``longest_ms``."""

    first_ms: int
    longest_ms: int

    def wait_ms(self, times: int, jitter_bps: int) -> int:
        """The wait after the ``times``-th such answer in a row (from 1): half to all of the ceiling, by a jitter from 0
        to 9,999."""
        ceiling = min(self.longest_ms, self.first_ms << min(times - 1, DOUBLINGS))
        return ceiling * (FULL_BPS + jitter_bps) // (2 * FULL_BPS)


DELAYS: Mapping[PublishAnswer, Delay | None] = {
    # It is there. Said again now and then, for a node that forgets it silently and cannot be asked.
    PublishAnswer.ACCEPTED: Delay(12_000, 60_000),
    PublishAnswer.ALREADY_KNOWN: Delay(12_000, 60_000),
    # It may be there or not: the cheapest way to know is to say it again.
    PublishAnswer.UNKNOWN: Delay(500, 8_000),
    PublishAnswer.RATE_LIMITED: Delay(2_000, 60_000),
    # Relays are asked at each head; those that fail are left alone by their scores.
    PublishAnswer.UNSENT: Delay(250, 4_000),
    PublishAnswer.POOL_FULL: Delay(2_000, 30_000),
    # The lower slot goes first; this one follows at the next head.
    PublishAnswer.NONCE_TOO_HIGH: Delay(250, 4_000),
    # Receipts decide; only a reorganisation makes it worth saying again.
    PublishAnswer.NONCE_TOO_LOW: Delay(12_000, 120_000),
    # A bump is on its way when it is within the budget; else the base fee must fall.
    PublishAnswer.REPLACEMENT_UNDERPRICED: Delay(4_000, 60_000),
    PublishAnswer.FEE_TOO_LOW: Delay(1_000, 30_000),
    # At the same price; a balance that suffices ends the wait at once.
    PublishAnswer.INSUFFICIENT_FUNDS: Delay(4_000, 120_000),
    # Never again: the same bytes get the same answer.
    PublishAnswer.REVERTED: None,
    PublishAnswer.OVER_BLOCK_GAS: None,
    PublishAnswer.UNUSABLE: None,
}


@dataclass(frozen=True, slots=True)
class Patience:
    """The last answer to one attempt, how often in a row it came, and when the bytes may go out again.

    ``resend_at_ms`` is a monotonic time; None means never.
    """

    answer: PublishAnswer
    times: int
    resend_at_ms: int | None

    def is_over(self, now_ms: int, *, hurried: bool = False) -> bool:
        """Whether the bytes may go out again. ``hurried``: something changed since, so that waiting serves nothing."""
        return self.resend_at_ms is not None and (hurried or now_ms >= self.resend_at_ms)


def after_answer(before: Patience | None, answer: PublishAnswer, now_ms: int, jitter_bps: int) -> Patience:
    """The patience after one more answer. The jitter, from 0 to 9,999, spreads what many clients
    send."""
    times = before.times + 1 if before is not None and before.answer is answer else 1
    delay = DELAYS[answer]
    return Patience(answer, times, None if delay is None else now_ms + delay.wait_ms(times, jitter_bps))
