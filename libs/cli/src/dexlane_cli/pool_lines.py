"""Pools as JSON lines: the definitions that `dexlane quote` and `dexlane route` read.

A Uniswap V3 line has ``pool``, ``protocol``, ``fee`` (hundredths of a bip), ``tick_spacing``, ``sqrt_price_x96``,
``tick``, ``liquidity`` and ``ticks`` as ``[[tick, liquidity_net], ...]``; a Uniswap V2 line has ``pool``, ``protocol``,
``fee_bps``, ``reserve0`` and ``reserve1``. Both may say ``token0`` and ``token1``. Amounts are decimal strings or
integers. Pools and tokens are addresses or any other names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal

from dexlane.domain.amm.tick_math import MAX_SQRT_RATIO, MAX_TICK, MIN_SQRT_RATIO, MIN_TICK, tick_at_sqrt_ratio
from dexlane.values.amounts import parse_amount
from dexlane.values.base import digest
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, PoolKey, Protocol, Tick
from dexlane.values.tokens import Token

ErrorName = Literal["bad_line", "bad_ticks", "bad_amount", "unsupported_protocol"]

_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")
_MAX_RESERVE = (1 << 112) - 1
_MAX_LIQUIDITY = (1 << 128) - 1
_PIPS_IN_BPS = 100


class PoolLineError(ValueError):
    """A line that defines no pool. ``name`` is the error's name on the wire, the message one sentence for a person."""

    def __init__(self, name: ErrorName, sentence: str) -> None:
        super().__init__(sentence)
        self.name = name


def parse_pool(line: object) -> Pool:
    """The pool that a parsed JSON line defines. Raises :class:`PoolLineError`."""
    if not isinstance(line, dict):
        raise PoolLineError("bad_line", "a pool is a JSON object")
    protocol = line.get("protocol")
    if not isinstance(protocol, str):
        raise PoolLineError("bad_line", "the protocol is missing")
    parse = _PARSERS.get(protocol)
    if parse is None:
        known = ", ".join(sorted(_PARSERS))
        raise PoolLineError("unsupported_protocol", f"{protocol!r} is not one of {known}")
    return parse(line)


def address_of(name: str) -> str:
    """The address that a name of a pool or a token stands for: itself in lower case, or one made from the name."""
    if _ADDRESS.fullmatch(name):
        return name.lower()
    return "0x" + (digest("name", name) + digest("name again", name))[:40]


def _concentrated(line: Mapping[str, Any]) -> Pool:
    spacing = _integer(line, "tick_spacing", 1, 16_384)
    key = _key(line, Protocol.UNISWAP_V3, fee_pips=_integer(line, "fee", 0, 999_999), tick_spacing=spacing)
    price = _amount(line, "sqrt_price_x96", MAX_SQRT_RATIO - 1)
    tick, liquidity = _integer(line, "tick", MIN_TICK - 1, MAX_TICK), _amount(line, "liquidity", _MAX_LIQUIDITY)
    if 0 < price < MIN_SQRT_RATIO:
        raise PoolLineError("bad_amount", f"sqrt_price_x96 is below the least price {MIN_SQRT_RATIO}")
    # One below is right as well: that is where a falling price that ends exactly on a tick leaves it.
    if price and tick_at_sqrt_ratio(price) - tick not in {0, 1}:
        raise PoolLineError("bad_line", f"tick {tick} is not that of the price, {tick_at_sqrt_ratio(price)}")
    ticks = _ticks(line.get("ticks"), spacing)
    _check_liquidity(ticks, tick, liquidity)
    return Pool.model_construct(
        key=key, state=ConcentratedState(sqrt_price_x96=price, tick=tick, liquidity=liquidity, ticks=ticks)
    )


def _constant_product(line: Mapping[str, Any]) -> Pool:
    key = _key(line, Protocol.UNISWAP_V2, fee_pips=_integer(line, "fee_bps", 0, 9_999) * _PIPS_IN_BPS)
    reserve0, reserve1 = _amount(line, "reserve0", _MAX_RESERVE), _amount(line, "reserve1", _MAX_RESERVE)
    return Pool.model_construct(key=key, state=ConstantProductState(reserve0=reserve0, reserve1=reserve1))


