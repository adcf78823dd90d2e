"""Balancer V2 pools, weighted and composable stable: balances from the Vault, terms from the pool."""

from __future__ import annotations

from dexlane.chain import abi
from dexlane.chain.pool_loading.base import ChainReader, PoolUnreadable, WatchedPool, load_token
from dexlane.domain.amm.adapters.balancer_weighted import FIRST_REVISION
from dexlane.values.amounts import PIPS_DENOMINATOR
from dexlane.values.pools import BalancesState, BalanceTerms, Pool, PoolKey, Protocol
from dexlane.values.tokens import Token

_GET_POOL_ID = bytes.fromhex("38fff2d0")
_GET_VAULT = bytes.fromhex("8d928af8")
_GET_POOL_TOKENS = bytes.fromhex("f94d4668")
_GET_SWAP_FEE_PERCENTAGE = bytes.fromhex("55c67628")
_GET_NORMALIZED_WEIGHTS = bytes.fromhex("f89f27ed")
_GET_SCALING_FACTORS = bytes.fromhex("1dd746ea")
_GET_AMPLIFICATION_PARAMETER = bytes.fromhex("6daccffa")
_VERSION = bytes.fromhex("54fd4d50")
_ONE = 10**18


async def load(reader: ChainReader, watched: WatchedPool) -> Pool:
    """A pool with all its tokens but its own. Raises ``PoolUnreadable`` when another Vault holds it than was said."""
    pool = watched.address
    pool_id, vault, fee = await reader.words(
        [(pool, _GET_POOL_ID), (pool, _GET_VAULT), (pool, _GET_SWAP_FEE_PERCENTAGE)]
    )
    if watched.singleton not in {None, vault.address(0)}:
        raise PoolUnreadable(f"{pool} is held by {vault.address(0)}, not by {watched.singleton}")
    id_word = pool_id.uint(0)
    if id_word >> 96 != int(pool, 16):
        raise PoolUnreadable(f"{pool} has the pool id {id_word:#066x}, which begins with another address")
    [held] = await reader.words([(vault.address(0), _GET_POOL_TOKENS + abi.uint(id_word))])
    registered = [f"0x{word:040x}" for word in held.words(0)]
    places = [place for place, address in enumerate(registered) if address != pool]
    tokens = [await load_token(reader, registered[place]) for place in places]
    terms = await _load_terms(reader, watched, fee.uint(0), tokens, registered)
    balances = held.words(1)
    key = PoolKey(
        address=pool,
        protocol=watched.protocol,
        token0=tokens[0],
        token1=tokens[1],
        more_tokens=tuple(tokens[2:]),
        fee_pips=-(-fee.uint(0) * PIPS_DENOMINATOR // _ONE),
    )
    return Pool(key=key, state=BalancesState(balances=tuple(balances[place] for place in places), terms=terms))


async def _load_terms(
    reader: ChainReader, watched: WatchedPool, fee: int, tokens: list[Token], registered: list[str]
) -> BalanceTerms:
    pool = watched.address
    if watched.protocol is Protocol.BALANCER_WEIGHTED:
        [weights] = await reader.words([(pool, _GET_NORMALIZED_WEIGHTS)])
        [version] = await reader.read([(pool, _VERSION)])
        return BalanceTerms(
            fee=fee,
            scaling=tuple(10 ** (36 - token.decimals) for token in tokens),
            weights=tuple(weights.words(0)),
            revision=0 if version else FIRST_REVISION,
        )
    factors, amplification = await reader.words([(pool, _GET_SCALING_FACTORS), (pool, _GET_AMPLIFICATION_PARAMETER)])
    scaling = zip(registered, factors.words(0), strict=True)
    return BalanceTerms(
        fee=fee,
        scaling=tuple(factor for address, factor in scaling if address != pool),
        amplification=amplification.uint(0),
        amplification_precision=amplification.uint(2),
    )
