"""Decoding of pool events on recorded logs, and loading of pools from a chain."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dexlane.chain.logs
from dexlane.chain import abi
from dexlane.chain.answers import Header, RawLog, parse_log, parse_logs
from dexlane.chain.logs import (
    V2_SYNC_TOPIC,
    V3_BURN_TOPIC,
    V3_SWAP_TOPIC,
    LiquidityChanged,
    PoolSwapped,
    ReservesSynced,
    UnreadableLog,
    after_change,
    decode_log,
    fold_logs,
)
from dexlane.chain.multicall import MULTICALL3
from dexlane.chain.pool_events import PoolEvent
from dexlane.chain.pool_events.base import first_20_bytes_of_topic_1
from dexlane.chain.pool_events.uniswap import read_sync
from dexlane.chain.pool_loading import (
    ChainReader,
    PoolUnreadable,
    WatchedPool,
    load_pool,
    symbol_text,
)
from dexlane.chain.rpc import RpcError
from dexlane.domain.amm.deltas import InconsistentDelta
from dexlane.domain.amm.tick_math import sqrt_ratio_at_tick, tick_at_sqrt_ratio
from dexlane.domain.pool_table import PoolTable
from dexlane.testing.builders import a_pool_v2, a_reserves_delta
from dexlane.testing.fake_chain import FakeChain
from dexlane.values.pools import ConcentratedState, ConstantProductState, Protocol, Tick

POOL = "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640"
USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
RECORDED = json.loads((Path(__file__).parent / "golden" / "v3_logs.json").read_text())


def raw_log(topics: list[str], data: str) -> RawLog:
    return RawLog(POOL, tuple(topics), bytes.fromhex(data[2:]), 1, "0x" + "1" * 64, "0x" + "2" * 64, 0)


def words(*values: int) -> bytes:
    return b"".join(value.to_bytes(32, "big", signed=value < 0) for value in values)


def test_recorded_logs_are_read_exactly() -> None:
    changes = [decode_log(raw_log(log["topics"], log["data"])) for log in RECORDED]
    assert changes[0] == PoolSwapped(
        amount0=-22_686_110,
        amount1=10_000_000_000_000_000,
        sqrt_price_x96=0x51FDF2FD9B2526872A9B723450F2,
        liquidity=0xACD43E0E7CF808C5,
        tick=199_045,
    )
    assert [type(change).__name__ for change in changes] == [
        *["PoolSwapped"] * 4,
        *["LiquidityChanged"] * 4,
        "NoneType",
    ]
    assert changes[7] == LiquidityChanged(197_070, 200_490, 0)


def test_a_recorded_mint_and_its_burn_cancel_out() -> None:
    mint, burn = (decode_log(raw_log(RECORDED[index]["topics"], RECORDED[index]["data"])) for index in (4, 6))
    assert isinstance(mint, LiquidityChanged)
    assert isinstance(burn, LiquidityChanged)
    state = ConcentratedState(sqrt_price_x96=sqrt_ratio_at_tick(199_065), tick=199_065, liquidity=7)
    assert mint.liquidity_delta == -burn.liquidity_delta
    assert after_change(after_change(state, mint), burn) == state


def test_every_recorded_price_lies_in_its_tick() -> None:
    swaps = [decode_log(raw_log(log["topics"], log["data"])) for log in RECORDED[:4]]
    for swap in swaps:
        assert isinstance(swap, PoolSwapped)
        assert tick_at_sqrt_ratio(swap.sqrt_price_x96) == swap.tick


@given(st.integers(-(2**255), 2**255 - 1), st.integers(0, 2**160 - 1), st.integers(-887_272, 887_272))
def test_signed_words_survive_decoding(amount: int, price: int, tick: int) -> None:
    topics = [V3_SWAP_TOPIC, "0x" + "0" * 64, "0x" + "0" * 64]
    change = decode_log(
        raw_log(topics, "0x" + words(amount, -amount if amount > -(2**255) else 0, price, 5, tick).hex())
    )
    assert isinstance(change, PoolSwapped)
    assert (change.amount0, change.sqrt_price_x96, change.tick) == (amount, price, tick)


def test_sync_gives_the_reserves_after() -> None:
    change = decode_log(raw_log([V2_SYNC_TOPIC], "0x" + words(11, 2**112 - 1).hex()))
    assert change == ReservesSynced(11, 2**112 - 1)
    assert after_change(ConstantProductState(reserve0=1, reserve1=1), change) == ConstantProductState(
        reserve0=11, reserve1=2**112 - 1
    )


def test_other_events_change_nothing() -> None:
    assert decode_log(raw_log(["0x" + "9" * 64], "0x")) is None
    assert decode_log(raw_log([], "0x")) is None


@pytest.mark.parametrize(
    ("topics", "data"),
    [
        ([V2_SYNC_TOPIC], words(1)),
        ([V2_SYNC_TOPIC, "0x" + "0" * 64], words(1, 2)),
        ([V3_SWAP_TOPIC, "0x" + "0" * 64, "0x" + "0" * 64], words(1, 2, 3, 4, 5, 6, 7)),
        ([V3_BURN_TOPIC, "0x" + "0" * 64, "0x" + "0" * 64], words(1, 2, 3)),
    ],
)
def test_a_known_topic_with_other_data_is_refused(topics: list[str], data: bytes) -> None:
    with pytest.raises(UnreadableLog):
        decode_log(raw_log(topics, "0x" + data.hex()))


OUT_OF_RANGE = [
    ([V2_SYNC_TOPIC], words(2**112, 1)),
    ([V2_SYNC_TOPIC], words(1, -1)),
    ([V3_SWAP_TOPIC, "0x" + "0" * 64, "0x" + "0" * 64], words(1, 2, 2**160, 4, 5)),
    ([V3_SWAP_TOPIC, "0x" + "0" * 64, "0x" + "0" * 64], words(1, 2, 3, 2**128, 5)),
    ([V3_SWAP_TOPIC, "0x" + "0" * 64, "0x" + "0" * 64], words(1, 2, 3, 4, 887_273)),
    ([V3_BURN_TOPIC, "0x" + "0" * 64, "0x" + words(-887_273).hex(), "0x" + words(5).hex()], words(1, 2, 3)),
    ([V3_BURN_TOPIC, "0x" + "0" * 64, "0x" + words(-5).hex(), "0x" + words(5).hex()], words(2**128, 2, 3)),
    ([V3_BURN_TOPIC, "0x" + "0" * 64, "0x05", "0x" + words(5).hex()], words(1, 2, 3)),
    ([V3_BURN_TOPIC, "0x" + "0" * 64, "0x" + "z" * 64, "0x" + words(5).hex()], words(1, 2, 3)),
]


@pytest.mark.parametrize(("topics", "data"), OUT_OF_RANGE)
def test_a_field_outside_its_type_is_refused(topics: list[str], data: bytes) -> None:
    with pytest.raises(UnreadableLog):
        decode_log(raw_log(topics, "0x" + data.hex()))


ANSWER = {
    "address": POOL.upper().replace("0X", "0x"),
    "topics": [V2_SYNC_TOPIC],
    "data": "0x" + words(1, 2).hex(),
    "blockNumber": "0x1",
    "blockHash": "0x" + "A" * 64,
    "transactionHash": "0x" + "B" * 64,
    "logIndex": "0x7",
    "removed": False,
}


def test_a_log_is_read_in_lower_case() -> None:
    log = parse_log(ANSWER)
    assert log == RawLog(POOL, (V2_SYNC_TOPIC,), words(1, 2), 1, "0x" + "a" * 64, "0x" + "b" * 64, 7)
    other = ANSWER | {"blockHash": "0x" + "C" * 64, "blockNumber": "0x2", "logIndex": "0x8"}
    assert parse_logs([ANSWER, other, ANSWER]) == [log, parse_log(other), log]
    assert parse_log(other).block_hash == "0x" + "c" * 64


@pytest.mark.parametrize(
    "broken",
    [
        {"removed": True},
        {"blockHash": None},
        {"blockNumber": None},
        {"logIndex": "seven"},
        {"logIndex": 7},
        {"data": "0x0"},
        {"data": None},
        {"address": None},
        {"topics": None},
        {"transactionHash": None},
    ],
)
def test_a_broken_or_removed_answer_is_refused_by_name(broken: dict[str, Any]) -> None:
    with pytest.raises(UnreadableLog):
        parse_logs([ANSWER, ANSWER | broken])
    with pytest.raises(UnreadableLog):
        parse_log({name: value for name, value in (ANSWER | broken).items() if name not in broken or value is True})


def at(index: int, log: RawLog) -> RawLog:
    return log._replace(log_index=index)


SYNC = raw_log([V2_SYNC_TOPIC], "0x" + words(11, 12).hex())
PAIRS = PoolTable([a_pool_v2(address=POOL, reserve0=20, reserve1=6)])


def test_logs_count_in_the_order_of_their_index_whatever_the_order_they_come_in() -> None:
    last = raw_log([V2_SYNC_TOPIC], "0x" + words(13, 10).hex())
    folded = fold_logs([at(9, last), at(2, SYNC)], PAIRS)
    assert folded.deltas == (a_reserves_delta(pool=POOL, reserve0=13, reserve1=10),)
    assert folded.volumes == {POOL: (9 + 2, 6 + 2)}
    assert folded.foreign is None


def test_a_log_that_is_there_twice_is_refused() -> None:
    with pytest.raises(UnreadableLog, match="log 3 of block 1 is there twice"):
        fold_logs([at(3, SYNC), at(1, SYNC), at(3, SYNC)], PAIRS)


def test_an_event_of_an_unwatched_address_changes_nothing_and_is_named() -> None:
    spoof = at(1, SYNC)._replace(address=USDC)
    folded = fold_logs([spoof], PAIRS)
    assert (folded.deltas, folded.foreign) == ((), USDC)
    assert fold_logs([raw_log(["0x" + "9" * 64], "0x")], PoolTable()).foreign is None


def test_a_pool_inside_a_singleton_is_found_by_its_id_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    topic, manager = "0x" + "7" * 64, "0x" + "5" * 40
    event = PoolEvent(topics=2, words=2, decode=read_sync, pool_in=first_20_bytes_of_topic_1)
    monkeypatch.setitem(dexlane.chain.logs._EVENTS, topic, event)
    log = at(0, raw_log([topic, POOL + "00" * 12], "0x" + words(1, 2).hex()))._replace(address=manager)
    assert len(fold_logs([log], PAIRS, {manager}).deltas) == 1
    assert fold_logs([log], PAIRS).deltas == ()
    assert fold_logs([log], PoolTable(), {manager}) == ((), {}, None)
    with pytest.raises(UnreadableLog):
        fold_logs([log._replace(data=words(1))], PAIRS, {manager})
    with pytest.raises(UnreadableLog, match="names no pool"):
        fold_logs([log._replace(topics=(topic,))], PAIRS, {manager})


def test_a_swap_cannot_happen_to_a_constant_product_pool() -> None:
    with pytest.raises(InconsistentDelta):
        after_change(ConstantProductState(reserve0=1, reserve1=1), PoolSwapped(1, -1, 1, 1, 1))


class ContractsOnChain:
    """Answers view calls as a V3 pool, its tokens and Multicall3 do."""

    def __init__(self, state: ConcentratedState) -> None:
        self.state = state
        self.spacing = 10
        self.symbols: dict[str, bytes] = {
            USDC: abi.frame(abi.byte_string(b"USDC")),
            WETH: b"WETH".ljust(32, b"\0"),
        }

    def __call__(self, to: str, data: bytes, header: Header) -> bytes:
        if to == MULTICALL3:
            return self._aggregate(data)
        selector, argument = data[:4].hex(), int.from_bytes(data[4:36], "big", signed=True)
        known: dict[str, Callable[[], bytes]] = {
            "0dfe1681": lambda: abi.address(USDC),
            "d21220a7": lambda: abi.address(WETH),
            "ddca3f43": lambda: words(500),
            "d0c93a7c": lambda: words(self.spacing),
            "1a686502": lambda: words(self.state.liquidity),
            "3850c7bd": lambda: words(self.state.sqrt_price_x96, self.state.tick, 0, 0, 0, 0, 1),
            "5339c296": lambda: words(self._bitmap(argument)),
            "f30dba93": lambda: self._tick(argument),
            "95d89b41": lambda: self.symbols[to],
            "313ce567": lambda: words(6 if to == USDC else 18),
        }
        if selector not in known:
            raise RpcError(3, "execution reverted", "0x")
        return known[selector]()

    def _aggregate(self, data: bytes) -> bytes:
        calls = abi.Frame(data[4:]).tuples(0)
        results = [
            abi.Dynamic(abi.frame(abi.uint(1), abi.byte_string(self(call.address(0), call.byte_string(2), HEADER))))
            for call in calls
        ]
        return abi.frame(abi.array(results))

    def _bitmap(self, word: int) -> int:
        compressed = [known.tick // self.spacing for known in self.state.ticks]
        return sum(1 << (index & 255) for index in compressed if index >> 8 == word)

    def _tick(self, index: int) -> bytes:
        [tick] = [known for known in self.state.ticks if known.tick == index]
        return words(tick.liquidity_gross, tick.liquidity_net, 0, 0, 0, 0, 0, 1)


HEADER = FakeChain().tip
TICKS = (Tick(-887_270, 100, 100), Tick(-2_560, 7, 7), Tick(-10, 3, -3), Tick(2_550, 4, -4), Tick(887_270, 100, -100))
STATE = ConcentratedState(sqrt_price_x96=sqrt_ratio_at_tick(5), tick=5, liquidity=104, ticks=TICKS)


@pytest.mark.parametrize("multicall", [True, False])
async def test_a_pool_is_loaded_with_every_initialised_tick(multicall: bool) -> None:
    chain = FakeChain()
    chain.answer_call = ContractsOnChain(STATE)
    chain.codes = {MULTICALL3: b"\x01"} if multicall else {}
    reader = await ChainReader.at(chain.rpc(), chain.tip.hash)
    pool = await load_pool(reader, WatchedPool(address=POOL, protocol=Protocol.UNISWAP_V3))
    assert pool.state == STATE
    assert (pool.key.fee_pips, pool.key.tick_spacing) == (500, 10)
    assert [(token.symbol, token.decimals) for token in (pool.key.token0, pool.key.token1)] == [
        ("USDC", 6),
        ("WETH", 18),
    ]


async def test_ticks_that_contradict_the_liquidity_are_refused() -> None:
    chain = FakeChain()
    chain.answer_call = ContractsOnChain(replace(STATE, liquidity=105))
    with pytest.raises(PoolUnreadable, match="add up to 104"):
        await load_pool(
            await ChainReader.at(chain.rpc(), chain.tip.hash), WatchedPool(address=POOL, protocol=Protocol.UNISWAP_V3)
        )


async def test_an_address_that_is_no_pool_is_refused() -> None:
    chain = FakeChain()
    with pytest.raises(PoolUnreadable, match="does not answer"):
        await load_pool(
            await ChainReader.at(chain.rpc(), "latest"), WatchedPool(address=POOL, protocol=Protocol.UNISWAP_V2)
        )


async def test_a_block_that_left_the_chain_is_an_error_and_no_revert() -> None:
    chain = FakeChain()
    chain.mine(2)
    gone = chain.tip.hash
    reader = await ChainReader.at(chain.rpc(), gone)
    chain.reorg(1)
    with pytest.raises(RpcError):
        await load_pool(reader, WatchedPool(address=POOL, protocol=Protocol.UNISWAP_V3))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"MKR".ljust(32, b"\0"), "MKR"),
        (abi.frame(abi.byte_string(b"USDC")), "USDC"),
        (abi.frame(abi.byte_string(b"\x1b[31mUSDC\n")), "[31mUSDC"),
        (abi.frame(abi.byte_string(b"X" * 500)), "X" * 32),
        (abi.frame(abi.byte_string(b"\xff\xfe")), ""),
        (words(2**255, 5), ""),
        (b"", ""),
        (None, ""),
    ],
)
def test_symbols_are_made_printable(answer: bytes | None, expected: str) -> None:
    assert symbol_text(answer) == expected