_PARSERS: Mapping[str, Callable[[Mapping[str, Any]], Pool]] = MappingProxyType(
    {"uniswap_v2": _constant_product, "uniswap_v3": _concentrated}
)


def _key(line: Mapping[str, Any], protocol: Protocol, *, fee_pips: int, tick_spacing: int = 0) -> PoolKey:
    """Tokens stay in the order of the line: names need not sort as their addresses do, and no quote asks."""
    token0, token1 = _token(line, "token0"), _token(line, "token1")
    if token0.address == token1.address:
        raise PoolLineError("bad_line", "a pool trades two different tokens")
    return PoolKey.model_construct(
        address=address_of(_name(line, "pool")),
        protocol=protocol,
        token0=token0,
        token1=token1,
        fee_pips=fee_pips,
        tick_spacing=tick_spacing,
    )


def _token(line: Mapping[str, Any], field: str) -> Token:
    name = _name(line, field) if field in line else field
    return Token(address=address_of(name), symbol=name[:32], decimals=0)


def _name(line: Mapping[str, Any], field: str) -> str:
    name = line.get(field)
    if not isinstance(name, str) or not name:
        raise PoolLineError("bad_line", f"{field} is not a name")
    return name


def _integer(line: Mapping[str, Any], field: str, least: int, most: int) -> int:
    value = line.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise PoolLineError("bad_line", f"{field} is not an integer from {least} to {most}")
    return value


def _amount(line: Mapping[str, Any], field: str, most: int) -> int:
    if field not in line:
        raise PoolLineError("bad_line", f"{field} is missing")
    try:
        amount = parse_amount(line[field])
    except ValueError:
        amount = -1
    if not 0 <= amount <= most:
        raise PoolLineError("bad_amount", f"{field} is not a decimal string from 0 to {most}")
    return amount


def _ticks(value: object, spacing: int) -> tuple[Tick, ...]:
    """Ascending, on the spacing, in range, and with nothing left beyond the last: what TickBitmap can hold."""
    if not isinstance(value, list):
        raise PoolLineError("bad_ticks", "ticks is not a list")
    ticks = tuple(_tick(entry, spacing) for entry in value)
    for before, after in pairwise(ticks):
        if before.tick >= after.tick:
            raise PoolLineError("bad_ticks", f"tick {after.tick} comes after tick {before.tick}")
    if sum(tick.liquidity_net for tick in ticks) != 0:
        raise PoolLineError("bad_ticks", "the liquidity that ticks add is not the liquidity that they take away")
    return ticks


def _tick(entry: object, spacing: int) -> Tick:
    if not isinstance(entry, list) or len(entry) != 2:
        raise PoolLineError("bad_ticks", "a tick is a pair of its index and its net liquidity")
    index, net = entry
    if not isinstance(index, int) or isinstance(index, bool) or index % spacing or not MIN_TICK <= index <= MAX_TICK:
        raise PoolLineError("bad_ticks", f"{index!r} is no tick of a pool with spacing {spacing}")
    try:
        amount = parse_amount(net)
    except ValueError:
        raise PoolLineError("bad_ticks", f"tick {index} has no net liquidity that is a number") from None
    if abs(amount) > _MAX_LIQUIDITY >> 1:
        raise PoolLineError("bad_ticks", f"the net liquidity of tick {index} is beyond int128")
    return Tick(index, abs(amount), amount)


def _check_liquidity(ticks: tuple[Tick, ...], tick: int, liquidity: int) -> None:
    """No price may have less than no liquidity, in either direction from the present one."""
    rising = falling = liquidity
    for one in ticks:
        if one.tick > tick:
            rising += one.liquidity_net
            if rising < 0:
                raise PoolLineError("bad_ticks", f"the liquidity falls below zero at tick {one.tick}")
    for one in reversed(ticks):
        if one.tick <= tick:
            falling -= one.liquidity_net
            if falling < 0:
                raise PoolLineError("bad_ticks", f"the liquidity falls below zero below tick {one.tick}")
