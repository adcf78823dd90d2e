"""What the deployed contracts answered, as the recordings write it, and how dexlane's maths compares with it."""

from __future__ import annotations

from typing import Any

from dexlane.domain.amm import concentrated, constant_product
from dexlane.domain.amm.concentrated import Order
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.transfer_tax import TransferTax, arriving
from dexlane.values.pools import ConcentratedState, Tick

V2_FEE_PIPS = 3_000


def v3_mismatches(pool: dict[str, Any]) -> list[str]:
    """Answers of a pool that dexlane does not give: amounts, price, tick and liquidity, or a refusal."""
    state = ConcentratedState(
        sqrt_price_x96=pool["sqrt_price_x96"],
        tick=pool["tick"],
        liquidity=pool["liquidity"],
        ticks=tuple(Tick(index, int(gross), int(net)) for index, gross, net in pool["ticks"]),
    )
    found = []
    for down, exact_in, amount, limit, expected in pool["answers"]:
        order = Order(down, exact_in, int(amount), None if limit is None else int(limit))
        try:
            swap = concentrated.swap(state, pool["fee_pips"], pool["tick_spacing"], order)
            got: list[int] | str = [swap.amount_in, swap.amount_out, swap.sqrt_price_x96, swap.tick, swap.liquidity]
        except InsufficientLiquidity:
            got = "refused"
        wanted = "refused" if isinstance(expected, str) else [int(number) for number in expected]
        if got != wanted:
            found.append(f"fee {pool['fee_pips']}, tick {pool['tick']}, {order}: {got}, the contract says {expected}")
    return found


def v2_mismatches(pair: dict[str, Any]) -> list[str]:
    """Answers of a pair that dexlane does not give: what is sent, what arrives and both reserves, or a refusal."""
    reserves = (int(pair["reserve0"]), int(pair["reserve1"]))
    found = []
    for down, exact_in, amount, expected in pair["answers"]:
        tax = TransferTax(*(pair["taxes_bps"] if down else pair["taxes_bps"][::-1]))
        got: list[int] | str
        try:
            got = _v2_outcome(reserves if down else (reserves[1], reserves[0]), tax, int(amount), exact_in=exact_in)
            if not down and isinstance(got, list):
                got = [*got[:2], got[3], got[2]]
        except InsufficientLiquidity:
            got = "refused"
        wanted = "refused" if isinstance(expected, str) else [int(number) for number in expected]
        if got != wanted:
            found.append(f"reserves {reserves}, {tax}, {(down, exact_in, amount)}: {got}, the contract says {expected}")
    return found


def _v2_outcome(reserves: tuple[int, int], tax: TransferTax, amount: int, *, exact_in: bool) -> list[int]:
    if exact_in:
        bought, after_in, after_out = constant_product.sell(*reserves, V2_FEE_PIPS, arriving(amount, tax.in_bps))
        return [amount, arriving(bought, tax.out_bps), after_in, after_out]
    paid, after_in, after_out = constant_product.buy(*reserves, V2_FEE_PIPS, amount)
    return [paid, amount, after_in, after_out]
