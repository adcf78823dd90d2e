"""Age, events and the terms of a locker, from nodes that tell all, a part, or nonsense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.chain.link import RpcError
from dexlane.chain.token_background.birth import read_birth
from dexlane.chain.token_background.events import TRANSFER, read_events, words
from dexlane.chain.token_background.locks import TIMES_S, UNCX, examine, read_terms
from dexlane.chain.token_background.scout import Look, Scout
from dexlane.chain.token_check.asking import Head
from dexlane.chain.token_check.probe import selector
from dexlane.domain.risk.token_background import Birth, Holding, Keeper
from dexlane.testing.told_node import ToldNode

TOKEN, LOCKER = "0x" + "7" * 40, next(iter(UNCX))
DAY, NOW_S = 86_400, 1_700_000_000
GONE = RpcError(-32000, "missing trie node")


def head(number: int) -> Head:
    return Head(number, "0x" + "0" * 64, NOW_S, 10**9, 30_000_000, "0x" + "0" * 40, "0x" + "0" * 64)


@settings(deadline=None)
@given(st.integers(0, 30_000_000), st.integers(0, 1_000_000), st.integers(0, 31_000_000), st.booleans())
async def test_the_age_is_exact_where_the_node_has_the_states_and_a_least_age_elsewhere(
    born: int, age: int, oldest_state: int, told: bool
) -> None:
    newest = born + age
    kept = min(oldest_state, newest)

    def code(method: str, params: Sequence[Any]) -> Any:
        if method == "eth_getBlockByNumber":
            return {"timestamp": hex(2 * int(params[0], 16))} if told else GONE
        number = int(params[1], 16)
        return GONE if number < kept else "0x60" if number >= born else "0x"

    node = ToldNode(code)
    found = await read_birth(node, TOKEN, head(newest))
    seen, first = born == 0 or kept <= born - 1, max(born, kept)
    at_s = NOW_S if first == newest else 2 * first if told else None
    assert found == Birth(first, at_s, exact=seen if kept <= born else kept == 0)
    assert node.rounds <= 9


@pytest.mark.parametrize(("block_ms", "blocks"), [(12_000, 216_000), (2_000, 1_296_000), (250, 10_368_000)])
def test_a_later_moment_is_as_many_blocks_ahead_as_the_chain_makes_in_it(block_ms: int, blocks: int) -> None:
    _, params = Scout(ToldNode(lambda method, params: None), head(100), block_ms).request(Look(ahead_s=30 * DAY))
    assert params[3] == {"number": hex(100 + blocks), "time": hex(NOW_S + 30 * DAY)}


@pytest.mark.parametrize("block_ms", [None, 0, -5])
def test_nothing_is_seen_of_later_moments_where_nobody_tells_how_fast_blocks_come(block_ms: int | None) -> None:
    scout = Scout(ToldNode(lambda method, params: None), head(100), block_ms)
    assert len(scout.request(Look())[1]) == 3
    with pytest.raises(RpcError, match="how fast"):
        scout.request(Look(ahead_s=DAY))


@pytest.mark.parametrize(("most", "since"), [(5_000, 95_000), (500, 99_500), (60, 99_950)])
async def test_a_shorter_window_is_asked_for_where_a_longer_one_is_refused(most: int, since: int) -> None:
    def logs(method: str, params: Sequence[Any]) -> Any:
        wide = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16)
        return RpcError(-32005, "too many results") if wide > most else []

    assert (await read_events(ToldNode(logs), TOKEN, (TRANSFER,), head(100_000))).from_block == since


async def test_a_node_that_tells_no_events_is_no_empty_history() -> None:
    with pytest.raises(RpcError, match="too many"):
        await read_events(
            ToldNode(lambda method, params: RpcError(-32005, "too many results")), TOKEN, (TRANSFER,), head(9)
        )
    with pytest.raises(RpcError, match="no events"):
        await read_events(ToldNode(lambda method, params: None), TOKEN, (TRANSFER,), head(9))


def test_words_of_an_event_leave_out_what_is_cut_off() -> None:
    assert words({"data": "0x" + f"{5:064x}" + "ff"}) == [5]
    assert words({}) == []


def terms(*locks: tuple[int, int], count: int | None = None) -> ToldNode:
    """A locker with so many locks, each an amount and the second it ends at."""
    number, one = selector("getNumLocksForToken(address)").hex(), selector("tokenLocks(address,uint256)").hex()

    def answer(method: str, params: Sequence[Any]) -> Any:
        data = params[0]["data"][2:]
        if data.startswith(number):
            return f"0x{len(locks) if count is None else count:064x}"
        assert data.startswith(one)
        amount, ends = locks[int(data[-64:], 16)]
        return "0x" + "".join(f"{word:064x}" for word in (NOW_S, amount, amount, ends, 1, 0))

    return ToldNode(answer)


async def kept(node: ToldNode, amount: int = 1_000) -> tuple[int, str]:
    """What the locker keeps for 30 days, and how that is known."""
    held = Holding(holder=LOCKER, amount=amount, keeper=Keeper.LOCKER)
    found = await read_terms(Scout(node, head(9)), TOKEN, held)
    return found.kept(30 * DAY), found.note


async def test_a_locker_that_tells_its_dates_keeps_what_they_say() -> None:
    soon, late = NOW_S + 5 * DAY, NOW_S + 400 * DAY
    assert await kept(terms((600, late), (300, soon))) == (600, "2 locks, as it tells them")
    assert (await kept(terms((1_000, late))))[0] == 1_000
    assert (await kept(terms((1_000, NOW_S - 1))))[0] == 0
    assert TIMES_S[0] == 0


@pytest.mark.parametrize(
    "node",
    [
        terms((2_000, NOW_S + 400 * DAY)),
        terms(count=41),
        ToldNode(lambda method, params: RpcError(3, "execution reverted")),
        ToldNode(lambda method, params: "0x"),
    ],
    ids=["more than it holds", "too many", "refused", "nothing"],
)
async def test_terms_that_do_not_add_up_keep_nothing(node: ToldNode) -> None:
    assert (await kept(node))[0] == 0


def vault(enough: bool) -> ToldNode:
    """A contract with one function, of which every call fails; ``enough``: the last one tried had its gas."""

    def answer(method: str, params: Sequence[Any]) -> Any:
        if method == "eth_getCode":
            return "0x63" + "11223344" + "00"
        if method == "eth_getStorageAt":
            return "0x" + "0" * 24 + "8" * 40
        if len(params) == 2:
            return "0x"
        tries = bytes.fromhex(params[0]["data"][2:])[23:25]
        last = b"\x01" + bytes(128) if enough else b"\0"
        return "0x" + (bytes(int.from_bytes(tries, "big") - 1) + last).hex()

    return ToldNode(answer)


@pytest.mark.parametrize(("enough", "says"), [(True, "nothing was seen"), (False, "burns too much gas")])
async def test_withdrawals_that_had_too_little_gas_show_nothing(enough: bool, says: str) -> None:
    held = Holding(holder="0x" + "9" * 40, amount=1_000, keeper=Keeper.CONTRACT)
    found = await examine(Scout(vault(enough), head(9), 12_000), TOKEN, held, ())
    assert says in found.note
    assert found.keeper is Keeper.CONTRACT


async def test_other_lockers_are_not_taken_at_their_word() -> None:
    held = Holding(holder="0x" + "9" * 40, amount=5, keeper=Keeper.LOCKER)
    found = await read_terms(Scout(terms(), head(9)), TOKEN, held)
    assert (found.kept(0), found.note) == (0, "its terms are not read")
