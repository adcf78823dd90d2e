"""Plain StableSwap pools with Curve's interface; two to four coins.

Which order of divisions a pool has, no function says. Pools that answer ``version()`` are taken for factory pools, and
a pool of our own says it; a wrong guess shows at the first exchange, whose amount the adapter then misses.
"""

from __future__ import annotations

from dexlane.chain import abi
from dexlane.chain.pool_loading.base import ChainReader, PoolUnreadable, WatchedPool, load_token
from dexlane.domain.amm.adapters.stableswap import FACTORY_REVISION, FEE_DENOMINATOR
from dexlane.values.amounts import PIPS_DENOMINATOR
from dexlane.values.pools import BalancesState, BalanceTerms, Pool, PoolKey
from dexlane.values.tokens import Token

_COINS = (bytes.fromhex("c6610657"), bytes.fromhex("23746eb8"))
"""``coins(uint256)``, and ``coins(int128)`` of the first pools; the balances alike."""
_BALANCES = (bytes.fromhex("4903b0d1"), bytes.fromhex("065a80d8"))
_A = bytes.fromhex("f446c1d0")
_A_PRECISE = bytes.fromhex("76a2f0f0")
_FEE = bytes.fromhex("ddca3f43")
_ADMIN_FEE = bytes.fromhex("fee3f7f9")
_STORED_RATES = bytes.fromhex("fd0684b1")
_POOL_REVISION = bytes.fromhex("fc087e04")
_VERSION = bytes.fromhex("54fd4d50")
_MOST_COINS = 4
_PRECISION = 100
"""``A_PRECISION`` of every pool that has ``A_precise``."""


async def load(reader: ChainReader, watched: WatchedPool) -> Pool:
    """A pool with its coins sorted by address. Raises ``PoolUnreadable`` for more than four coins."""
    pool = watched.address
    coins, balances = await _load_coins(reader, pool)
    fee, admin_fee = await reader.words([(pool, _FEE), (pool, _ADMIN_FEE)])
    amplification, precision = await _load_amplification(reader, pool)
    places = sorted(range(len(coins)), key=lambda place: int(coins[place].address, 16))
    rates = await _load_rates(reader, pool, coins)
    terms = BalanceTerms(
        fee=fee.uint(0),
        admin_fee=admin_fee.uint(0),
        scaling=tuple(rates[place] for place in places),
        amplification=amplification,
        amplification_precision=precision,
        order=tuple(places.index(place) for place in range(len(coins))),
        revision=await _load_revision(reader, pool),
    )
    tokens = [coins[place] for place in places]
    key = PoolKey(
        address=pool,
        protocol=watched.protocol,
        token0=tokens[0],
        token1=tokens[1],
        more_tokens=tuple(tokens[2:]),
        fee_pips=-(-fee.uint(0) * PIPS_DENOMINATOR // FEE_DENOMINATOR),
    )
    return Pool(key=key, state=BalancesState(balances=tuple(balances[place] for place in places), terms=terms))


async def _load_coins(reader: ChainReader, pool: str) -> tuple[list[Token], list[int]]:
    for coins_of, balances_of in zip(_COINS, _BALANCES, strict=True):
        places = [abi.uint(place) for place in range(_MOST_COINS + 1)]
        answers = await reader.read([(pool, coins_of + place) for place in places])
        addresses = [abi.Frame(answer).address(0) for answer in answers if answer]
        addresses = [address for address in addresses if int(address, 16)]
        if len(addresses) > _MOST_COINS:
            raise PoolUnreadable(f"{pool} has more than {_MOST_COINS} coins")
        if len(addresses) < 2:
            continue
        held = await reader.words([(pool, balances_of + place) for place in places[: len(addresses)]])
        return [await load_token(reader, address) for address in addresses], [balance.uint(0) for balance in held]
    raise PoolUnreadable(f"{pool} does not answer which coins it has")


async def _load_amplification(reader: ChainReader, pool: str) -> tuple[int, int]:
    """The amplification of this block, and in what part of one."""
    [whole] = await reader.words([(pool, _A)])
    [precise] = await reader.read([(pool, _A_PRECISE)])
    if not precise:
        return whole.uint(0), 1
    finer = abi.Frame(precise).uint(0)
    for precision in (_PRECISION, 1):
        if finer // precision == whole.uint(0):
            return finer, precision
    raise PoolUnreadable(f"{pool} has an amplification of {whole.uint(0)}, precisely {finer}: unknown precision")


async def _load_rates(reader: ChainReader, pool: str, coins: list[Token]) -> list[int]:
    [stored] = await reader.read([(pool, _STORED_RATES)])
    rates = abi.Frame(stored).words(0) if stored else [10 ** (36 - coin.decimals) for coin in coins]
    if len(rates) != len(coins):
        raise PoolUnreadable(f"{pool} has {len(coins)} coins and {len(rates)} rates")
    return rates


async def _load_revision(reader: ChainReader, pool: str) -> int:
    said, version = await reader.read([(pool, _POOL_REVISION), (pool, _VERSION)])
    if said:
        return abi.Frame(said).uint(0)
    return FACTORY_REVISION if version else 0
