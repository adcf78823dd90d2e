"""Pools as users write them in JSON: one object per pool, big numbers as decimal strings.

What a contract cannot hold is refused by name, so that no quote is given on a pool that cannot exist.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from dexlane.domain.amm.constant_product import MAX_RESERVE
from dexlane.domain.amm.tick_math import (
    MAX_SQRT_RATIO,
    MAX_TICK,
    MIN_SQRT_RATIO,
    MIN_TICK,
    sqrt_ratio_at_tick,
    tick_at_sqrt_ratio,
)
from dexlane.values.pools import ConcentratedState, ConstantProductState, Tick

BAD_LINE = "bad_line"
BAD_TICKS = "bad_ticks"
UNSUPPORTED_PROTOCOL = "unsupported_protocol"

_MAX_UINT128 = (1 << 128) - 1
_MAX_DIGITS = 78
"""2 ** 256 has 78 digits."""


class LineError(ValueError):
    """A line that cannot be used: ``name`` is what the contract of the command calls it, the message says why."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name


class ReservePool(NamedTuple):
    """A constant-product pool."""

    state: ConstantProductState
    fee_pips: int


class TickedPool(NamedTuple):
    """A pool with ticks."""

    state: ConcentratedState
    fee_pips: int
    tick_spacing: int


def pool_of(fields: dict[str, Any]) -> ReservePool | TickedPool:
    """The pool that a line defines. Raises ``LineError`` for what no contract holds; other fields are not looked at."""
    protocol = fields.get("protocol")
    if protocol == "uniswap_v2":
        return _reserve_pool(fields)
    if protocol == "uniswap_v3":
        return _ticked_pool(fields)
    if isinstance(protocol, str):
        raise LineError(UNSUPPORTED_PROTOCOL, f"the protocols are uniswap_v2 and uniswap_v3, not {protocol!r}")
    raise LineError(BAD_LINE, "protocol is not a string")


def is_number(text: object) -> bool:
    """Whether this is a decimal string of a non-negative integer: digits alone, no leading zero."""
    return (
        isinstance(text, str)
        and text.isdecimal()
        and text.isascii()
        and len(text) <= _MAX_DIGITS
        and (text[0] != "0" or text == "0")
    )


def _reserve_pool(fields: dict[str, Any]) -> ReservePool:
    fee_bps = _whole(fields, "fee_bps", 0, 9_999)
    reserve0, reserve1 = _number(fields, "reserve0", MAX_RESERVE), _number(fields, "reserve1", MAX_RESERVE)
    state = ConstantProductState.unchecked(reserve0, reserve1)
    return ReservePool(state, fee_bps * 100)


def _ticked_pool(fields: dict[str, Any]) -> TickedPool:
    fee_pips = _whole(fields, "fee", 0, 999_999)
    spacing = _whole(fields, "tick_spacing", 1, 16_383)
    tick = _whole(fields, "tick", -(1 << 31), 1 << 31)
    price = _number(fields, "sqrt_price_x96", MAX_SQRT_RATIO - 1)
    liquidity = _number(fields, "liquidity", _MAX_UINT128)
    if "ticks" not in fields:
        raise LineError(BAD_LINE, "ticks is missing")
    ticks = _ticks(fields["ticks"], spacing)
    if price:
        _check_price(price, tick)
        _check_liquidity(ticks, tick, liquidity)
    elif tick or liquidity or ticks:
        raise LineError(BAD_LINE, "a pool without a price has neither tick nor liquidity")
    state = ConcentratedState.unchecked(price, tick, liquidity, ticks)
    return TickedPool(state, fee_pips, spacing)


def _ticks(entries: object, spacing: int) -> tuple[Tick, ...]:
    if not isinstance(entries, list):
        raise LineError(BAD_TICKS, "ticks is not a list")
    ticks = tuple(_tick(entry) for entry in entries)
    for tick in ticks:
        if tick.tick % spacing or not MIN_TICK <= tick.tick <= MAX_TICK:
            raise LineError(BAD_TICKS, f"tick {tick.tick} is no multiple of {spacing} from {MIN_TICK} to {MAX_TICK}")
    for one, other in pairwise(ticks):
        if one.tick >= other.tick:
            raise LineError(BAD_TICKS, f"tick {other.tick} stands after {one.tick}")
    return ticks


def _tick(entry: object) -> Tick:
    if not (isinstance(entry, list) and len(entry) == 2 and type(entry[0]) is int and isinstance(entry[1], str)):
        raise LineError(BAD_TICKS, 'a tick is written [tick, "liquidity_net"]')
    digits = entry[1].removeprefix("-")
    net = int(entry[1]) if is_number(digits) else 1 << 127
    if not -(1 << 127) <= net < 1 << 127:
        raise LineError(BAD_TICKS, f"the net liquidity of tick {entry[0]} is no int128 in decimal digits")
    return Tick(entry[0], abs(net), net)


def _check_price(price: int, tick: int) -> None:
    if price < MIN_SQRT_RATIO:
        raise LineError(BAD_LINE, f"sqrt_price_x96 is below the price of tick {MIN_TICK}")
    found = tick_at_sqrt_ratio(price)
    # A swap down that ends exactly on a tick leaves the pool one tick below it.
    if tick != found and not (tick == found - 1 and price == sqrt_ratio_at_tick(found)):
        raise LineError(BAD_TICKS, f"sqrt_price_x96 lies in tick {found}, not in tick {tick}")


def _check_liquidity(ticks: tuple[Tick, ...], current: int, liquidity: int) -> None:
    active = here = 0
    for tick in ticks:
        active += tick.liquidity_net
        if not 0 <= active <= _MAX_UINT128:
            raise LineError(BAD_TICKS, f"liquidity would be {active} above tick {tick.tick}")
        if tick.tick <= current:
            here = active
    if active:
        raise LineError(BAD_TICKS, f"liquidity would still be {active} above the last tick")
    if here != liquidity:
        raise LineError(BAD_TICKS, f"the ticks up to {current} sum up to {here}, not to the liquidity {liquidity}")


def _whole(fields: dict[str, Any], name: str, least: int, most: int) -> int:
    value = fields.get(name)
    if type(value) is not int or not least <= value <= most:
        raise LineError(BAD_LINE, f"{name} is not a whole number from {least} to {most}")
    return value


def _number(fields: dict[str, Any], name: str, most: int) -> int:
    value = fields.get(name)
    if not is_number(value) or int(value) > most:  # type: ignore[arg-type]
        raise LineError(BAD_LINE, f"{name} is not a decimal string from 0 to {most}")
    return int(value)  # type: ignore[arg-type]
