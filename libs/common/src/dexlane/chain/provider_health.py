"""How well one provider serves a chain, as a pure state machine: facts with their time in, a judgement out."""

from __future__ import annotations

from dataclasses import dataclass

PLAUSIBLE_LEAD = 10_000
"""A head that is further ahead of another one is not believed: it would make every honest provider look late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPolicy:
    """When a provider is not to be used. Times in milliseconds.

    A head ``max_lag_blocks`` or more behind the others for ``lag_for_ms``, or no head for ``silence_ms``: late or
    frozen. More than ``max_error_ratio`` of at least ``min_calls`` calls in about ``window_ms`` failed: troubled. A lie
    costs ``cool_down_ms``, each further one twice the last, up to ``longest_cool_down_ms``. A preferred provider is
    returned to when it was well for ``settle_ms``.
    """

    max_lag_blocks: int = 3
    lag_for_ms: int = 3_000
    silence_ms: int = 30_000
    window_ms: int = 30_000
    max_error_ratio: float = 0.5
    min_calls: int = 6
    cool_down_ms: int = 60_000
    longest_cool_down_ms: int = 3_600_000
    settle_ms: int = 30_000


@dataclass(slots=True)
class _Calls:
    began_ms: int = 0
    done: int = 0
    failed: int = 0


class ProviderHealth:
    """The judgement on one provider. Times are Unix or monotonic milliseconds, always of the same clock."""

    def __init__(self, policy: HealthPolicy) -> None:
        self.head: int | None = None
        """Number of its newest head; a reorganisation may lower it."""
        self.lies = 0
        self._policy = policy
        self._advanced_ms: int | None = None
        self._behind: tuple[int, int] | None = None
        """Since when it is behind, and the others' head."""
        self._now, self._before = _Calls(), _Calls()
        self._dropped_until_ms: int | None = None
        self._lie = ""
        self._fit_since_ms: int | None = None

    def head_seen(self, number: int, now_ms: int) -> None:
        """A head arrived, or the newest block was asked for."""
        if self.head != number or self._advanced_ms is None:
            self._advanced_ms = now_ms
        self.head = number

    def call_done(self, now_ms: int, *, failed: bool) -> None:
        """A call was answered, or it failed."""
        if now_ms - self._now.began_ms > self._policy.window_ms // 2:
            self._before, self._now = self._now, _Calls(now_ms)
        self._now.done += 1
        self._now.failed += failed

    def others_at(self, best: int | None, now_ms: int) -> None:
        """``best`` is the newest head of the other usable providers; None without any."""
        behind = (
            best is not None
            and self.head is not None
            and self._policy.max_lag_blocks <= best - self.head <= PLAUSIBLE_LEAD
        )
        if not behind or best is None:
            self._behind = None
        else:
            self._behind = (self._behind[0] if self._behind else now_ms, best)

    def drop(self, reason: str, now_ms: int) -> None:
        """It lied. What it says is not asked for until its cool-down has passed, and nothing of before counts then."""
        cool_down = min(self._policy.longest_cool_down_ms, self._policy.cool_down_ms << min(self.lies, 16))
        self.lies += 1
        self._lie, self._dropped_until_ms = reason, now_ms + cool_down
        self.head, self._advanced_ms, self._behind = None, None, None
        self._now, self._before = _Calls(now_ms), _Calls()

    def dropped(self, now_ms: int) -> str:
        """Why nothing may be asked of it; empty when something may."""
        if self._dropped_until_ms is None:
            return ""
        left = self._dropped_until_ms - now_ms
        if left > 0:
            return f"dropped for another {-(-left // 1000)} s because it {self._lie}"
        self._dropped_until_ms = None
        return ""

    def why_unfit(self, now_ms: int, *, connected: bool) -> str:
        """Why another provider is better; empty when it is fit."""
        reason = (
            self.dropped(now_ms)
            or ("" if connected else "is not connected")
            or self._why_troubled(now_ms)
            or self._why_behind(now_ms)
        )
        if reason:
            self._fit_since_ms = None
        elif self._fit_since_ms is None:
            self._fit_since_ms = now_ms
        return reason

    def is_settled(self, now_ms: int) -> bool:
        """Whether it was fit long enough to be returned to."""
        return self._fit_since_ms is not None and now_ms - self._fit_since_ms >= self._policy.settle_ms

    def _why_troubled(self, now_ms: int) -> str:
        recent = [calls for calls in (self._now, self._before) if now_ms - calls.began_ms <= self._policy.window_ms]
        done, failed = sum(calls.done for calls in recent), sum(calls.failed for calls in recent)
        if done >= self._policy.min_calls and failed > self._policy.max_error_ratio * done:
            return f"failed {failed} of {done} calls"
        return ""

    def _why_behind(self, now_ms: int) -> str:
        if self._behind is not None and now_ms - self._behind[0] >= self._policy.lag_for_ms:
            if self._advanced_ms is not None and now_ms - self._advanced_ms >= self._policy.lag_for_ms:
                return f"answers but is frozen at block {self.head} while others are at {self._behind[1]}"
            return f"is {self._behind[1] - (self.head or 0)} blocks behind"
        if self._advanced_ms is not None and now_ms - self._advanced_ms > self._policy.silence_ms:
            return f"answers but has had no new block for {(now_ms - self._advanced_ms) // 1000} s"
        return ""
