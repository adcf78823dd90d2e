"""Calls to Router02 and SwapRouter02, rule by rule, encoded by eth_abi."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from dexlane_signer import PERMIT2, CheckContext, DenialReason, Policy, TokenLimit, check, keccak256
from dexlane_signer.call_rules import examine
from dexlane_signer.direct_calls import (
    DIRECT_SELECTORS,
    ROUTER02_SELECTORS,
    SWAP_ROUTER02_SELECTORS,
    decode_direct,
)
from dexlane_signer.effects import Effect
from dexlane_signer.purposes import opens_position
from dexlane_signer.router_calls import MalformedCalldataError, UnknownCommandError

from .conftest import KEY, NOW_S, ROUTER_ITSELF, US, USDC, WETH, transaction

ROUTER02 = "0x7a250d5630b4cf539739df2c5dacb4c659f2488d"
SWAP_ROUTER02 = "0x68b3465833fb72a70ecdf485e0e4c7bd8665fc45"
STRANGER = "0x" + "66" * 20
SOON_S = NOW_S + 60
R = DenialReason
ME = KEY.address

TOKENS = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
TAXED = "swapExactTokensForTokensSupportingFeeOnTransferTokens(uint256,uint256,address[],address,uint256)"
FOR_ETH = "swapExactTokensForETH(uint256,uint256,address[],address,uint256)"
FOR_TAXED_ETH = "swapExactTokensForETHSupportingFeeOnTransferTokens(uint256,uint256,address[],address,uint256)"
FROM_ETH = "swapExactETHForTokens(uint256,address[],address,uint256)"
FROM_TAXED_ETH = "swapExactETHForTokensSupportingFeeOnTransferTokens(uint256,address[],address,uint256)"
FIVE = ["uint256", "uint256", "address[]", "address", "uint256"]


def call(signature: str, types: list[str], *arguments: Any) -> bytes:
    return keccak256(signature.encode())[:4] + encode(types, arguments)


def tokens(signature: str = TOKENS, **changes: Any) -> bytes:
    fields = {"amount": 100, "minimum": 7, "path": [USDC, WETH], "to": ME, "deadline": SOON_S} | changes
    return call(signature, FIVE, *fields.values())


def from_eth(signature: str = FROM_ETH, **changes: Any) -> bytes:
    fields = {"minimum": 7, "path": [WETH, USDC], "to": ME, "deadline": SOON_S} | changes
    return call(signature, ["uint256", "address[]", "address", "uint256"], *fields.values())


def single(**changes: Any) -> bytes:
    fields: dict[str, Any] = {"in": USDC, "out": WETH, "fee": 500, "to": US, "amount": 100, "minimum": 7, "limit": 0}
    types = ["(address,address,uint24,address,uint256,uint256,uint160)"]
    signature = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))"
    return call(signature, types, tuple((fields | changes).values()))


def along(*path: str, to: str = US, amount: int = 100, minimum: int = 7) -> bytes:
    packed = (500).to_bytes(3, "big").join(bytes.fromhex(token[2:]) for token in path)
    return call("exactInput((bytes,address,uint256,uint256))", ["(bytes,address,uint256,uint256)"], (packed, to, amount, minimum))  # fmt: skip # noqa: E501


def v2_leg(*path: str, to: str = US, amount: int = 100, minimum: int = 7) -> bytes:
    signature = "swapExactTokensForTokens(uint256,uint256,address[],address)"
    return call(signature, ["uint256", "uint256", "address[]", "address"], amount, minimum, list(path), to)


def unwrap(minimum: int = 7, to: str = ME) -> bytes:
    return call("unwrapWETH9(uint256,address)", ["uint256", "address"], minimum, to)


def multicall(*calls: bytes, deadline_s: int = SOON_S) -> bytes:
    return call("multicall(uint256,bytes[])", ["uint256", "bytes[]"], deadline_s, list(calls))


@pytest.fixture
def policy(make_policy: Callable[..., Policy]) -> Policy:
    return make_policy(routers={ROUTER02: ROUTER02_SELECTORS, SWAP_ROUTER02: SWAP_ROUTER02_SELECTORS})


def reason(policy: Policy, to: str, data: bytes, value_wei: int = 0) -> DenialReason | None:
    denial = check(
        policy, transaction(to=to, data=data, value_wei=value_wei), CheckContext(sender=ME, kind="trade", now_s=NOW_S)
    )
    return denial.reason if denial else None


SOUND: dict[str, tuple[str, bytes, int]] = {
    "tokens": (ROUTER02, tokens(), 0),
    "taxed tokens": (ROUTER02, tokens(TAXED), 0),
    "for native": (ROUTER02, tokens(FOR_ETH), 0),
    "taxed for native": (ROUTER02, tokens(FOR_TAXED_ETH), 0),
    "native for tokens": (ROUTER02, from_eth(), 100),
    "native for taxed tokens": (ROUTER02, from_eth(FROM_TAXED_ETH), 100),
    "single": (SWAP_ROUTER02, multicall(single()), 0),
    "along a path": (SWAP_ROUTER02, multicall(along(USDC, WETH)), 0),
    "two protocols": (
        SWAP_ROUTER02,
        multicall(along(USDC, WETH, to=ROUTER_ITSELF, minimum=0), v2_leg(WETH, USDC, amount=0, minimum=100)),
        0,
    ),
    "split": (SWAP_ROUTER02, multicall(single(amount=60), v2_leg(USDC, WETH, amount=40, to=ME)), 0),
    "value into two chains": (
        SWAP_ROUTER02,
        multicall(along(WETH, USDC, amount=60), v2_leg(WETH, USDC, amount=40)),
        100,
    ),
    "unwrapped": (SWAP_ROUTER02, multicall(single(to=ROUTER_ITSELF), unwrap()), 0),
}


@pytest.mark.parametrize("case", SOUND.values(), ids=SOUND)
def test_sound_call_is_allowed(policy: Policy, case: tuple[str, bytes, int]) -> None:
    assert reason(policy, *case) is None


UNSOUND: list[tuple[str, bytes, int, DenialReason]] = [
    (ROUTER02, tokens(to=STRANGER), 0, R.WRONG_RECIPIENT),
    (ROUTER02, tokens(to=US), 0, R.MALFORMED_CALLDATA),
    (ROUTER02, tokens(to=ROUTER_ITSELF), 0, R.MALFORMED_CALLDATA),
    (ROUTER02, tokens(minimum=0), 0, R.NO_MINIMUM_OUT),
    (ROUTER02, tokens(amount=0), 0, R.BROKEN_CHAIN),
    (ROUTER02, tokens(amount=1_001), 0, R.AMOUNT_OVER_CAP),
    (ROUTER02, tokens(path=[WETH, USDC]), 0, R.UNKNOWN_TOKEN),
    (ROUTER02, tokens(path=[USDC]), 0, R.MALFORMED_CALLDATA),
    (ROUTER02, tokens(path=[USDC, WETH, USDC]), 0, R.LOSING_ROUND_TRIP),
    (ROUTER02, tokens(deadline=NOW_S - 1), 0, R.DEADLINE_PASSED),
    (ROUTER02, tokens(deadline=NOW_S + 601), 0, R.DEADLINE_TOO_FAR),
    (ROUTER02, tokens(), 1, R.VALUE_NOT_ALLOWED),
    (ROUTER02, tokens() + bytes(32), 0, R.MALFORMED_CALLDATA),
    (ROUTER02, tokens(FOR_ETH, to=STRANGER), 0, R.WRONG_RECIPIENT),
    (ROUTER02, tokens(FOR_ETH, to=US), 0, R.MALFORMED_CALLDATA),
    (ROUTER02, tokens(FOR_ETH, path=[USDC, STRANGER]), 0, R.WRONG_RECIPIENT),
    (ROUTER02, tokens(FOR_ETH, minimum=0), 0, R.NO_MINIMUM_OUT),
    (ROUTER02, from_eth(), 0, R.VALUE_NOT_ALLOWED),
    (ROUTER02, from_eth(path=[USDC, WETH]), 100, R.BROKEN_CHAIN),
    (ROUTER02, from_eth(to=STRANGER), 100, R.WRONG_RECIPIENT),
    (ROUTER02, from_eth(minimum=0), 100, R.NO_MINIMUM_OUT),
    (ROUTER02, multicall(single()), 0, R.UNKNOWN_SELECTOR),
    (SWAP_ROUTER02, tokens(), 0, R.UNKNOWN_SELECTOR),
    (SWAP_ROUTER02, single(), 0, R.UNKNOWN_SELECTOR),
    (SWAP_ROUTER02, multicall(), 0, R.NO_SWAP),
    (SWAP_ROUTER02, multicall(single(to=STRANGER)), 0, R.WRONG_RECIPIENT),
    (SWAP_ROUTER02, multicall(single(to=ROUTER_ITSELF)), 0, R.WRONG_RECIPIENT),
    (SWAP_ROUTER02, multicall(single(minimum=0)), 0, R.NO_MINIMUM_OUT),
    (SWAP_ROUTER02, multicall(single(limit=1)), 0, R.MALFORMED_CALLDATA),
    (SWAP_ROUTER02, multicall(single(amount=0)), 0, R.BROKEN_CHAIN),
    (SWAP_ROUTER02, multicall(along(USDC, WETH, amount=1_001)), 0, R.AMOUNT_OVER_CAP),
    (SWAP_ROUTER02, multicall(along(USDC)), 0, R.MALFORMED_CALLDATA),
    (SWAP_ROUTER02, multicall(single(), deadline_s=NOW_S - 1), 0, R.DEADLINE_PASSED),
    (SWAP_ROUTER02, multicall(multicall(single())), 0, R.UNKNOWN_COMMAND),
    (SWAP_ROUTER02, multicall(tokens()), 0, R.UNKNOWN_COMMAND),
    (SWAP_ROUTER02, multicall(b""), 0, R.UNKNOWN_COMMAND),
    (SWAP_ROUTER02, multicall(*[single()] * 17), 0, R.MALFORMED_CALLDATA),
    (SWAP_ROUTER02, multicall(single(to=ROUTER_ITSELF), unwrap(6)), 0, R.NO_MINIMUM_OUT),
    (SWAP_ROUTER02, multicall(single(to=ROUTER_ITSELF), unwrap(7, STRANGER)), 0, R.WRONG_RECIPIENT),
    (SWAP_ROUTER02, multicall(single(to=ROUTER_ITSELF), unwrap(7, US)), 0, R.MALFORMED_CALLDATA),
    (SWAP_ROUTER02, multicall(along(WETH, USDC, amount=99)), 100, R.BROKEN_CHAIN),
    (SWAP_ROUTER02, multicall(single()), 100, R.BROKEN_CHAIN),
]


@pytest.mark.parametrize(("to", "data", "value_wei", "expected"), UNSOUND)
def test_unsound_call_is_denied(policy: Policy, to: str, data: bytes, value_wei: int, expected: DenialReason) -> None:
    assert reason(policy, to, data, value_wei) is expected


def test_a_fee_or_address_with_too_many_bytes_is_refused(policy: Policy) -> None:
    for word in (0, 1, 2, 3):
        spoiled = bytearray(single())
        spoiled[4 + 32 * word] = 1
        assert reason(policy, SWAP_ROUTER02, multicall(bytes(spoiled))) is R.MALFORMED_CALLDATA


@given(st.sampled_from(sorted(DIRECT_SELECTORS)), st.binary(max_size=400), st.integers(0, 10**18))
def test_arbitrary_bytes_are_refused_in_one_way(selector: str, data: bytes, value_wei: int) -> None:
    with pytest.raises((MalformedCalldataError, UnknownCommandError)):
        decode_direct(bytes.fromhex(selector[2:]) + data, value_wei, WETH)


@given(st.sampled_from(sorted(SOUND)), st.data())
def test_truncated_calldata_is_refused(name: str, data: st.DataObject) -> None:
    _, whole, value_wei = SOUND[name]
    length = data.draw(st.integers(4, len(whole) - 1))
    with pytest.raises((MalformedCalldataError, UnknownCommandError)):
        decode_direct(whole[:length], value_wei, WETH)


def opens(policy: Policy, to: str, data: bytes, value_wei: int = 0) -> bool | DenialReason:
    context = CheckContext(sender=KEY.address, kind="trade", now_s=NOW_S)
    effect = examine(policy, transaction(to=to, data=data, value_wei=value_wei), context)
    assert isinstance(effect, Effect), effect
    found = opens_position(policy, effect, None, "exit")
    return found if isinstance(found, bool) else found.reason


def test_an_exit_through_any_router_ends_in_what_positions_are_paid_with(make_policy: Callable[..., Policy]) -> None:
    limit = TokenLimit(max_allowance=1, max_trade=1_000)
    routers = {ROUTER02: ROUTER02_SELECTORS, SWAP_ROUTER02: SWAP_ROUTER02_SELECTORS}
    policy = make_policy(routers=routers, unlisted_token_limit=limit)
    assert opens(policy, ROUTER02, tokens(path=[WETH, USDC])) is False
    assert opens(policy, SWAP_ROUTER02, multicall(along(WETH, USDC))) is False
    assert opens(policy, ROUTER02, tokens()) is R.NOT_AN_EXIT
    assert opens(policy, ROUTER02, tokens(FOR_ETH)) is R.NOT_AN_EXIT
    in_native = make_policy(routers=routers, tokens={"0x" + "e" * 40: limit}, unlisted_token_limit=limit)
    assert opens(in_native, ROUTER02, tokens(FOR_ETH)) is False
    assert opens(in_native, ROUTER02, from_eth(), 100) is R.NOT_AN_EXIT
    lockdown = call("lockdown((address,address)[])", ["(address,address)[]"], [(USDC, STRANGER)])
    assert opens(policy, PERMIT2, lockdown) is False
