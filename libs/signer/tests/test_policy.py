"""What may be signed, rule by rule. Calldata is encoded by eth_abi, so that our decoder is not its own judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from dexlane_signer import PERMIT2, CheckContext, DenialReason, Policy, TokenLimit, check, keccak256
from dexlane_signer.router_calls import (
    MalformedCalldataError,
    RouterSwap,
    UnknownCommandError,
    decode_execute,
)

from .conftest import (
    ALL,
    KEY,
    NOW_S,
    ROUTER,
    ROUTER_ITSELF,
    US,
    USDC,
    WETH,
    Step,
    permit,
    program,
    transaction,
    v2,
    v3,
)

STRANGER = "0x" + "66" * 20
R = DenialReason


def reason(policy: Policy, *, kind: Any = "trade", **changes: Any) -> DenialReason | None:
    context = CheckContext(sender=KEY.address, kind=kind, now_s=NOW_S)
    denial = check(policy, transaction(**changes), context)
    return denial.reason if denial else None


def program_reason(policy: Policy, *steps: Step, **changes: Any) -> DenialReason | None:
    return reason(policy, data=program(*steps, **changes))


GAP = (v3(ROUTER_ITSELF, 100, 0), v2(US, ALL, 101, path="sell", user=False))


@pytest.mark.parametrize(
    "steps",
    [
        (v3(US, 1_000, 1),),
        (v2(KEY.address, 100, 1),),
        GAP,
        (permit(), *GAP),
        (v3(US, 400, 1), v2(US, 600, 1)),
        (v3(ROUTER_ITSELF, 100, 0), v3(US, ALL, 100, path="sell", user=False)),
    ],
    ids=["v3", "v2 to own address", "gap", "gap with permit", "split", "even round trip"],
)
def test_sound_program_is_allowed(policy: Policy, steps: tuple[Step, ...]) -> None:
    assert program_reason(policy, *steps) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"chain_id": 2}, R.WRONG_CHAIN),
        ({"max_fee_per_gas_wei": 100 * 10**9 + 1}, R.FEE_OVER_CAP),
        ({"gas_limit": 1_000_001}, R.GAS_OVER_CAP),
        ({"value_wei": 10**18 + 1}, R.VALUE_OVER_CAP),
        ({"value_wei": 1}, R.VALUE_NOT_ALLOWED),
        ({"to": STRANGER}, R.UNKNOWN_TARGET),
        ({"to": PERMIT2}, R.UNKNOWN_TARGET),
        ({"data": b""}, R.UNKNOWN_SELECTOR),
        ({"data": bytes.fromhex("24856bc3") + bytes(64)}, R.UNKNOWN_SELECTOR),
        ({"to": USDC, "data": bytes.fromhex("a9059cbb") + bytes(64)}, R.UNKNOWN_SELECTOR),
        ({"to": KEY.address, "data": b""}, R.CANCEL_AS_TRADE),
    ],
)
def test_transaction_outside_the_list_is_denied(policy: Policy, changes: Any, expected: DenialReason) -> None:
    assert reason(policy, **changes) is expected


def test_foreign_sender_is_denied(policy: Policy) -> None:
    denial = check(policy, transaction(), CheckContext(sender=STRANGER, kind="trade", now_s=NOW_S))
    assert denial is not None
    assert denial.reason is R.UNKNOWN_SENDER


def test_cancel_is_a_bare_transfer_to_oneself(policy: Policy) -> None:
    bare = {"to": KEY.address, "data": b""}
    assert reason(policy, kind="cancel", **bare) is None
    assert reason(policy, kind="cancel", **bare, value_wei=1) is R.NOT_A_CANCEL
    assert reason(policy, kind="cancel", to=KEY.address, data=b"\0") is R.NOT_A_CANCEL
    assert reason(policy, kind="cancel", to=STRANGER, data=b"") is R.NOT_A_CANCEL
    assert reason(policy, kind="cancel") is R.NOT_A_CANCEL


def test_cancel_may_outbid_a_trade_at_its_cap(policy: Policy, make_policy: Callable[..., Policy]) -> None:
    bare = {"to": KEY.address, "data": b"", "kind": "cancel"}
    assert reason(policy, **bare, max_fee_per_gas_wei=125 * 10**9) is None
    assert reason(policy, **bare, max_fee_per_gas_wei=125 * 10**9 + 1) is R.FEE_OVER_CAP
    own_cap = make_policy(max_cancel_fee_per_gas_wei=10)
    assert reason(own_cap, **bare) is R.FEE_OVER_CAP


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), R.NO_SWAP),
        ((permit(),), R.NO_SWAP),
        ((v3(STRANGER, 100, 1),), R.WRONG_RECIPIENT),
        ((v3(ROUTER, 100, 1),), R.WRONG_RECIPIENT),
        ((v3(ROUTER_ITSELF, 100, 1),), R.WRONG_RECIPIENT),
        ((v3(STRANGER, 100, 1), v2(US, ALL, 101, path="sell", user=False)), R.WRONG_RECIPIENT),
        ((v3(US, 100, 0),), R.NO_MINIMUM_OUT),
        ((v3(US, 50, 1), v2(US, 50, 0)), R.NO_MINIMUM_OUT),
        ((GAP[0], v2(US, ALL, 99, path="sell", user=False)), R.LOSING_ROUND_TRIP),
        ((GAP[0], v2(US, 1, 101, path="sell", user=False)), R.BROKEN_CHAIN),
        ((GAP[0], v2(US, 1, 101, path="sell")), R.BROKEN_CHAIN),
        ((GAP[0], v2(US, ALL, 101, user=False)), R.BROKEN_CHAIN),
        ((v3(US, 100, 1, user=False),), R.BROKEN_CHAIN),
        ((v3(US, ALL, 1),), R.BROKEN_CHAIN),
        ((v2(US, 0, 1),), R.BROKEN_CHAIN),
        ((v3(US, 1_001, 1),), R.AMOUNT_OVER_CAP),
        ((v3(US, 600, 1), v2(US, 600, 1)), R.AMOUNT_OVER_CAP),
        ((v3(US, 100, 1, path="sell"),), R.UNKNOWN_TOKEN),
        ((permit(spender=STRANGER), *GAP), R.UNKNOWN_SPENDER),
        ((permit(token=WETH), *GAP), R.UNKNOWN_TOKEN),
        ((permit(amount=101), *GAP), R.PERMIT_EXCEEDS_INPUT),
        ((permit(amount=1_001), *GAP), R.AMOUNT_OVER_CAP),
        ((permit(expiration=NOW_S + 601), *GAP), R.PERMIT_TOO_LONG),
        ((permit(deadline=NOW_S + 601), *GAP), R.PERMIT_TOO_LONG),
    ],
)
def test_unsound_program_is_denied(policy: Policy, steps: tuple[Step, ...], expected: DenialReason) -> None:
    assert program_reason(policy, *steps) is expected


@pytest.mark.parametrize("command", sorted({*range(0x40), 0x80, 0x88, 0x8A, 0xFF} - {0x00, 0x08, 0x0A, 0x0B, 0x0C}))
def test_every_other_router_command_is_denied(policy: Policy, command: int) -> None:
    _, payload = v3(US, 100, 1)
    assert program_reason(policy, v3(US, 100, 1), (command, payload)) is R.UNKNOWN_COMMAND


@pytest.mark.parametrize(
    ("deadline_s", "expected"),
    [
        (NOW_S, None),
        (NOW_S + 600, None),
        (NOW_S - 1, R.DEADLINE_PASSED),
        (NOW_S + 601, R.DEADLINE_TOO_FAR),
        (2**256 - 1, R.DEADLINE_TOO_FAR),
    ],
)
def test_deadline_must_be_near(policy: Policy, deadline_s: int, expected: DenialReason | None) -> None:
    assert program_reason(policy, v3(US, 100, 1), deadline_s=deadline_s) is expected


def wrap(amount: int, recipient: str = ROUTER_ITSELF) -> Step:
    return 0x0B, encode(["address", "uint256"], [recipient, amount])


def unwrap(minimum: int, recipient: str = US) -> Step:
    return 0x0C, encode(["address", "uint256"], [recipient, minimum])


SELL_OWN = v3(US, 100, 1, path="sell", user=False)
TO_UNWRAP = v3(ROUTER_ITSELF, 100, 7)


@pytest.mark.parametrize(
    ("steps", "value_wei"),
    [
        ((wrap(100), SELL_OWN), 100),
        ((wrap(100), v3(US, 60, 1, path="sell", user=False), v2(US, 40, 1, path="sell", user=False)), 100),
        ((TO_UNWRAP, unwrap(7)), 0),
        ((permit(), TO_UNWRAP, unwrap(7, KEY.address)), 0),
        ((v3(ROUTER_ITSELF, 60, 3), v2(ROUTER_ITSELF, 40, 4), unwrap(7)), 0),
        ((wrap(100), v3(ROUTER_ITSELF, 100, 0, path="sell", user=False), v2(ROUTER_ITSELF, ALL, 101, user=False),
          unwrap(101)), 100),
    ],
    ids=["native in", "native in, split", "native out", "with permit", "native out, split", "native round trip"],
)  # fmt: skip
def test_native_coin_is_wrapped_before_and_unwrapped_after(
    policy: Policy, steps: tuple[Step, ...], value_wei: int
) -> None:
    assert reason(policy, data=program(*steps), value_wei=value_wei) is None


@pytest.mark.parametrize(
    ("steps", "value_wei", "expected"),
    [
        ((wrap(100), SELL_OWN), 101, R.VALUE_NOT_ALLOWED),
        ((wrap(100), SELL_OWN), 0, R.VALUE_NOT_ALLOWED),
        ((wrap(0), SELL_OWN), 0, R.VALUE_NOT_ALLOWED),
        ((v3(US, 100, 1),), 100, R.VALUE_NOT_ALLOWED),
        ((wrap(100, US), SELL_OWN), 100, R.WRONG_RECIPIENT),
        ((wrap(100, STRANGER), SELL_OWN), 100, R.WRONG_RECIPIENT),
        ((wrap(101), SELL_OWN), 101, R.BROKEN_CHAIN),
        ((wrap(50), wrap(50), SELL_OWN), 100, R.BROKEN_CHAIN),
        ((SELL_OWN, wrap(100)), 100, R.BROKEN_CHAIN),
        ((wrap(100), v3(US, 100, 1, path="sell")), 100, R.BROKEN_CHAIN),
        ((wrap(100), v3(US, 100, 1, user=False)), 100, R.BROKEN_CHAIN),
        ((wrap(100), SELL_OWN, v3(US, 10, 1)), 100, R.BROKEN_CHAIN),
        ((wrap(100), v3(STRANGER, 100, 1, path="sell", user=False)), 100, R.WRONG_RECIPIENT),
        ((TO_UNWRAP, unwrap(7, STRANGER)), 0, R.WRONG_RECIPIENT),
        ((TO_UNWRAP, unwrap(7, ROUTER_ITSELF)), 0, R.WRONG_RECIPIENT),
        ((TO_UNWRAP, unwrap(6)), 0, R.NO_MINIMUM_OUT),
        ((v3(ROUTER_ITSELF, 100, 0), unwrap(7)), 0, R.WRONG_RECIPIENT),
        ((unwrap(7), TO_UNWRAP), 0, R.BROKEN_CHAIN),
        ((TO_UNWRAP, unwrap(7), unwrap(7)), 0, R.BROKEN_CHAIN),
        ((v3(US, 100, 7), unwrap(7)), 0, R.WRONG_RECIPIENT),
        ((v3(ROUTER_ITSELF, 60, 3), v2(US, 40, 4), unwrap(7)), 0, R.WRONG_RECIPIENT),
        ((TO_UNWRAP, v2(ROUTER_ITSELF, ALL, 0, path="sell", user=False), v3(ROUTER_ITSELF, ALL, 9, user=False),
          unwrap(16)), 0, R.BROKEN_CHAIN),
        ((v3(ROUTER_ITSELF, 100, 0), v2(ROUTER_ITSELF, ALL, 7, path="sell", user=False), unwrap(7)), 0,
         R.BROKEN_CHAIN),
        ((unwrap(7),), 0, R.NO_SWAP),
    ],
)  # fmt: skip
def test_wrapping_that_could_lose_native_coin_is_denied(
    policy: Policy, steps: tuple[Step, ...], value_wei: int, expected: DenialReason
) -> None:
    assert reason(policy, data=program(*steps), value_wei=value_wei) is expected


def test_native_coin_is_no_way_round_the_limit_of_its_wrapped_form(make_policy: Callable[..., Policy]) -> None:
    limit = TokenLimit(max_allowance=10_000, max_trade=100)
    listed = make_policy(tokens={USDC: limit, WETH: limit})
    for amount, expected in ((100, None), (101, R.AMOUNT_OVER_CAP)):
        sale = v3(US, amount, 1, path="sell", user=False)
        assert reason(listed, data=program(wrap(amount), sale), value_wei=amount) is expected


def test_without_a_wrapped_coin_in_the_policy_nothing_is_wrapped(make_policy: Callable[..., Policy]) -> None:
    bare = make_policy(wrapped_native=None)
    assert reason(bare, data=program(wrap(100), SELL_OWN), value_wei=100) is R.BROKEN_CHAIN
    assert reason(bare, data=program(TO_UNWRAP, unwrap(7))) is R.BROKEN_CHAIN


def approval(spender: str, amount: int) -> bytes:
    return bytes.fromhex("095ea7b3") + encode(["address", "uint256"], [spender, amount])


@pytest.mark.parametrize(
    ("token", "data", "expected"),
    [
        (USDC, approval(PERMIT2, 10_000), None),
        (USDC, approval(STRANGER, 0), None),
        (USDC, approval(PERMIT2, 10_001), R.AMOUNT_OVER_CAP),
        (USDC, approval(PERMIT2, 2**256 - 1), R.AMOUNT_OVER_CAP),
        (USDC, approval(ROUTER, 1), R.UNKNOWN_SPENDER),
        (USDC, approval(PERMIT2, 1) + b"\0", R.MALFORMED_CALLDATA),
        (USDC, approval(PERMIT2, 1)[:4] + b"\1" * 12 + approval(PERMIT2, 1)[16:], R.MALFORMED_CALLDATA),
        (STRANGER, approval(PERMIT2, 1), R.UNKNOWN_TARGET),
    ],
)
def test_allowances_go_to_permit2_within_the_limit(
    policy: Policy, token: str, data: bytes, expected: DenialReason | None
) -> None:
    assert reason(policy, to=token, data=data) is expected


def test_a_router_that_pulls_tokens_itself_is_approved_for_one_trade_at_most(
    make_policy: Callable[..., Policy],
) -> None:
    policy = make_policy(direct_spenders=frozenset({STRANGER}))
    assert reason(policy, to=USDC, data=approval(STRANGER, 1_000)) is None
    assert reason(policy, to=USDC, data=approval(STRANGER, 1_001)) is R.AMOUNT_OVER_CAP


REVOKE = "approve(address,address,uint160,uint48)"
LOCKDOWN = "lockdown((address,address)[])"


def permit2_call(signature: str, *arguments: Any) -> bytes:
    types = ["(address,address)[]"] if signature == LOCKDOWN else ["address", "address", "uint160", "uint48"]
    return keccak256(signature.encode())[:4] + encode(types, arguments)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (permit2_call(REVOKE, USDC, STRANGER, 0, 0), None),
        (permit2_call(LOCKDOWN, [(USDC, STRANGER), (WETH, ROUTER)]), None),
        (permit2_call(LOCKDOWN, []), None),
        (permit2_call(REVOKE, USDC, STRANGER, 1, 0), R.AMOUNT_OVER_CAP),
        (permit2_call(REVOKE, USDC, STRANGER, 0, 1), R.AMOUNT_OVER_CAP),
        (permit2_call(REVOKE, USDC, STRANGER, 0, 0) + b"\0", R.MALFORMED_CALLDATA),
        (permit2_call(LOCKDOWN, [(USDC, STRANGER)])[:-1], R.MALFORMED_CALLDATA),
        (permit2_call(LOCKDOWN, [(USDC, STRANGER)]) + bytes(32), R.MALFORMED_CALLDATA),
        (permit2_call(LOCKDOWN, [])[:-32] + b"\xff" * 32, R.MALFORMED_CALLDATA),
    ],
)
def test_permit2_itself_is_called_only_to_take_allowances_back(
    policy: Policy, data: bytes, expected: DenialReason | None
) -> None:
    assert reason(policy, to=PERMIT2, data=data) is expected
    assert reason(policy, to=PERMIT2, data=data, value_wei=1) is R.VALUE_NOT_ALLOWED


def test_unlisted_tokens_follow_their_own_limit_when_there_is_one(make_policy: Callable[..., Policy]) -> None:
    open_policy = make_policy(unlisted_token_limit=TokenLimit(max_allowance=5, max_trade=3))
    assert reason(open_policy, to=STRANGER, data=approval(PERMIT2, 5)) is None
    assert reason(open_policy, to=STRANGER, data=approval(PERMIT2, 6)) is R.AMOUNT_OVER_CAP
    assert program_reason(open_policy, v3(US, 3, 1, path="sell")) is None
    assert program_reason(open_policy, v3(US, 4, 1, path="sell")) is R.AMOUNT_OVER_CAP


@pytest.mark.parametrize(
    ("data", "value_wei", "expected"),
    [
        ("d0e30db0", 10**18, None),
        ("2e1a7d4d" + "00" * 31 + "01", 0, None),
        ("2e1a7d4d" + "00" * 31 + "01", 1, R.VALUE_NOT_ALLOWED),
        ("d0e30db000", 1, R.MALFORMED_CALLDATA),
        ("", 1, R.VALUE_NOT_ALLOWED),
    ],
)
def test_wrapping_is_the_only_call_with_value(
    policy: Policy, data: str, value_wei: int, expected: DenialReason | None
) -> None:
    assert reason(policy, to=WETH, data=bytes.fromhex(data), value_wei=value_wei) is expected


def test_policy_that_lists_a_selector_nobody_decodes_is_refused(make_policy: Callable[..., Policy]) -> None:
    with pytest.raises(ValueError, match="cannot decode"):
        make_policy(routers={ROUTER: frozenset({"0x3593564c", "0x24856bc3"})})


def test_letter_case_of_addresses_in_a_policy_carries_no_meaning(make_policy: Callable[..., Policy]) -> None:
    shouted = "0x" + ROUTER[2:].upper()
    policy = make_policy(routers={shouted: frozenset({"0x3593564c"})}, permit_spenders=frozenset({shouted}))
    assert program_reason(policy, permit(), *GAP) is None


@pytest.mark.parametrize(
    ("signature", "selector"),
    [
        ("execute(bytes,bytes[],uint256)", "3593564c"),
        ("approve(address,uint256)", "095ea7b3"),
        ("deposit()", "d0e30db0"),
        ("withdraw(uint256)", "2e1a7d4d"),
    ],
)
def test_selectors_are_those_of_their_signatures(signature: str, selector: str) -> None:
    assert keccak256(signature.encode())[:4].hex() == selector


def test_decoded_swap_says_what_was_encoded() -> None:
    call = decode_execute(program(GAP[1], deadline_s=9))
    expected = RouterSwap(
        version="v2",
        recipient=US,
        amount_in=ALL,
        minimum_out=101,
        payer_is_user=False,
        path=(WETH, USDC),
    )
    assert (call.steps, call.deadline_s) == ((expected,), 9)


FULL = program(permit(), *GAP)


@given(st.integers(4, len(FULL) - 1), st.integers(1, 255))
def test_calldata_with_one_byte_changed_is_refused_or_read_differently(at: int, flip: int) -> None:
    changed = bytearray(FULL)
    changed[at] ^= flip
    try:
        call = decode_execute(bytes(changed))
    except (MalformedCalldataError, UnknownCommandError):
        return
    # V3 fees are not part of the decoded call; everything else that decodes must differ.
    assert call != decode_execute(FULL) or at in _FEE_BYTES


_FEE_BYTES = range(
    FULL.index(bytes.fromhex(USDC[2:] + "0001f4")) + 20, FULL.index(bytes.fromhex(USDC[2:] + "0001f4")) + 23
)


@given(st.binary(max_size=600))
def test_arbitrary_bytes_are_refused_in_one_way(data: bytes) -> None:
    with pytest.raises((MalformedCalldataError, UnknownCommandError)):
        decode_execute(bytes.fromhex("3593564c") + data)


@given(st.integers(0, len(FULL) - 1))
def test_truncated_calldata_is_refused(length: int) -> None:
    with pytest.raises(MalformedCalldataError):
        decode_execute(FULL[:length])


def test_bytes_after_the_call_are_refused() -> None:
    with pytest.raises(MalformedCalldataError):
        decode_execute(FULL + bytes(32))


def test_v3_path_of_a_wrong_length_is_refused(policy: Policy) -> None:
    payload = encode(["address", "uint256", "uint256", "bytes", "bool"], [US, 100, 1, b"\1" * 42, True])
    assert program_reason(policy, (0x00, payload)) is R.MALFORMED_CALLDATA


def test_v2_path_of_one_token_is_refused(policy: Policy) -> None:
    payload = encode(["address", "uint256", "uint256", "address[]", "bool"], [US, 100, 1, [USDC], True])
    assert program_reason(policy, (0x08, payload)) is R.MALFORMED_CALLDATA


def test_program_of_too_many_commands_is_refused(policy: Policy) -> None:
    assert program_reason(policy, *[v3(US, 1, 1)] * 17) is R.MALFORMED_CALLDATA


def test_type_0_is_signed_where_the_policy_says_so_and_nowhere_else(make_policy: Callable[..., Policy]) -> None:
    classic = make_policy(legacy_chain_ids=frozenset({1}))
    legacy = {"envelope": "legacy", "max_priority_fee_per_gas_wei": 20 * 10**9}
    sound = program(v3(US, 100, 1))
    assert reason(make_policy(), data=sound) is None
    assert reason(make_policy(), data=sound, **legacy) is DenialReason.WRONG_ENVELOPE
    assert reason(classic, data=sound, **legacy) is None
    assert reason(classic, data=sound) is DenialReason.WRONG_ENVELOPE
    bare = {"to": KEY.address, "data": b""}
    assert reason(classic, kind="cancel", **bare) is DenialReason.WRONG_ENVELOPE
    assert reason(classic, kind="cancel", **bare, **legacy) is None
    with pytest.raises(ValueError, match="none of the policy's chains"):
        make_policy(legacy_chain_ids=frozenset({61}))
