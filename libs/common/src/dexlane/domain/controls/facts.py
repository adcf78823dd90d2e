"""What controls are judged from, beside the exposure of the book: trades under way, trades just made, other books."""

from __future__ import annotations

from dataclasses import dataclass

from dexlane.events.execution import IntentCreated
from dexlane.events.risk import RiskFactor
from dexlane.values.routes import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTrade:
    """An entry or a gap that is under way, or whose fill is not in the exposure yet. ``token`` is what it buys, None
    for a gap, which holds nothing afterwards; ``amount`` is what it reserves, quote units."""

    strategy: str
    amount: int
    token: str | None = None
    pools: frozenset[str] = frozenset()

    @classmethod
    def of(cls, intent: IntentCreated, reserved: int) -> OpenTrade:
        """What an intent holds."""
        plan = intent.plan
        if plan is None or plan.route.is_cycle:
            return cls(strategy=intent.strategy, amount=reserved)
        pools = frozenset(leg.pool for path in plan.paths for leg in path.route.legs)
        return cls(strategy=intent.strategy, amount=reserved, token=plan.route.token_out, pools=pools)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainUse:
    """What all books of one mode and quote token have at work or reserved in one lane of a chain, and their capital
    there. ``used`` is None when it is not known of one of them."""

    used: int | None
    capital: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """The trade that is judged: its route as the book would trade it, its strategy, the capital of its lane, the
    largest entry that the level allows of that, and what risk-scorer scored."""

    route: Route
    strategy: str
    capital: int
    level_size: int
    factors: tuple[RiskFactor, ...] = ()


def direction_of(route: Route) -> str:
    """What makes two trades of a book the same one: the token bought, or the pools of a cycle."""
    return " ".join(sorted(leg.pool for leg in route.legs)) if route.is_cycle else route.token_out
