"""Where a token is traded in a check: how a router is asked to swap, what tells the price, how a quote is bought.

A venue only makes calldata. What a trade brings is measured by balances, so nothing here states a least amount.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dexlane.chain.abi import Dynamic, address, array, frame, uint
from dexlane.chain.token_check.probe import Step, selector

FOREVER = (1 << 256) - 1
PURSE_WEI = 10**24
"""Ether that may be spent on another quote than the wrapped coin; what is not needed stays with the router or comes
back."""


class Venue(Protocol):
    """An exchange through one of its routers. ``allowed`` is what the holder must approve."""

    @property
    def allowed(self) -> str:
        """The contract that takes a trader's tokens."""
        ...

    @property
    def swap_amount_at(self) -> int:
        """Which word of a swap's arguments names the amount."""
        ...

    @property
    def weight(self) -> int:
        """How many times the gas of Uniswap V2 a trade with its quote may take."""
        ...

    def swap(self, amount: int, path: tuple[str, str], to: str) -> bytes:
        """Calldata: sell ``amount`` of the first token for at least nothing of the second, for an account."""
        ...

    def quote(self, amount: int, path: tuple[str, str]) -> Step:
        """A look at what the pool gives for ``amount`` without a tax; the word that is told is the amount out."""
        ...

    def acquire(self, wrapped: str, quote: str, amount: int, to: str) -> bytes:
        """Calldata: buy so much of another quote with ether that is sent along."""
        ...


@dataclass(frozen=True, slots=True)
class UniswapV2:
    """Router02 of Uniswap V2 and of its forks: it takes tokens that keep a part of a transfer."""

    router: str
    swap_amount_at: int = 0
    weight: int = 1

    @property
    def allowed(self) -> str:
        """The router itself."""
        return self.router

    def swap(self, amount: int, path: tuple[str, str], to: str) -> bytes:
        """``swapExactTokensForTokensSupportingFeeOnTransferTokens``."""
        signature = "swapExactTokensForTokensSupportingFeeOnTransferTokens(uint256,uint256,address[],address,uint256)"
        return selector(signature) + frame(uint(amount), uint(0), _places(path), address(to), uint(FOREVER))

    def quote(self, amount: int, path: tuple[str, str]) -> Step:
        """``getAmountsOut``; of a path of two its fourth word is what comes out."""
        data = selector("getAmountsOut(uint256,address[])") + frame(uint(amount), _places(path))
        return Step(self.router, data, take=3)

    def acquire(self, wrapped: str, quote: str, amount: int, to: str) -> bytes:
        """``swapETHForExactTokens``: the router gives back what it does not need."""
        data = frame(uint(amount), _places((wrapped, quote)), address(to), uint(FOREVER))
        return selector("swapETHForExactTokens(uint256,address[],address,uint256)") + data


@dataclass(frozen=True, slots=True)
class UniswapV3:
    """A router of Uniswap V3: SwapRouter02, or SwapRouter, whose calls name a ``deadline`` too. Fees in pips.

    ``bridge_pips`` is the fee of the pool that the quote is bought in with ether; None where there is none.
    """

    router: str
    quoter: str
    fee_pips: int
    deadline: bool = False
    bridge_pips: int | None = None
    weight: int = 2

    @property
    def allowed(self) -> str:
        """The router itself."""
        return self.router

    @property
    def swap_amount_at(self) -> int:
        """The fifth word; the sixth where a deadline stands before it."""
        return 5 if self.deadline else 4

    def swap(self, amount: int, path: tuple[str, str], to: str) -> bytes:
        """``exactInputSingle`` (v3-periphery ``ISwapRouter``, swap-router-contracts ``IV3SwapRouter``)."""
        return self._single("exactInputSingle", (*path, to), self.fee_pips, (amount, 0))

    def quote(self, amount: int, path: tuple[str, str]) -> Step:
        """``QuoterV2.quoteExactInputSingle``: it swaps and takes it back without moving a token."""
        signature = "quoteExactInputSingle((address,address,uint256,uint24,uint160))"
        words = (address(path[0]), address(path[1]), uint(amount), uint(self.fee_pips), uint(0))
        return Step(self.quoter, selector(signature) + b"".join(words), gas=_QUOTER_GAS, amount_at=2)

    def acquire(self, wrapped: str, quote: str, amount: int, to: str) -> bytes:
        """``exactOutputSingle`` in the pool of the quote and the wrapped coin."""
        fee_pips = self.fee_pips if self.bridge_pips is None else self.bridge_pips
        return self._single("exactOutputSingle", (wrapped, quote, to), fee_pips, (amount, PURSE_WEI))

    def _single(self, name: str, parties: tuple[str, str, str], fee_pips: int, amounts: tuple[int, int]) -> bytes:
        token_in, token_out, to = parties
        until = [uint(FOREVER)] if self.deadline else []
        types = "address,address,uint24,address" + ",uint256" * (2 + len(until)) + ",uint160"
        words = [address(token_in), address(token_out), uint(fee_pips), address(to), *until, *map(uint, amounts)]
        return selector(f"{name}(({types}))") + b"".join([*words, uint(0)])


_QUOTER_GAS = 1_500_000
"""A quote over many ticks; one that needs more is not seen."""


def _places(path: Sequence[str]) -> Dynamic:
    return array([address(each) for each in path])


@dataclass(frozen=True, slots=True)
class Pool:
    """The pool of the token and the quote that is traded against, and how.

    Of a concentrated pool the reserves are those of a constant product that prices the same, at most what it really
    holds: sizes follow from them, nothing else. ``last_purchase`` is what such a pool gives to the last of the first
    buyers, asked of its quoter; None where the reserves tell it.
    """

    venue: Venue
    wrapped: str
    quote: str
    pair: str
    reserve_quote: int
    reserve_token: int
    last_purchase: int | None = None
