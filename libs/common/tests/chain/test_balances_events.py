"""Logs of balance-based pools, by hand: what they say, and what is refused."""

from __future__ import annotations

import pytest

from dexlane.chain import abi
from dexlane.chain.answers import RawLog
from dexlane.chain.logs import UnreadableLog, decode_log, fold_logs
from dexlane.chain.pool_events import balancer, stableswap
from dexlane.domain.amm.changes import BalancesMoved, CoinsExchanged, LiquidityShifted
from dexlane.domain.amm.deltas import InconsistentDelta, apply_delta
from dexlane.domain.amm.quoting import quote_exact_in
from dexlane.domain.pool_table import PoolTable
from dexlane.values.pools import BalancesState, BalanceTerms, Pool, PoolKey, Protocol
from dexlane.values.tokens import Token
from dexlane_signer import keccak256

VAULT = "0xba12222222228d8ba445958a75a0704d566bf2c8"
POOL_ID = "0x" + "c4" * 20 + "0001" + "00" * 9 + "07"
POOL = POOL_ID[:42]
TOKENS = [Token(address=f"0x{place:040x}", symbol=f"T{place}", decimals=18) for place in (1, 2, 3)]
PROVIDER = "0x" + "00" * 12 + "aa" * 20


def a_pool(protocol: Protocol = Protocol.BALANCER_STABLE, order: tuple[int, ...] = ()) -> Pool:
    key = PoolKey(
        address=POOL, protocol=protocol, token0=TOKENS[0], token1=TOKENS[1], more_tokens=(TOKENS[2],), fee_pips=400
    )
    terms = BalanceTerms(fee=4_000_000, admin_fee=5 * 10**9, scaling=(10**18,) * 3, amplification=300, order=order)
    return Pool(key=key, state=BalancesState(balances=(10**24, 2 * 10**24, 3 * 10**24), terms=terms))


def a_log(topics: list[str], data: bytes, address: str = VAULT, index: int = 0) -> RawLog:
    return RawLog(address, tuple(topics), data, 1, "0x" + "11" * 32, "0x" + "22" * 32, index)


def in_topic(address: str) -> str:
    return "0x" + "00" * 12 + address[2:]


def topic_of(signature: str) -> str:
    return "0x" + keccak256(signature.encode()).hex()


def words(*values: int) -> bytes:
    return b"".join((value % (1 << 256)).to_bytes(32, "big") for value in values)


def a_vault_swap(token_in: str, token_out: str, amount_in: int, amount_out: int) -> RawLog:
    topics = [balancer.SWAP_TOPIC, POOL_ID, in_topic(token_in), in_topic(token_out)]
    return a_log(topics, words(amount_in, amount_out))


def a_change(tokens: list[str], deltas: list[int], fees: list[int]) -> RawLog:
    lists = [
        abi.array([abi.address(token) for token in tokens]),
        abi.array([words(delta) for delta in deltas]),
        abi.array([words(fee) for fee in fees]),
    ]
    return a_log([balancer.POOL_BALANCE_CHANGED_TOPIC, POOL_ID, PROVIDER], abi.frame(*lists))


def balances_after(pool: Pool, *logs: RawLog) -> tuple[int, ...]:
    [delta] = fold_logs(logs, PoolTable([pool]), {VAULT}).deltas
    state = apply_delta(pool, delta).state
    assert isinstance(state, BalancesState)
    return state.balances


def test_a_vault_swap_moves_two_balances_and_counts_as_volume() -> None:
    log = a_vault_swap(TOKENS[0].address, TOKENS[2].address, 500, 400)
    assert decode_log(log) == BalancesMoved(((TOKENS[0].address, 500), (TOKENS[2].address, -400)), traded=True)
    assert balances_after(a_pool(), log) == (10**24 + 500, 2 * 10**24, 3 * 10**24 - 400)
    assert fold_logs([log], PoolTable([a_pool()]), {VAULT}).volumes == {POOL: (500, 0, 400)}


def test_a_swap_of_the_pools_own_token_moves_only_the_other_balance() -> None:
    assert balances_after(a_pool(), a_vault_swap(POOL, TOKENS[1].address, 500, 400)) == (
        10**24,
        2 * 10**24 - 400,
        3 * 10**24,
    )


def test_a_swap_that_no_vault_emitted_changes_nothing() -> None:
    log = a_vault_swap(TOKENS[0].address, TOKENS[2].address, 500, 400)
    assert fold_logs([log], PoolTable([a_pool()]), frozenset()).deltas == ()


def test_protocol_fees_leave_the_pool_with_a_join_or_an_exit() -> None:
    log = a_change([token.address for token in TOKENS], [100, -50, 0], [7, 3, 2])
    assert balances_after(a_pool(), log) == (10**24 + 93, 2 * 10**24 - 53, 3 * 10**24 - 2)
    assert fold_logs([log], PoolTable([a_pool()]), {VAULT}).volumes == {POOL: (0, 0, 0)}


def test_a_join_with_lists_of_different_lengths_is_unreadable() -> None:
    with pytest.raises(UnreadableLog, match="different lengths"):
        decode_log(a_change([TOKENS[0].address], [1, 2], [0]))
    cut = a_change([TOKENS[0].address], [1], [0])
    with pytest.raises(UnreadableLog, match="malformed"):
        decode_log(cut._replace(data=cut.data[:-32]))


