"""What a breaker has seen lately, and the figures that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dexlane.domain.breakers.policy import HOUR_MS, LEVELS, LIMITS, BreakerPolicy
from dexlane.events.breakers import BreakerKind, BreakerReading
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.base import Value

MAX_SAMPLES = 256
"""So many are kept of one breaker; what is beyond is folded so that it can only count for more."""
PPM_PER_BPS = 100
COUNTED = frozenset({BreakerKind.TRANSACTION, BreakerKind.DEX, BreakerKind.RPC, BreakerKind.SLIPPAGE})
"""Kinds whose figure is how many samples are bad, or their share."""


class Sample(Value):
    """Something that was seen: the ``number``-th of its breaker. ``key`` tells apart what is measured by itself, such
    as books. ``value`` is None when it could not be read.

    =============== ===========================================================================
    transaction     1 failed, 0 came through
    dex             1 reverted, 0 came through
    rpc             1 failed or contradicted, 0 answered
    gas             wei per gas
    slippage        basis points of the tolerance that a fill used up
    latency         milliseconds
    losses          realised result of a trade, parts per million of the lane's capital
    volatility      reference price, in any unit that stays the same
    drawdown        equity, in quote units
    =============== ===========================================================================
    """

    number: int
    at_ms: int
    value: int | None
    key: str = ""


def readable(policy: BreakerPolicy, value: object) -> int | None:
    """The value of a sample: an integer, and nothing else. A float may be no number, and a price is above zero."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return None if policy.kind is BreakerKind.VOLATILITY and value <= 0 else value


def is_bad(policy: BreakerPolicy, sample: Sample) -> bool:
    """Whether one sample by itself speaks against trading; one that cannot be read does."""
    value = sample.value
    if value is None:
        return True
    if policy.kind is BreakerKind.SLIPPAGE:
        return value >= policy.limits["used_tolerance_bps"]
    if policy.kind is BreakerKind.LATENCY:
        return value >= policy.limits["p95_ms"]
    return value < 0 if policy.kind is BreakerKind.LOSSES else value > 0


def kept(policy: BreakerPolicy, samples: Sequence[Sample], now_ms: int) -> tuple[Sample, ...]:
    """The samples that count, oldest first. Of a level the newest of each key stays whatever its age, because its age
    is judged."""
    oldest_ms = now_ms - policy.window_ms
    if isinstance(samples, tuple) and len(samples) <= MAX_SAMPLES and (not samples or samples[0].at_ms > oldest_ms):
        return samples  # they come in the order of time
    newest = {sample.key: sample.number for sample in samples} if policy.kind in LEVELS else {}
    inside = [one for one in samples if one.at_ms > oldest_ms or newest.get(one.key) == one.number]
    if len(inside) <= MAX_SAMPLES:
        return tuple(inside)
    if policy.kind is BreakerKind.LOSSES:
        return _summed(inside)
    return _thinned(inside) if policy.kind in LEVELS else tuple(inside[-MAX_SAMPLES:])


