"""Which pools a token's executed checks are made in, and what those of several pools say together.

A token may be sold freely in one pool and not at all in another, so a route is judged by the pools it goes through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dexlane.domain.risk.evidence import Seen, TrialFacts
from dexlane.values.pools import Pool, Protocol
from dexlane.values.routes import Route

TokenInPool = tuple[str, str]
"""Addresses of a token and of a pool that trades it."""
TRIABLE = frozenset({Protocol.UNISWAP_V2, Protocol.UNISWAP_V3})
"""Protocols whose pools a check can trade in; a token in any other pool is unknown there."""
_BY_GRAVITY = ("safe", "unknown", "unsafe")


def pairs_of(route: Route) -> tuple[TokenInPool, ...]:
    """Every token of a route with every pool that the route trades it in, each once, in the order of the route."""
    found = ((token, leg.pool) for leg in route.legs for token in (leg.token_in, leg.token_out))
    return tuple(dict.fromkeys(found))


def pairs_in(pools: Mapping[str, Pool]) -> tuple[TokenInPool, ...]:
    """Every token with every pool of these that a check can trade it in."""
    return tuple(
        (token.address, pool.key.address)
        for pool in pools.values()
        for token in pool.key.tokens
        if pool.key.protocol in TRIABLE
    )


def together(trials: Sequence[Seen[TrialFacts]]) -> Seen[TrialFacts]:
    """Checks of one token in several pools as one: the gravest verdict with its reasons and pool, the highest taxes,
    the age of the oldest. A tax that one of them did not measure is not known."""
    worst = max(trials, key=lambda seen: _BY_GRAVITY.index(seen.value.verdict)).value
    taxes = {
        name: _highest(getattr(seen.value, name) for seen in trials)
        for name in ("buy_tax_bps", "sell_tax_bps", "transfer_tax_bps")
    }
    known = {
        "age_s": _least(seen.value.age_s for seen in trials),
        "lp_locked_bps": _least(seen.value.lp_locked_bps for seen in trials),
        "top_holder_bps": _highest(seen.value.top_holder_bps for seen in trials),
    }
    flags = tuple(sorted({flag for seen in trials for flag in seen.value.flags}))
    facts = worst.model_copy(update={**taxes, **known, "flags": flags})
    return Seen(facts, min(seen.block for seen in trials), min(seen.at_ms for seen in trials))


def _highest(found: Iterable[int | None]) -> int | None:
    figures = list(found)
    known = [figure for figure in figures if figure is not None]
    return max(known) if len(known) == len(figures) else None


def _least(found: Iterable[int | None]) -> int | None:
    highest = _highest(None if figure is None else -figure for figure in found)
    return None if highest is None else -highest
