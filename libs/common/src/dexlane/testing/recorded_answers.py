"""Answers of real pool contracts (``dexlane_devnet.answers`` records them) against the adapters' own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.quoting import Quote, quote_exact_in, quote_exact_out
from dexlane.values.chains import ZERO_ADDRESS
from dexlane.values.pools import (
    BalancesState,
    BalanceTerms,
    ConcentratedState,
    ConstantProductState,
    Pool,
    PoolKey,
    PoolState,
    Protocol,
    Tick,
)
from dexlane.values.tokens import Token

_POOL = f"0x{0xB00:040x}"
_V4_ID = "0x" + "04" * 32

Row = dict[str, Any]


class Tally(NamedTuple):
    """How recorded swaps compare: quotes equal in amounts and next state, refusals where the contract refused too."""

    equal: int
    refused: int
    different: tuple[str, ...]


class _Question(NamedTuple):
    paid: int
    bought: int
    exact: str
    amount: int


def read_answers(path: Path) -> Iterator[Row]:
    """The recorded pools of a file, each with its row of swaps."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def compare(protocol: Protocol, row: Row) -> Tally:
    """Every swap of one recorded pool, each on the state that the contract left before it."""
    pool, equal, refused, different = _pool(protocol, row), 0, 0, list[str]()
    for swap in row["swaps"]:
        question, recorded = _parted(pool.state, swap)
        answer = _answer(pool, question)
        # A swap that moves no token is no quote to us, though a contract may carry it out.
        if answer != (recorded if recorded and _moves(pool.state, recorded) else None):
            different.append(f"{swap} on {pool.state}: {answer}")
        elif answer is None:
            refused += 1
        else:
            equal += 1
        if recorded:
            pool = pool.with_state(_state_after(pool.state, recorded))
    return Tally(equal, refused, tuple(different))


def _pool(protocol: Protocol, row: Row) -> Pool:
    """A pool with made-up tokens in sorted order; with ticks, with reserves or with balances, as the row has it."""
    tokens = [
        Token(address=f"0x{place + 1:040x}", symbol=f"T{place}", decimals=decimals)
        for place, decimals in enumerate(row.get("decimals", (18, 18)))
    ]
    key: Row = {"address": _POOL, "protocol": protocol, "token0": tokens[0], "token1": tokens[1], "fee_pips": 0}
    if "balances" in row:
        state: PoolState = BalancesState(balances=tuple(row["balances"]), terms=BalanceTerms(**row["terms"]))
        key |= {"more_tokens": tuple(tokens[2:])}
    elif "reserves" in row:
        state = ConstantProductState(reserve0=row["reserves"][0], reserve1=row["reserves"][1])
        key |= {"fee_pips": 100 * row["fee_bps"]}
    else:
        state = _ticked(row["state"], tuple(Tick(*tick) for tick in row["ticks"]))
        fees = dict(zip(("protocol_fee0_pips", "protocol_fee1_pips"), row["protocol_fees"], strict=True))
        key |= {"fee_pips": row["fee_pips"], "tick_spacing": row["tick_spacing"], **fees}
        if row["native"]:
            key |= {"token0": tokens[0].model_copy(update={"address": ZERO_ADDRESS})}
        if protocol is Protocol.UNISWAP_V4:
            key |= {"address": _V4_ID[:42], "pool_id": _V4_ID}
    return Pool(key=PoolKey(**key), state=state)


def _parted(state: PoolState, swap: list[Any]) -> tuple[_Question, list[Any]]:
    """What was asked, and what the contract answered: nothing when it refused."""
    if isinstance(state, BalancesState):
        return _Question(*swap[:4]), swap[4:]
    zero_for_one, exact, amount, *recorded = swap
    return _Question(int(not zero_for_one), int(zero_for_one), exact, amount), recorded


def _moves(state: PoolState, recorded: list[Any]) -> bool:
    return recorded[:2] != [0, 0] if isinstance(state, ConcentratedState) else recorded[0] != 0


def _state_after(state: PoolState, recorded: list[Any]) -> PoolState:
    if isinstance(state, ConcentratedState):
        return _ticked(recorded[2:], state.ticks)
    if isinstance(state, BalancesState):
        return state.model_copy(update={"balances": tuple(recorded[1])})
    return ConstantProductState(reserve0=recorded[1], reserve1=recorded[2])


def _answer(pool: Pool, question: _Question) -> list[Any] | None:
    """Our quote in the form of the recording; None when it is refused."""
    tokens = [token.address for token in pool.key.tokens]
    quote = quote_exact_in if question.exact == "in" else quote_exact_out
    try:
        return _said(quote(pool, tokens[question.paid], question.amount, tokens[question.bought]), question)
    except InsufficientLiquidity:
        return None


def _said(quote: Quote, question: _Question) -> list[Any]:
    state = quote.next_state
    if isinstance(state, ConcentratedState):
        moved = [quote.amount_in, -quote.amount_out]
        return [*(moved[::-1] if question.paid else moved), state.sqrt_price_x96, state.tick, state.liquidity]
    other = quote.amount_out if question.exact == "in" else quote.amount_in
    if isinstance(state, BalancesState):
        return [other, list(state.balances)]
    return [other, state.reserve0, state.reserve1]


def _ticked(parts: Sequence[int], ticks: tuple[Tick, ...]) -> ConcentratedState:
    return ConcentratedState(sqrt_price_x96=parts[0], tick=parts[1], liquidity=parts[2], ticks=ticks)
