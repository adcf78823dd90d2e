"""Every recorded swap of a real pool, event by event: amounts, price, active liquidity and tick.

The recording is no part of the repository; ``DEXLANE_DATA`` names the folder that holds ``v3_events``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dexlane.domain.amm.concentrated import Order, TickSwap, swap
from dexlane.domain.amm.deltas import after_liquidity_change, after_swap
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.values.pools import ConcentratedState, Tick

PREFIX = "arbitrum_weth_usdc_500_2025-06-18_2025-06-21_"
FEE_PIPS, SPACING = 500, 10
UNKNOWN_GROSS = 1 << 100
"""Ticks older than the window: their gross liquidity is not recorded, only that they are initialised."""

Row = dict[str, Any]


def _folder() -> Path:
    return Path(os.environ.get("DEXLANE_DATA", "")) / "v3_events"


def _events() -> list[tuple[str, Row]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows: list[tuple[str, Row]] = []
    for kind in ("swaps", "mints", "burns"):
        rows += [(kind, row) for row in parquet.read_table(_folder() / f"{PREFIX}{kind}.parquet").to_pylist()]
    return sorted(rows, key=lambda entry: (entry[1]["block_number"], entry[1]["log_index"]))


def _known_ticks() -> tuple[Tick, ...]:
    recorded = json.loads((_folder() / f"{PREFIX}ticks_inferred.json").read_bytes())["liquidity_net"]
    return tuple(sorted(Tick(int(tick), UNKNOWN_GROSS, int(net)) for tick, net in recorded.items()))


def _with_older_ticks(state: ConcentratedState, row: Row) -> ConcentratedState:
    """A burn may take what was minted before the window: then its ticks held more than was seen."""
    known = {tick.tick: tick for tick in state.ticks}
    for edge in (row["tick_lower"], row["tick_upper"]):
        seen = known.get(edge, Tick(edge, 0, 0))
        if seen.liquidity_gross < int(row["liquidity"]):
            known[edge] = seen._replace(liquidity_gross=seen.liquidity_gross + UNKNOWN_GROSS)
    return replace(state, ticks=tuple(sorted(known.values())))


def _after_change(state: ConcentratedState, kind: str, row: Row) -> ConcentratedState:
    liquidity = int(row["liquidity"])
    if kind == "burns" and liquidity:
        state = _with_older_ticks(state, row)
    return after_liquidity_change(
        state, row["tick_lower"], row["tick_upper"], liquidity if kind == "mints" else -liquidity
    )


def _orders(row: Row) -> Iterator[Order]:
    """The log does not say what was asked for: exact input, exact output, or anything up to a price."""
    zero_for_one = int(row["amount0"]) > 0
    amounts = (int(row["amount0"]), int(row["amount1"]))
    paid, received = max(amounts), -min(amounts)
    if paid > 0:
        yield Order(zero_for_one, exact_in=True, amount=paid)
    if received > 0:
        yield Order(zero_for_one, exact_in=False, amount=received)
    limit = int(row["sqrt_price_x96"])
    yield Order(zero_for_one, exact_in=True, amount=1 << 200, sqrt_price_limit_x96=limit)


def _explains(result: TickSwap, row: Row) -> bool:
    amounts = (int(row["amount0"]), int(row["amount1"]))
    state = result.state
    return (
        (result.amount_in, -result.amount_out) in (amounts, amounts[::-1])
        and state.sqrt_price_x96 == int(row["sqrt_price_x96"])
        and state.liquidity == int(row["liquidity"])
        and state.tick == row["tick"]
    )


def _is_explained(state: ConcentratedState, row: Row) -> bool:
    for order in _orders(row):
        try:
            if _explains(swap(state, FEE_PIPS, SPACING, order), row):
                return True
        except InsufficientLiquidity:
            continue
    return False


@pytest.mark.recorded
@pytest.mark.timeout(600)
def test_every_recorded_swap_is_reproduced_to_the_wei() -> None:
    if not (_folder() / f"{PREFIX}swaps.parquet").exists():
        pytest.skip("DEXLANE_DATA names no folder with the recording")
    state, started = ConcentratedState(sqrt_price_x96=1, tick=-887_273, liquidity=0, ticks=_known_ticks()), False
    unexplained: list[Row] = []
    swaps = 0
    for kind, row in _events():
        if kind != "swaps":
            state = _after_change(state, kind, row)
            continue
        if started:
            swaps += 1
            if not _is_explained(state, row):
                unexplained.append(row)
        state = after_swap(state, int(row["sqrt_price_x96"]), int(row["liquidity"]), row["tick"])
        started = True
    assert swaps == 114_436
    assert unexplained == []
