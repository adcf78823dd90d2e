# pragma version 0.4.3
"""
@title  A Solidly-style pool, stable or volatile
@notice Written for dexlane's tests from the published interface and arithmetic of Aerodrome's pools: same functions,
        same events, same order of divisions, the fee in basis points out of 10,000 moved out of the pool at each swap.
        It is not Aerodrome's code: no liquidity tokens, no price observations, and it is its own factory.
        Tokens that were sent to it become its reserves by `sync`.
@license Apache-2.0
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed

event Sync:
    reserve0: uint256
    reserve1: uint256

event Swap:
    sender: indexed(address)
    to: indexed(address)
    amount0In: uint256
    amount1In: uint256
    amount0Out: uint256
    amount1Out: uint256

event Fees:
    sender: indexed(address)
    amount0: uint256
    amount1: uint256

ONE: constant(uint256) = 10**18
BPS: constant(uint256) = 10_000

token0: public(immutable(address))
token1: public(immutable(address))
stable: public(immutable(bool))
poolFees: public(immutable(address))
FEE: immutable(uint256)
DECIMALS0: immutable(uint256)
DECIMALS1: immutable(uint256)
reserve0: public(uint256)
reserve1: public(uint256)


@deploy
def __init__(first: address, second: address, is_stable: bool, fee_bps: uint256, fees: address):
    token0 = first
    token1 = second
    stable = is_stable
    poolFees = fees
    FEE = fee_bps
    DECIMALS0 = 10 ** convert(staticcall IERC20Detailed(first).decimals(), uint256)
    DECIMALS1 = 10 ** convert(staticcall IERC20Detailed(second).decimals(), uint256)


@external
@view
def factory() -> address:
    return self


@external
@view
def getFee(pool: address, is_stable: bool) -> uint256:
    return FEE


@external
@view
def metadata() -> (uint256, uint256, uint256, uint256, bool, address, address):
    return DECIMALS0, DECIMALS1, self.reserve0, self.reserve1, stable, token0, token1


@external
@view
def getReserves() -> (uint256, uint256, uint256):
    return self.reserve0, self.reserve1, block.timestamp


@external
@view
def getAmountOut(amount: uint256, token_in: address) -> uint256:
    after_fee: uint256 = amount - amount * FEE // BPS
    if not stable:
        if token_in == token0:
            return after_fee * self.reserve1 // (self.reserve0 + after_fee)
        return after_fee * self.reserve0 // (self.reserve1 + after_fee)
    invariant: uint256 = self._k(self.reserve0, self.reserve1)
    scaled0: uint256 = self.reserve0 * ONE // DECIMALS0
    scaled1: uint256 = self.reserve1 * ONE // DECIMALS1
    if token_in == token0:
        kept: uint256 = self._get_y(after_fee * ONE // DECIMALS0 + scaled0, invariant, scaled1)
        return (scaled1 - kept) * DECIMALS1 // ONE
    other: uint256 = self._get_y(after_fee * ONE // DECIMALS1 + scaled1, invariant, scaled0)
    return (scaled0 - other) * DECIMALS0 // ONE


@external
def swap(out0: uint256, out1: uint256, to: address, data: Bytes[1]):
    assert out0 > 0 or out1 > 0, "no output"
    before0: uint256 = self.reserve0
    before1: uint256 = self.reserve1
    assert out0 < before0 and out1 < before1, "more than the reserve"
    if out0 > 0:
        assert extcall IERC20(token0).transfer(to, out0)
    if out1 > 0:
        assert extcall IERC20(token1).transfer(to, out1)
    held0: uint256 = staticcall IERC20(token0).balanceOf(self)
    held1: uint256 = staticcall IERC20(token1).balanceOf(self)
    in0: uint256 = max(held0, before0 - out0) - (before0 - out0)
    in1: uint256 = max(held1, before1 - out1) - (before1 - out1)
    assert in0 > 0 or in1 > 0, "no input"
    fee0: uint256 = in0 * FEE // BPS
    fee1: uint256 = in1 * FEE // BPS
    if fee0 > 0:
        assert extcall IERC20(token0).transfer(poolFees, fee0)
        log Fees(sender=msg.sender, amount0=fee0, amount1=0)
    if fee1 > 0:
        assert extcall IERC20(token1).transfer(poolFees, fee1)
        log Fees(sender=msg.sender, amount0=0, amount1=fee1)
    held0 -= fee0
    held1 -= fee1
    assert self._k(held0, held1) >= self._k(before0, before1), "K"
    self._update(held0, held1)
    log Swap(sender=msg.sender, to=to, amount0In=in0, amount1In=in1, amount0Out=out0, amount1Out=out1)


@external
def sync():
    self._update(staticcall IERC20(token0).balanceOf(self), staticcall IERC20(token1).balanceOf(self))


@internal
def _update(held0: uint256, held1: uint256):
    self.reserve0 = held0
    self.reserve1 = held1
    log Sync(reserve0=held0, reserve1=held1)


@internal
@view
def _k(x: uint256, y: uint256) -> uint256:
    if not stable:
        return x * y
    return self._f(x * ONE // DECIMALS0, y * ONE // DECIMALS1)


@internal
@pure
def _f(x: uint256, y: uint256) -> uint256:
    return (x * y // ONE) * (x * x // ONE + y * y // ONE) // ONE


@internal
@pure
def _d(x: uint256, y: uint256) -> uint256:
    return 3 * x * (y * y // ONE) // ONE + x * x // ONE * x // ONE


@internal
@view
def _get_y(x: uint256, wanted: uint256, start: uint256) -> uint256:
    y: uint256 = start
    for step: uint256 in range(255):
        found: uint256 = self._f(x, y)
        if found < wanted:
            dy: uint256 = (wanted - found) * ONE // self._d(x, y)
            if dy == 0:
                # Aerodrome asks `_k`, which scales once more what is scaled already.
                if self._k(x, y + 1) > wanted:
                    return y + 1
                dy = 1
            y += dy
        else:
            dy: uint256 = (found - wanted) * ONE // self._d(x, y)
            if dy == 0:
                if found == wanted or self._f(x, y - 1) < wanted:
                    return y
                dy = 1
            y -= dy
    raise "!y"
