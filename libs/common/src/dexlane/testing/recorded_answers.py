"""Answers of real pool contracts (``dexlane_devnet.answers`` records them) against the adapters' own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.quoting import Quote, quote_exact_in, quote_exact_out
from dexlane.testing.recorded_swaps import Tally, compare_reserves, compare_ticked
from dexlane.values.pools import BalancesState, BalanceTerms, Pool, PoolKey, Protocol
from dexlane.values.tokens import Token


def read_answers(path: Path) -> Iterator[dict[str, Any]]:
    """The recorded pools of a file, each with its row of swaps."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def a_balances_pool(protocol: Protocol, row: dict[str, Any]) -> Pool:
    """A pool from ``{"decimals", "balances", "terms"}``, with tokens made up in sorted order."""
    tokens = [
        Token(address=f"0x{place + 1:040x}", symbol=f"T{place}", decimals=decimals)
        for place, decimals in enumerate(row["decimals"])
    ]
    key = PoolKey(
        address=f"0x{0xB00:040x}",
        protocol=protocol,
        token0=tokens[0],
        token1=tokens[1],
        more_tokens=tuple(tokens[2:]),
        fee_pips=0,
    )
    terms = BalanceTerms(**row["terms"])
    return Pool(key=key, state=BalancesState(balances=tuple(row["balances"]), terms=terms))


def compare(protocol: Protocol, row: dict[str, Any]) -> Tally:
    """Every swap of one recorded pool, each on the state that the contract left before it."""
    if "ticks" in row:
        return compare_ticked(protocol, row)
    return compare_reserves(protocol, row) if "reserves" in row else _compare_balances(protocol, row)


def _compare_balances(protocol: Protocol, row: dict[str, Any]) -> Tally:
    pool = a_balances_pool(protocol, row)
    equal, refused, different = 0, 0, []
    for swap in row["swaps"]:
        answer = _quote(pool, swap)
        wanted = swap[4:] or None
        # A swap that gives nothing is no quote to us, though a contract may carry it out.
        if wanted is not None and swap[2] == "in" and wanted[0] == 0:
            refused += answer is None
        elif (wanted is None) is not (answer is None) or (answer is not None and _said(answer, swap[2]) != wanted):
            different.append(f"{swap} on {pool.state}: {None if answer is None else _said(answer, swap[2])}")
        else:
            equal += answer is not None
            refused += answer is None
        if wanted is not None:
            state = pool.state.model_copy(update={"balances": tuple(wanted[1])})
            pool = pool.model_copy(update={"state": state})
    return Tally(equal, refused, tuple(different))


def _quote(pool: Pool, swap: list[Any]) -> Quote | None:
    paid, bought, exact, amount = swap[:4]
    tokens = [token.address for token in pool.key.tokens]
    quote = quote_exact_in if exact == "in" else quote_exact_out
    try:
        return quote(pool, tokens[paid], amount, tokens[bought])
    except InsufficientLiquidity:
        return None


def _said(quote: Quote, exact: str) -> list[Any]:
    if not isinstance(quote.next_state, BalancesState):
        raise TypeError("the next state of a balance-based pool has no balances")
    return [quote.amount_out if exact == "in" else quote.amount_in, list(quote.next_state.balances)]