def test_more_than_the_pool_holds_cannot_leave_it() -> None:
    with pytest.raises(InconsistentDelta, match="more left"):
        balances_after(a_pool(), a_vault_swap(TOKENS[1].address, TOKENS[0].address, 1, 10**25))


def test_an_exchange_is_computed_again_and_must_come_to_the_same() -> None:
    pool = a_pool(Protocol.STABLESWAP, order=(2, 0, 1))
    quote = quote_exact_in(pool, TOKENS[2].address, 10**20, TOKENS[0].address)
    assert isinstance(quote.next_state, BalancesState)

    def exchange(bought: int) -> RawLog:
        return a_log([stableswap.EXCHANGE_TOPIC, PROVIDER], words(0, 10**20, 1, bought), POOL)

    assert decode_log(exchange(5)) == CoinsExchanged(0, 10**20, 1, 5)
    assert balances_after(pool, exchange(quote.amount_out)) == quote.next_state.balances
    with pytest.raises(InconsistentDelta, match="read it anew"):
        balances_after(pool, exchange(quote.amount_out + 1))


@pytest.mark.parametrize("fixed", [True, False])
def test_liquidity_events_give_the_balances_less_the_admin_part_of_the_fee(fixed: bool) -> None:
    amounts, fees = [900, 0, 30], [10, 21, 0]
    name = "uint256[3],uint256[3]" if fixed else "uint256[],uint256[]"
    topic = topic_of(f"AddLiquidity(address,{name},uint256,uint256)")
    data = words(*amounts, *fees, 1, 1)
    if not fixed:
        lists = [abi.array([words(value) for value in values]) for values in (amounts, fees)]
        data = abi.frame(*lists, words(1), words(1))
    log = a_log([topic, PROVIDER], data, POOL)
    assert decode_log(log) == LiquidityShifted((900, 0, 30), (10, 21, 0))
    assert balances_after(a_pool(Protocol.STABLESWAP), log) == (10**24 + 895, 2 * 10**24 - 10, 3 * 10**24 + 30)


def test_an_event_that_does_not_say_the_balances_asks_for_the_pool_anew() -> None:
    one = topic_of("RemoveLiquidityOne(address,uint256,uint256)")
    with pytest.raises(InconsistentDelta, match="read anew"):
        balances_after(a_pool(Protocol.STABLESWAP), a_log([one, PROVIDER], words(1, 2), POOL))


def test_an_exchange_of_a_coin_that_the_pool_has_not_is_refused() -> None:
    log = a_log([stableswap.EXCHANGE_TOPIC, PROVIDER], words(0, 5, 3, 4), POOL)
    with pytest.raises(InconsistentDelta, match="no coin 3"):
        balances_after(a_pool(Protocol.STABLESWAP), log)
    with pytest.raises(UnreadableLog, match="more than 8 bits"):
        decode_log(a_log([stableswap.EXCHANGE_TOPIC, PROVIDER], words(-1, 5, 0, 4), POOL))


def test_topics_are_the_hashes_of_the_signatures() -> None:
    assert topic_of("TokenExchange(address,int128,uint256,int128,uint256)") == stableswap.EXCHANGE_TOPIC
    shapes = {}
    for coins in (2, 3, 4, None):
        lists = ",".join([f"uint256[{coins or ''}]"] * 2)
        for name, sign, more in (
            ("AddLiquidity", 1, 2),
            ("RemoveLiquidity", -1, 1),
            ("RemoveLiquidityImbalance", -1, 2),
        ):
            signature = f"{name}(address,{lists}{',uint256' * more})"
            shapes[topic_of(signature)] = (sign, coins, None if coins is None else 2 * coins + more)
    assert shapes == stableswap.SHIFTS
    one = "RemoveLiquidityOne(address,{}uint256,uint256)"
    unsaid = [one.format(more) for more in ("", "uint256,", "int128,uint256,")]
    unsaid += ["RampA(uint256,uint256,uint256,uint256)", "StopRampA(uint256,uint256)", "NewFee(uint256,uint256)"]
    assert {*stableswap.UNSAID} == {topic_of(signature) for signature in (*unsaid, "ApplyNewFee(uint256)")}
    assert topic_of("Swap(bytes32,address,address,uint256,uint256)") == balancer.SWAP_TOPIC
    changed = "PoolBalanceChanged(bytes32,address,address[],int256[],uint256[])"
    assert topic_of(changed) == balancer.POOL_BALANCE_CHANGED_TOPIC
    managed = "PoolBalanceManaged(bytes32,address,address,int256,int256)"
    assert topic_of(managed) == balancer.POOL_BALANCE_MANAGED_TOPIC
    assert topic_of("SwapFeePercentageChanged(uint256)") == balancer.SWAP_FEE_PERCENTAGE_CHANGED_TOPIC
    assert topic_of("TokenRateCacheUpdated(uint256,uint256)") == balancer.RATE_CACHE_UPDATED_TOPIC
    assert topic_of("AmpUpdateStarted(uint256,uint256,uint256,uint256)") == balancer.AMP_UPDATE_STARTED_TOPIC
    assert topic_of("AmpUpdateStopped(uint256)") == balancer.AMP_UPDATE_STOPPED_TOPIC
