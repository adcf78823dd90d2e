# pragma version 0.4.3
"""
@title  A plain pool on the StableSwap invariant
@notice Written for dexlane's tests from the invariant's paper and the published interface of Curve's pools: same
        functions, same events, same order of divisions as those pools are documented to have. It is not Curve's code.
        Two to four coins. `pool_revision` chooses how the product term divides: 0 by n at every coin (pools before the
        factories), 1 by n ** n at the end (factory pools). No owner: the pool's terms are those of its deployment,
        but for a linear ramp of the amplification that anybody may start.
@license Apache-2.0
"""

from ethereum.ercs import IERC20

event TokenExchange:
    buyer: indexed(address)
    sold_id: int128
    tokens_sold: uint256
    bought_id: int128
    tokens_bought: uint256

event AddLiquidity:
    provider: indexed(address)
    token_amounts: DynArray[uint256, 4]
    fees: DynArray[uint256, 4]
    invariant: uint256
    token_supply: uint256

event RemoveLiquidity:
    provider: indexed(address)
    token_amounts: DynArray[uint256, 4]
    fees: DynArray[uint256, 4]
    token_supply: uint256

event RampA:
    old_A: uint256
    new_A: uint256
    initial_time: uint256
    future_time: uint256

ONE: constant(uint256) = 10 ** 18
FEE_DENOMINATOR: constant(uint256) = 10 ** 10
ROUNDS: constant(uint256) = 255

N_COINS: public(immutable(uint256))
A_PRECISION: public(immutable(uint256))
pool_revision: public(immutable(uint256))
fee: public(immutable(uint256))
admin_fee: public(immutable(uint256))

coins: public(address[4])
balances: public(uint256[4])
rates: DynArray[uint256, 4]
initial_A: public(uint256)
future_A: public(uint256)
initial_A_time: public(uint256)
future_A_time: public(uint256)
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])


@deploy
def __init__(
    coins: DynArray[address, 4], coin_rates: DynArray[uint256, 4], amplification: uint256, a_precision: uint256,
    pool_fee: uint256, pool_admin_fee: uint256, revision: uint256
):
    assert len(coins) >= 2 and len(coins) == len(coin_rates)
    N_COINS = len(coins)
    A_PRECISION = a_precision
    pool_revision = revision
    fee = pool_fee
    admin_fee = pool_admin_fee
    self.initial_A = amplification
    self.future_A = amplification
    self.rates = coin_rates
    for k: uint256 in range(4):
        if k == len(coins):
            break
        self.coins[k] = coins[k]


@external
@view
def A() -> uint256:
    return self._amplification() // A_PRECISION


@external
@view
def A_precise() -> uint256:
    return self._amplification()


@external
@view
def stored_rates() -> DynArray[uint256, 4]:
    return self.rates


@external
@view
def get_virtual_price() -> uint256:
    return self._invariant(self._scaled()) * ONE // self.totalSupply


@external
@view
def get_dy(i: int128, j: int128, dx: uint256) -> uint256:
    bought: uint256 = 0
    fee_part: uint256 = 0
    bought, fee_part = self._bought(convert(i, uint256), convert(j, uint256), dx)
    return (bought - fee_part) * ONE // self.rates[convert(j, uint256)]


