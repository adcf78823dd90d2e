# pragma version 0.4.3
"""
@title  Trades with pools of all kinds that call their trader back, and pays them from what it holds
@notice For dexlane's tests only: anybody may call it, and it keeps what it buys. Nothing of value belongs here.
@license Apache-2.0
"""

from ethereum.ercs import IERC20

struct PoolKey:
    currency0: address
    currency1: address
    fee: uint24
    tickSpacing: int24
    hooks: address

struct SwapParams:
    zeroForOne: bool
    amountSpecified: int256
    sqrtPriceLimitX96: uint160

struct ModifyLiquidityParams:
    tickLower: int24
    tickUpper: int24
    liquidityDelta: int256
    salt: bytes32

interface TickPool:
    def token0() -> address: view
    def token1() -> address: view
    def swap(recipient: address, zeroForOne: bool, amount: int256, limit: uint160, data: Bytes[1]) -> (int256, int256): nonpayable
    def mint(recipient: address, lower: int24, upper: int24, amount: uint128, data: Bytes[1]) -> (uint256, uint256): nonpayable

interface Manager:
    def unlock(data: Bytes[1]) -> Bytes[64]: nonpayable
    def swap(key: PoolKey, params: SwapParams, hookData: Bytes[1]) -> int256: nonpayable
    def modifyLiquidity(key: PoolKey, params: ModifyLiquidityParams, hookData: Bytes[1]) -> (int256, int256): nonpayable
    def sync(currency: address): nonpayable
    def settle() -> uint256: payable
    def take(currency: address, to: address, amount: uint256): nonpayable

interface SolidlyPool:
    def token0() -> address: view
    def getAmountOut(amount: uint256, token_in: address) -> uint256: view
    def swap(out0: uint256, out1: uint256, to: address, data: Bytes[1]): nonpayable

HALF: constant(int256) = 2**128

pending_key: PoolKey
pending_swap: SwapParams
pending_change: ModifyLiquidityParams
changes_liquidity: bool
moved0: int256
moved1: int256


@external
@payable
def __default__():
    pass


@external
def swap_ticks(pool: address, zero_for_one: bool, amount: int256, limit: uint160) -> (int256, int256):
    return extcall TickPool(pool).swap(self, zero_for_one, amount, limit, b"")


@external
def mint_ticks(pool: address, lower: int24, upper: int24, amount: uint128):
    extcall TickPool(pool).mint(self, lower, upper, amount, b"")


@internal
def _pay(amount0: int256, amount1: int256):
    if amount0 > 0:
        assert extcall IERC20(staticcall TickPool(msg.sender).token0()).transfer(msg.sender, convert(amount0, uint256))
    if amount1 > 0:
        assert extcall IERC20(staticcall TickPool(msg.sender).token1()).transfer(msg.sender, convert(amount1, uint256))


@external
def uniswapV3SwapCallback(amount0: int256, amount1: int256, data: Bytes[1]):
    self._pay(amount0, amount1)


@external
def pancakeV3SwapCallback(amount0: int256, amount1: int256, data: Bytes[1]):
    self._pay(amount0, amount1)


@external
def uniswapV3MintCallback(amount0: uint256, amount1: uint256, data: Bytes[1]):
    self._pay(convert(amount0, int256), convert(amount1, int256))


@external
def pancakeV3MintCallback(amount0: uint256, amount1: uint256, data: Bytes[1]):
    self._pay(convert(amount0, int256), convert(amount1, int256))


@external
def swap_managed(manager: address, key: PoolKey, params: SwapParams) -> (int256, int256):
    self.pending_key = key
    self.pending_swap = params
    self.changes_liquidity = False
    extcall Manager(manager).unlock(b"")
    return self.moved0, self.moved1


@external
def modify_managed(manager: address, key: PoolKey, params: ModifyLiquidityParams):
    self.pending_key = key
    self.pending_change = params
    self.changes_liquidity = True
    extcall Manager(manager).unlock(b"")


@external
def unlockCallback(data: Bytes[1]) -> Bytes[1]:
    manager: address = msg.sender
    delta: int256 = 0
    if self.changes_liquidity:
        fees: int256 = 0
        delta, fees = extcall Manager(manager).modifyLiquidity(self.pending_key, self.pending_change, b"")
    else:
        delta = extcall Manager(manager).swap(self.pending_key, self.pending_swap, b"")
    # BalanceDelta: amount0 in the upper half, amount1 in the lower, both signed.
    self.moved0 = delta >> 128
    self.moved1 = (delta << 128) >> 128
    self._settle(manager, self.pending_key.currency0, self.moved0)
    self._settle(manager, self.pending_key.currency1, self.moved1)
    return b""


@internal
def _settle(manager: address, currency: address, moved: int256):
    if moved > 0:
        extcall Manager(manager).take(currency, self, convert(moved, uint256))
    elif moved < 0:
        owed: uint256 = convert(-moved, uint256)
        if currency == empty(address):
            extcall Manager(manager).settle(value=owed)
        else:
            extcall Manager(manager).sync(currency)
            assert extcall IERC20(currency).transfer(manager, owed)
            extcall Manager(manager).settle()


@external
def swap_solidly(pool: address, token_in: address, amount: uint256) -> uint256:
    bought: uint256 = staticcall SolidlyPool(pool).getAmountOut(amount, token_in)
    self._swap_solidly(pool, token_in, amount, bought)
    return bought


@external
def buy_solidly(pool: address, token_in: address, wanted: uint256, most: uint256) -> uint256:
    """
    @notice The least input, by bisection on the pool's own answers, whose output is at least `wanted`.
    """
    assert staticcall SolidlyPool(pool).getAmountOut(most, token_in) >= wanted, "not for so little"
    low: uint256 = 0
    high: uint256 = most
    for step: uint256 in range(256):
        if high - low <= 1:
            break
        middle: uint256 = (low + high) // 2
        if staticcall SolidlyPool(pool).getAmountOut(middle, token_in) >= wanted:
            high = middle
        else:
            low = middle
    self._swap_solidly(pool, token_in, high, staticcall SolidlyPool(pool).getAmountOut(high, token_in))
    return high


@internal
def _swap_solidly(pool: address, token_in: address, amount: uint256, bought: uint256):
    assert extcall IERC20(token_in).transfer(pool, amount)
    if token_in == staticcall SolidlyPool(pool).token0():
        extcall SolidlyPool(pool).swap(0, bought, self, b"")
    else:
        extcall SolidlyPool(pool).swap(bought, 0, self, b"")
