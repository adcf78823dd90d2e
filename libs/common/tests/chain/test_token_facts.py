"""Tokens that answer oddly: what is read of them, and that none is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.chain import abi
from dexlane.chain.answers import Header
from dexlane.chain.pool_loading import ChainReader, PoolUnreadable, load_token
from dexlane.chain.rpc import RpcError
from dexlane.chain.token_facts import TokenFacts, read_token
from dexlane.testing.fake_chain import FakeChain

TOKEN = "0x" + "7" * 40
REVERT, OUT_OF_GAS = RpcError(3, "execution reverted"), RpcError(-32003, "out of gas: gas required exceeds: 50000000")
SIX = abi.uint(6)


def _chain(symbol: bytes | RpcError, decimals: bytes | RpcError) -> FakeChain:
    chain = FakeChain(1)

    def answer(_to: str, data: bytes, _header: Header) -> bytes:
        given = symbol if data.hex() == "95d89b41" else decimals
        if isinstance(given, RpcError):
            raise given
        return given

    chain.answer_call = answer
    return chain


async def facts(symbol: bytes | RpcError, decimals: bytes | RpcError) -> TokenFacts:
    chain = _chain(symbol, decimals)
    return await read_token(chain.rpc(), TOKEN, chain.tip.hash)


@pytest.mark.parametrize(
    ("symbol", "text"),
    [
        (abi.frame(abi.byte_string(b"USDC")), "USDC"),
        (b"MKR".ljust(32, b"\0"), "MKR"),
        (abi.frame(abi.byte_string(b"a\x00b\n\xe2\x80\xaec\xff")), "abc"),
        (abi.frame(abi.byte_string(b"x" * 900)), "x" * 32),
        (abi.frame(abi.byte_string(b"x" * 100_000)), TOKEN[:10]),
        (b"", TOKEN[:10]),
        (b"\0" * 32, TOKEN[:10]),
        (abi.uint(1 << 255) + bytes(64), TOKEN[:10]),
        (REVERT, TOKEN[:10]),
        (OUT_OF_GAS, TOKEN[:10]),
    ],
    ids=["string", "bytes32", "unprintable", "long", "huge", "empty", "zeros", "bad offset", "reverts", "burns"],
)
async def test_any_symbol_becomes_a_short_printable_text(symbol: bytes | RpcError, text: str) -> None:
    assert await facts(symbol, SIX) == TokenFacts(address=TOKEN, symbol=text, decimals=6)


@pytest.mark.parametrize(
    ("decimals", "reason"),
    [
        (b"", "does not answer"),
        (REVERT, "does not answer"),
        (OUT_OF_GAS, "does not answer"),
        (b"\x06", "1 bytes"),
        (abi.uint(78), "more decimals"),
        (abi.uint(1 << 255), "more decimals"),
    ],
    ids=["empty", "reverts", "burns", "short", "78", "absurd"],
)
async def test_a_token_without_usable_decimals_is_recorded_and_is_no_token_to_trade(
    decimals: bytes | RpcError, reason: str
) -> None:
    found = await facts(abi.frame(abi.byte_string(b"BAD")), decimals)
    assert (found.symbol, found.decimals, found.token) == ("BAD", None, None)
    assert reason in found.reason


async def test_a_refusal_that_says_nothing_about_the_token_is_no_fact() -> None:
    with pytest.raises(RpcError, match="rate"):
        await facts(b"", RpcError(-32005, "rate limited"))


async def test_a_pool_with_such_a_token_is_not_loaded() -> None:
    chain = _chain(b"", abi.uint(200))
    with pytest.raises(PoolUnreadable, match="more decimals"):
        await load_token(await ChainReader.at(chain.rpc(), chain.tip.hash), TOKEN)


@given(st.binary(max_size=300), st.binary(max_size=100))
async def test_whatever_a_token_answers_there_are_facts(symbol: bytes, decimals: bytes) -> None:
    found = await facts(symbol, decimals)
    assert 1 <= len(found.symbol) <= 32
    assert found.symbol.isprintable()
    assert (found.decimals is None) == bool(found.reason) == (found.token is None)