@external
def exchange(i: int128, j: int128, dx: uint256, min_dy: uint256) -> uint256:
    sold: uint256 = convert(i, uint256)
    wanted: uint256 = convert(j, uint256)
    bought: uint256 = 0
    fee_part: uint256 = 0
    bought, fee_part = self._bought(sold, wanted, dx)
    dy: uint256 = (bought - fee_part) * ONE // self.rates[wanted]
    assert dy >= min_dy
    admin_part: uint256 = (fee_part * admin_fee // FEE_DENOMINATOR) * ONE // self.rates[wanted]
    self.balances[sold] += dx
    self.balances[wanted] -= dy + admin_part
    assert extcall IERC20(self.coins[sold]).transferFrom(msg.sender, self, dx)
    assert extcall IERC20(self.coins[wanted]).transfer(msg.sender, dy)
    log TokenExchange(buyer=msg.sender, sold_id=i, tokens_sold=dx, bought_id=j, tokens_bought=dy)
    return dy


@external
def add_liquidity(amounts: DynArray[uint256, 4], min_mint_amount: uint256) -> uint256:
    before: uint256 = self._invariant(self._scaled())
    old: uint256[4] = self.balances
    for k: uint256 in range(4):
        if k == N_COINS:
            break
        if amounts[k] > 0:
            assert extcall IERC20(self.coins[k]).transferFrom(msg.sender, self, amounts[k])
        self.balances[k] += amounts[k]
    after: uint256 = self._invariant(self._scaled())
    assert after > before
    minted: uint256 = after
    fees: DynArray[uint256, 4] = []
    if self.totalSupply > 0:
        kept: uint256[4] = self.balances
        part: uint256 = fee * N_COINS // (4 * (N_COINS - 1))
        for k: uint256 in range(4):
            if k == N_COINS:
                break
            ideal: uint256 = after * old[k] // before
            off: uint256 = max(ideal, self.balances[k]) - min(ideal, self.balances[k])
            fees.append(part * off // FEE_DENOMINATOR)
            kept[k] = self.balances[k] - fees[k] * admin_fee // FEE_DENOMINATOR
            self.balances[k] -= fees[k]
        minted = self.totalSupply * (self._invariant(self._scaled()) - before) // before
        self.balances = kept
    assert minted >= min_mint_amount
    self.totalSupply += minted
    self.balanceOf[msg.sender] += minted
    log AddLiquidity(
        provider=msg.sender, token_amounts=amounts, fees=fees, invariant=after, token_supply=self.totalSupply
    )
    return minted


@external
def remove_liquidity(burnt: uint256, min_amounts: DynArray[uint256, 4]) -> DynArray[uint256, 4]:
    amounts: DynArray[uint256, 4] = []
    for k: uint256 in range(4):
        if k == N_COINS:
            break
        amount: uint256 = self.balances[k] * burnt // self.totalSupply
        assert amount >= min_amounts[k]
        self.balances[k] -= amount
        amounts.append(amount)
        assert extcall IERC20(self.coins[k]).transfer(msg.sender, amount)
    self.totalSupply -= burnt
    self.balanceOf[msg.sender] -= burnt
    log RemoveLiquidity(provider=msg.sender, token_amounts=amounts, fees=[], token_supply=self.totalSupply)
    return amounts


@external
def ramp_A(future: uint256, future_time: uint256):
    assert future_time > block.timestamp
    self.initial_A = self._amplification()
    self.initial_A_time = block.timestamp
    self.future_A = future
    self.future_A_time = future_time
    log RampA(old_A=self.initial_A, new_A=future, initial_time=block.timestamp, future_time=future_time)


@internal
@view
def _amplification() -> uint256:
    if block.timestamp >= self.future_A_time:
        return self.future_A
    passed: uint256 = block.timestamp - self.initial_A_time
    whole: uint256 = self.future_A_time - self.initial_A_time
    if self.future_A > self.initial_A:
        return self.initial_A + (self.future_A - self.initial_A) * passed // whole
    return self.initial_A - (self.initial_A - self.future_A) * passed // whole


@internal
@view
def _scaled() -> DynArray[uint256, 4]:
    xp: DynArray[uint256, 4] = []
    for k: uint256 in range(4):
        if k == N_COINS:
            break
        xp.append(self.balances[k] * self.rates[k] // ONE)
    return xp


@internal
@view
def _bought(i: uint256, j: uint256, dx: uint256) -> (uint256, uint256):
    """What the invariant gives for dx, before fee, and the fee of it; both with eighteen decimals."""
    assert i != j and i < N_COINS and j < N_COINS
    xp: DynArray[uint256, 4] = self._scaled()
    invariant: uint256 = self._invariant(xp)
    xp[i] += dx * self.rates[i] // ONE
    dy: uint256 = xp[j] - self._balance(j, xp, invariant) - 1
    return dy, dy * fee // FEE_DENOMINATOR


@internal
@view
def _invariant(xp: DynArray[uint256, 4]) -> uint256:
    total: uint256 = 0
    for x: uint256 in xp:
        total += x
    if total == 0:
        return 0
    D: uint256 = total
    Ann: uint256 = self._amplification() * N_COINS
    for _: uint256 in range(ROUNDS):
        D_P: uint256 = D
        for x: uint256 in xp:
            if pool_revision == 0:
                D_P = D_P * D // (x * N_COINS)
            else:
                D_P = D_P * D // x
        if pool_revision != 0:
            D_P = D_P // pow_mod256(N_COINS, N_COINS)
        before: uint256 = D
        D = (Ann * total // A_PRECISION + D_P * N_COINS) * D // (
            (Ann - A_PRECISION) * D // A_PRECISION + (N_COINS + 1) * D_P
        )
        if max(D, before) - min(D, before) <= 1:
            return D
    raise "no convergence"


@internal
@view
def _balance(j: uint256, xp: DynArray[uint256, 4], D: uint256) -> uint256:
    """The balance of coin j that the other balances imply."""
    Ann: uint256 = self._amplification() * N_COINS
    c: uint256 = D
    total: uint256 = 0
    for k: uint256 in range(4):
        if k == N_COINS:
            break
        if k != j:
            total += xp[k]
            c = c * D // (xp[k] * N_COINS)
    c = c * D * A_PRECISION // (Ann * N_COINS)
    b: uint256 = total + D * A_PRECISION // Ann
    y: uint256 = D
    for _: uint256 in range(ROUNDS):
        before: uint256 = y
        y = (y * y + c) // (2 * y + b - D)
        if max(y, before) - min(y, before) <= 1:
            return y
    raise "no convergence"
