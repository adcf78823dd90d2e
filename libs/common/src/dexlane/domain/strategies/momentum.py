"""Momentum: the price broke out upward over the last blocks and still rises; buy the base token."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from dexlane.domain.amm.quoting import InsufficientLiquidity, Quote, quote_exact_in, spot_price_ratio, virtual_reserves
from dexlane.domain.strategies.base import BlockContext, Finding, PoolsByBase, found, leg_through
from dexlane.events.market import BlockApplied
from dexlane.events.opportunity import OpportunityFound
from dexlane.values.amounts import BPS_DENOMINATOR, PIPS_DENOMINATOR, Amount, decimal_text
from dexlane.values.base import Value
from dexlane.values.pools import Pool
from dexlane.values.routes import Route
from dexlane.values.tokens import Token

_REORG_SLACK_BLOCKS = 64
"""Blocks kept beyond the look-back, so that a reorganisation does not empty the window."""

Price = tuple[int, int]
"""Quote units per base unit as numerator and denominator."""


class MomentumParameters(Value):
    """When a rise counts as a breakout, and what is bought then."""

    lookback_blocks: int = Field(default=20, ge=2, le=10_000)
    breakout_bps: int = Field(default=50, ge=1, le=100_000, description="least rise over the look-back")
    cooldown_blocks: int = Field(default=20, ge=1, le=100_000, description="blocks between two signals")
    size: Amount = Field(gt=0, description="what to spend, quote units")
    expected_drift_bps: int = Field(
        default=60, ge=1, le=10_000, description="assumed further rise: an estimate, to be judged by results"
    )
    deadline_blocks: int = Field(default=2, ge=1, le=100)


@dataclass(frozen=True, slots=True)
class _Moment:
    """Prices after one block, by pool."""

    number: int
    hash: str
    prices: Mapping[str, Price]


class Momentum:
    """Watches, for every base token, the price in the pool that is deepest now, against that same pool's past.

    State: the prices of the last blocks and the block of the last signal per base token. Both are connected by block
    hash, so the prices and signals of undone blocks are forgotten, and a missed block starts the window anew.
    """

    name = "momentum"
    version = 1

    def __init__(self, parameters: MomentumParameters, quote: Token) -> None:
        self._parameters = parameters
        self._quote = quote
        self._index = PoolsByBase(quote.address)
        self._moments: deque[_Moment] = deque(maxlen=parameters.lookback_blocks + 1 + _REORG_SLACK_BLOCKS)
        self._signalled: dict[str, int] = {}

    def on_block(self, context: BlockContext) -> list[OpportunityFound]:
        """One entry per base token that breaks out in this block."""
        self._rewind(context.event)
        self._remember(context)
        if len(self._moments) <= self._parameters.lookback_blocks:
            return []
        entries: list[OpportunityFound] = []
        for base, addresses in self._index.groups(context.book.pools).items():
            finding = None if self._is_cooling(base) else self._breakout(context.book.pools, base, addresses)
            if finding is not None:
                self._signalled[base] = context.event.block.number
                entries.append(found(self, context, finding))
        return entries

    def _rewind(self, event: BlockApplied) -> None:
        while self._moments and self._moments[-1].hash != event.parent_hash:
            self._moments.pop()
        number = event.block.number
        self._signalled = {base: block for base, block in self._signalled.items() if block < number}

    def _remember(self, context: BlockContext) -> None:
        pools = context.book.pools
        prices = dict(self._moments[-1].prices) if self._moments else {}
        for addresses in self._index.groups(pools).values():
            for address in addresses:
                if address in context.touched or address not in prices:
                    price = _price(pools[address], self._quote.address)
                    if price is None:
                        prices.pop(address, None)
                    else:
                        prices[address] = price
        block = context.event.block
        self._moments.append(_Moment(block.number, block.hash, prices))

    def _is_cooling(self, base: str) -> bool:
        last = self._signalled.get(base)
        return last is not None and self._moments[-1].number - last < self._parameters.cooldown_blocks

    def _breakout(self, pools: Mapping[str, Pool], base: str, addresses: tuple[str, ...]) -> Finding | None:
        deepest = max(addresses, key=lambda address: virtual_reserves(pools[address], self._quote.address)[0])
        rise_bps = self._rise_bps(deepest)
        if rise_bps is None or rise_bps < self._parameters.breakout_bps or not self._still_rises(deepest):
            return None
        pool = pools[deepest]
        quote = _whole_quote(pool, self._quote.address, self._parameters.size)
        fee_bps = -(-pool.key.fee_pips * BPS_DENOMINATOR // PIPS_DENOMINATOR)
        edge_bps = self._parameters.expected_drift_bps - fee_bps
        if quote is None or edge_bps <= 0:
            return None
        return Finding(
            route=Route(legs=(leg_through(pool, self._quote.address),)),
            size_hint=self._parameters.size,
            expected_out=quote.amount_out,
            edge_bps=edge_bps,
            deadline_blocks=self._parameters.deadline_blocks,
            signals=self._signals(pool, base, rise_bps, fee_bps),
        )

    def _rise_bps(self, address: str) -> int | None:
        """How much the price in this pool rose over the look-back, rounded down; None without a price to compare."""
        now = self._moments[-1].prices.get(address)
        then = self._moments[-1 - self._parameters.lookback_blocks].prices.get(address)
        if now is None or then is None:
            return None
        return now[0] * then[1] * BPS_DENOMINATOR // (now[1] * then[0]) - BPS_DENOMINATOR

    def _still_rises(self, address: str) -> bool:
        """True when the last change of the price within the look-back was upward."""
        now = self._moments[-1].prices[address]
        for back in range(2, self._parameters.lookback_blocks + 2):
            before = self._moments[-back].prices.get(address)
            if before is not None and before[0] * now[1] != now[0] * before[1]:
                return before[0] * now[1] < now[0] * before[1]
        return False

    def _signals(self, pool: Pool, base: str, rise_bps: int, fee_bps: int) -> dict[str, str]:
        parameters = self._parameters
        size = f"{decimal_text(parameters.size, self._quote.decimals)} {self._quote.symbol}"
        return {
            "breakout": f"{pool.key.token(base).symbol} rose {rise_bps} bps in {parameters.lookback_blocks} blocks "
            f"(at least {parameters.breakout_bps} count) and its last move was up",
            "edge": f"a further rise of {parameters.expected_drift_bps} bps is a set estimate, not a measurement; "
            f"the pool fee of {fee_bps} bps is taken off",
            "pool": f"{pool.key.address} is the deepest pool of the pair",
            "size": f"{size} as set; no second signal for {parameters.cooldown_blocks} blocks",
        }


def _price(pool: Pool, quote: str) -> Price | None:
    try:
        return spot_price_ratio(pool, pool.key.other(quote).address)
    except InsufficientLiquidity:
        return None


def _whole_quote(pool: Pool, token_in: str, amount_in: int) -> Quote | None:
    try:
        quote = quote_exact_in(pool, token_in, amount_in)
    except InsufficientLiquidity:
        return None
    return None if quote.partial or quote.amount_out == 0 else quote
