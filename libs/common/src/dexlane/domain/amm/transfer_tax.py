"""Quotes for tokens that keep a part of every transfer: what the pool really gets, and what the receiver really gets.

The pool is quoted for what arrives, as ``UniswapV2Router02.swapExactTokensForTokensSupportingFeeOnTransferTokens``
does by reading the pair's balance; what leaves the pool shrinks once more. A pool that is paid in a callback (as those
of Uniswap V3) checks that the whole amount arrived and reverts (``IIA``) when the token paid in is taxed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dexlane.domain.amm.adapters import Quote
from dexlane.domain.amm.errors import InsufficientLiquidity
from dexlane.domain.amm.quoting import quote_exact_in, quote_exact_out
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.pools import Pool, Protocol

_PAID_BY_BALANCE = frozenset({Protocol.UNISWAP_V2, Protocol.SOLIDLY_VOLATILE, Protocol.SOLIDLY_STABLE})
"""Pools that take what their balance has grown by."""


class TransferTax(NamedTuple):
    """What the two tokens of a trade keep of a transfer, in basis points: the one paid in and the one bought."""

    in_bps: int = 0
    out_bps: int = 0


@dataclass(frozen=True, slots=True)
class TaxedQuote:
    """``sent`` leaves the payer, ``received`` reaches the receiver; ``pool`` is what the pool does in between."""

    sent: int
    received: int
    pool: Quote


def arriving(amount: int, tax_bps: int) -> int:
    """What arrives of a transfer: the tax is rounded down, as tokens do."""
    return amount - amount * tax_bps // BPS_DENOMINATOR


def needed_for(arrived: int, tax_bps: int) -> int:
    """The smallest transfer of which ``arrived`` arrives, and no more. ``InsufficientLiquidity`` at a tax of 100 %."""
    if tax_bps == BPS_DENOMINATOR:
        raise InsufficientLiquidity("the token keeps all of a transfer")
    return (arrived - 1) * BPS_DENOMINATOR // (BPS_DENOMINATOR - tax_bps) + 1


def taxed_exact_in(
    pool: Pool, token_in: str, amount_in: int, tax: TransferTax, token_out: str | None = None
) -> TaxedQuote:
    """Send exactly ``amount_in``. Raises as ``quote_exact_in``, and ``InsufficientLiquidity`` where the tax leaves
    nothing or the pool refuses it.
    """
    _check(pool, tax)
    arrived = arriving(amount_in, tax.in_bps)
    if amount_in > 0 and arrived < 1:
        raise InsufficientLiquidity("the tax leaves nothing to sell")
    quote = quote_exact_in(pool, token_in, arrived, token_out)
    sent = amount_in if quote.amount_in == arrived else needed_for(quote.amount_in, tax.in_bps)
    return TaxedQuote(sent, arriving(quote.amount_out, tax.out_bps), quote)


def taxed_exact_out(
    pool: Pool, token_in: str, amount_out: int, tax: TransferTax, token_out: str | None = None
) -> TaxedQuote:
    """Let exactly ``amount_out`` arrive at the receiver. Raises as :func:`taxed_exact_in` does."""
    _check(pool, tax)
    quote = quote_exact_out(pool, token_in, needed_for(amount_out, tax.out_bps), token_out)
    return TaxedQuote(needed_for(quote.amount_in, tax.in_bps), arriving(quote.amount_out, tax.out_bps), quote)


def _check(pool: Pool, tax: TransferTax) -> None:
    if not (0 <= tax.in_bps <= BPS_DENOMINATOR and 0 <= tax.out_bps <= BPS_DENOMINATOR):
        raise ValueError("a tax lies between 0 and 10,000 basis points")
    if tax.in_bps and pool.key.protocol not in _PAID_BY_BALANCE:
        raise InsufficientLiquidity(f"pool {pool.key.address} refuses a payment that shrinks on its way")
