"""Swaps that real pool contracts carried out (``dexlane_devnet.answers`` records them) against the adapters' own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.quoting import Quote, quote_exact_in, quote_exact_out
from dexlane.values.chains import ZERO_ADDRESS
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, PoolKey, PoolState, Protocol, Tick
from dexlane.values.tokens import Token

_EMPTY_ID = "0x" + "04" * 32


class Tally(NamedTuple):
    """How recorded swaps compare: quotes equal in amounts and next state, refusals where the contract refused too."""

    equal: int
    refused: int
    different: tuple[str, ...]


def a_ticked_pool(protocol: Protocol, row: dict[str, Any]) -> Pool:
    """A pool from ``{"fee_pips", "tick_spacing", "protocol_fees", "native", "state", "ticks"}``."""
    first = Token(address=ZERO_ADDRESS if row["native"] else f"0x{1:040x}", symbol="T0", decimals=18)
    managed = protocol is Protocol.UNISWAP_V4
    key = PoolKey(
        address=_EMPTY_ID[:42] if managed else f"0x{0xB00:040x}",
        protocol=protocol,
        token0=first,
        token1=Token(address=f"0x{2:040x}", symbol="T1", decimals=18),
        fee_pips=row["fee_pips"],
        tick_spacing=row["tick_spacing"],
        pool_id=_EMPTY_ID if managed else None,
        protocol_fee0_pips=row["protocol_fees"][0],
        protocol_fee1_pips=row["protocol_fees"][1],
    )
    return Pool(key=key, state=_ticked(row["state"], tuple(Tick(*tick) for tick in row["ticks"])))


def a_reserves_pool(protocol: Protocol, row: dict[str, Any]) -> Pool:
    """A pool from ``{"decimals", "fee_bps", "reserves"}``."""
    tokens = [
        Token(address=f"0x{place + 1:040x}", symbol=f"T{place}", decimals=decimals)
        for place, decimals in enumerate(row["decimals"])
    ]
    key = PoolKey(
        address=f"0x{0xB00:040x}",
        protocol=protocol,
        token0=tokens[0],
        token1=tokens[1],
        fee_pips=100 * row["fee_bps"],
    )
    return Pool(key=key, state=ConstantProductState(reserve0=row["reserves"][0], reserve1=row["reserves"][1]))


def compare_ticked(protocol: Protocol, row: dict[str, Any]) -> Tally:
    """Every swap of a recorded pool with ticks, each on the state that the contract left before it."""
    pool, ours = a_ticked_pool(protocol, row), []
    for swap in row["swaps"]:
        quote = _quote(pool, swap)
        ours.append((swap, None if quote is None else _ticked_answer(quote, zero_for_one=swap[0])))
        if swap[3:] and isinstance(pool.state, ConcentratedState):
            pool = pool.model_copy(update={"state": _ticked(swap[5:], pool.state.ticks)})
    return _compared(ours, moves_nothing=lambda answer: answer[:2] == [0, 0])


def compare_reserves(protocol: Protocol, row: dict[str, Any]) -> Tally:
    """Every swap of a recorded pool with reserves, each on the state that the contract left before it."""
    pool, ours = a_reserves_pool(protocol, row), []
    for swap in row["swaps"]:
        quote = _quote(pool, swap)
        ours.append((swap, None if quote is None else _reserves_answer(quote, swap[1])))
        if swap[3:]:
            state = ConstantProductState(reserve0=swap[4], reserve1=swap[5])
            pool = pool.model_copy(update={"state": state})
    return _compared(ours, moves_nothing=lambda answer: answer[0] == 0)


def _compared(ours: Sequence[tuple[list[Any], list[int] | None]], *, moves_nothing: Any) -> Tally:
    equal = refused = 0
    different: list[str] = []
    for swap, answer in ours:
        # A swap that moves no token is no quote to us, though a contract may carry it out.
        wanted = None if not swap[3:] or moves_nothing(swap[3:]) else swap[3:]
        if answer != wanted:
            different.append(f"{swap}: {answer}")
        elif answer is None:
            refused += 1
        else:
            equal += 1
    return Tally(equal, refused, tuple(different))


def _quote(pool: Pool, swap: list[Any]) -> Quote | None:
    zero_for_one, exact, amount = swap[:3]
    token_in = (pool.key.token0 if zero_for_one else pool.key.token1).address
    quote = quote_exact_in if exact == "in" else quote_exact_out
    try:
        return quote(pool, token_in, amount)
    except InsufficientLiquidity:
        return None


def _ticked_answer(quote: Quote, *, zero_for_one: bool) -> list[int]:
    state = quote.next_state
    if not isinstance(state, ConcentratedState):
        raise TypeError("the next state of a pool with ticks has none")
    moved = [quote.amount_in, -quote.amount_out]
    return [*(moved if zero_for_one else moved[::-1]), state.sqrt_price_x96, state.tick, state.liquidity]


def _reserves_answer(quote: Quote, exact: str) -> list[int]:
    state: PoolState = quote.next_state
    if not isinstance(state, ConstantProductState):
        raise TypeError("the next state of a pool with reserves has none")
    return [quote.amount_out if exact == "in" else quote.amount_in, state.reserve0, state.reserve1]


def _ticked(parts: Sequence[int], ticks: tuple[Tick, ...]) -> ConcentratedState:
    return ConcentratedState(sqrt_price_x96=parts[0], tick=parts[1], liquidity=parts[2], ticks=ticks)