def _summed(samples: list[Sample]) -> tuple[Sample, ...]:
    """The oldest results become one for each key, dated like the newest of them: they count for longer, not less."""
    folded, rest = samples[: -MAX_SAMPLES // 2], samples[-MAX_SAMPLES // 2 :]
    sums: dict[str, Sample] = {}
    for sample in folded:
        before = sums.get(sample.key)
        total = (sample.value or 0) + (0 if before is None else before.value or 0)
        sums[sample.key] = sample.model_copy(update={"value": total})
    return (*sorted(sums.values(), key=lambda one: one.number), *rest)


def _thinned(samples: list[Sample]) -> tuple[Sample, ...]:
    """Of the older half only the extremes of each key stay: every range and fall that was seen is still seen."""
    older, rest = samples[: -MAX_SAMPLES // 2], samples[-MAX_SAMPLES // 2 :]
    extremes: dict[tuple[str, bool], Sample] = {}
    for sample in older:
        if sample.value is None:
            continue
        for is_top in (True, False):
            at = extremes.get((sample.key, is_top))
            # The later of two alike: it counts for longer.
            if at is None or at.value is None or (sample.value >= at.value if is_top else sample.value <= at.value):
                extremes[sample.key, is_top] = sample
    newest = {sample.key: sample for sample in samples}.values()
    chosen = {one.number: one for one in (*extremes.values(), *newest, *rest)}
    return tuple(chosen[number] for number in sorted(chosen))


def readings(policy: BreakerPolicy, samples: Sequence[Sample], since: int, now_ms: int) -> tuple[BreakerReading, ...]:
    """Every figure beside its limit. Samples numbered above ``since`` count, and all of them where the figure is a sum
    or a level. None where there are too few to judge."""
    fresh = samples if policy.kind in LEVELS else [one for one in samples if one.number > since]
    if policy.kind is BreakerKind.LOSSES:
        values: Mapping[str, int | None] = _losses(samples, fresh, now_ms)
    else:
        name = next(iter(LIMITS[policy.kind]))
        values = {name: _figure(policy, fresh) if len(fresh) >= policy.min_samples else None}
    return tuple(BreakerReading(name=name, value=value, limit=policy.limits[name]) for name, value in values.items())


def _figure(policy: BreakerPolicy, fresh: Sequence[Sample]) -> int | None:
    """The one figure of a kind that has only one."""
    if policy.kind in COUNTED:
        bad = sum(is_bad(policy, one) for one in fresh)
        return bad * BPS_DENOMINATOR // len(fresh) if policy.kind is BreakerKind.RPC else bad
    known = [(one.key, one.value) for one in fresh if one.value is not None]
    match policy.kind:
        case BreakerKind.LATENCY:
            found = _p95([value for _, value in known])
        case BreakerKind.GAS:
            found = known[-1][1] if known else None
        case BreakerKind.VOLATILITY:
            found = _range_bps(known)
        case _:
            found = _drawdown_bps(known)
    return found


def _p95(values: list[int]) -> int | None:
    """The smallest value that at least 95 of 100 do not exceed."""
    return sorted(values)[-(-len(values) * 95 // 100) - 1] if values else None


def _range_bps(prices: Iterable[tuple[str, int]]) -> int | None:
    """Highest over lowest price, less one; the widest of all keys."""
    by_key = _by_key(prices)
    return max(((max(ones) - min(ones)) * BPS_DENOMINATOR // min(ones) for ones in by_key.values()), default=None)


def _drawdown_bps(equities: Iterable[tuple[str, int]]) -> int | None:
    """How far the newest equity lies below the highest, of that; the deepest of all keys. Of what never was above zero
    nothing can be lost."""
    falls = [
        (max(ones) - ones[-1]) * BPS_DENOMINATOR // max(ones) if max(ones) > 0 else 0
        for ones in _by_key(equities).values()
    ]
    return max(falls, default=None)


def _losses(samples: Sequence[Sample], fresh: Sequence[Sample], now_ms: int) -> Mapping[str, int | None]:
    runs: dict[str, int] = {}
    for one in fresh:
        runs[one.key] = runs.get(one.key, 0) + 1 if is_bad_result(one) else 0
    day: dict[str, int] = {}
    hour: dict[str, int] = {}
    for one in samples:
        day[one.key] = day.get(one.key, 0) + (one.value or 0)
        if one.at_ms > now_ms - HOUR_MS:
            hour[one.key] = hour.get(one.key, 0) + (one.value or 0)
    return {
        "losses_in_a_row": max(runs.values(), default=0),
        "hour_loss_bps": max((-total // PPM_PER_BPS for total in hour.values()), default=0),
        "day_loss_bps": max((-total // PPM_PER_BPS for total in day.values()), default=0),
    }


def is_bad_result(sample: Sample) -> bool:
    """A trade that lost, or of which nobody can say what it brought."""
    return sample.value is None or sample.value < 0


def _by_key(values: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for key, value in values:
        found.setdefault(key, []).append(value)
    return found


def why_blind(policy: BreakerPolicy, samples: Sequence[Sample], now_ms: int) -> str:
    """Why a level cannot be judged; empty when it can, and for kinds that are none."""
    if policy.kind not in LEVELS:
        return ""
    newest = {sample.key: sample for sample in samples}
    unread = sorted(key for key, sample in newest.items() if sample.value is None)
    if unread:
        of = ", ".join(key for key in unread if key)
        return f"its newest value{f' of {of}' if of else ''} cannot be read"
    if len(samples) < policy.min_samples:
        return f"it has {len(samples)} of the {policy.min_samples} values it needs"
    age_ms = now_ms - max(sample.at_ms for sample in samples)
    if age_ms > policy.max_age_ms:
        return f"its newest value is {age_ms} ms old, more than {policy.max_age_ms} ms"
    return ""
