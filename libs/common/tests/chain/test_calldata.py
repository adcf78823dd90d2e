"""Router programs agree with eth_abi, go where they say, and pass the signer's policy."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import decode, encode
from hypothesis import given
from hypothesis import strategies as st

from dexlane.chain import calldata, permit2
from dexlane.chain.calldata import (
    ADDRESS_THIS,
    CONTRACT_BALANCE,
    MAINNET_ROUTER,
    MSG_SENDER,
    ExactInput,
    RouterKind,
    Trade,
    router_of,
)
from dexlane.chain.direct_calls import router_for, routers_of, trade_calldata
from dexlane.chain.multicall import aggregate3, decode_aggregate3
from dexlane.values.pools import Protocol
from dexlane.values.routes import Leg
from dexlane_signer import (
    ROUTER02_SELECTORS,
    SWAP_ROUTER02_SELECTORS,
    CheckContext,
    DynamicFeeTransaction,
    Policy,
    TokenLimit,
    check,
    keccak256,
)
from dexlane_signer.direct_calls import decode_direct
from dexlane_signer.router_calls import RouterSwap, decode_execute

USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
DAI = "0x6b175474e89094c44da98b954eedeac495271d0f"
OURS = "0x" + "11" * 20
NOW_S = 1_800_000_000
V2_TYPES = ["address", "uint256", "uint256", "address[]", "bool"]
V3_TYPES = ["address", "uint256", "uint256", "bytes", "bool"]


def leg(protocol: Protocol, token_in: str, token_out: str, *, fee_pips: int = 3_000, pool: str | None = None) -> Leg:
    draft = Leg(pool=OURS, protocol=protocol, fee_pips=fee_pips, token_in=token_in, token_out=token_out)
    return draft.model_copy(update={"pool": pool or calldata.routed_pool(draft, MAINNET_ROUTER)})


def v2(token_in: str, token_out: str) -> Leg:
    return leg(Protocol.UNISWAP_V2, token_in, token_out)


def v3(token_in: str, token_out: str, fee_pips: int = 500) -> Leg:
    return leg(Protocol.UNISWAP_V3, token_in, token_out, fee_pips=fee_pips)


def order(*legs: Leg, amount_in: int = 1_000, minimum_out: int = 1_001) -> ExactInput:
    return ExactInput(legs=legs, amount_in=amount_in, minimum_out=minimum_out)


def steps(data: bytes) -> list[tuple[int, tuple[Any, ...]]]:
    assert data[:4] == keccak256(b"execute(bytes,bytes[],uint256)")[:4]
    commands, inputs, _ = decode(["bytes", "bytes[]", "uint256"], data[4:])
    types = {0x00: V3_TYPES, 0x08: V2_TYPES, 0x0A: ["((address,uint160,uint48,uint48),address,uint256)", "bytes"]}
    return [(command, decode(types[command], payload)) for command, payload in zip(commands, inputs, strict=True)]


def packed(*parts: str | int) -> bytes:
    return b"".join(bytes.fromhex(p[2:]) if isinstance(p, str) else p.to_bytes(3, "big") for p in parts)


def test_gap_across_protocols_keeps_the_middle_in_the_router_and_ends_with_us() -> None:
    data = calldata.execute([order(v3(USDC, WETH), v2(WETH, USDC))], deadline_s=NOW_S)
    assert steps(data) == [
        (0x00, (ADDRESS_THIS, 1_000, 0, packed(USDC, 500, WETH), True)),
        (0x08, (MSG_SENDER, CONTRACT_BALANCE, 1_001, (WETH, USDC), False)),
    ]


def test_neighbouring_legs_of_one_protocol_share_a_command() -> None:
    data = calldata.execute([order(v3(USDC, WETH, 500), v3(WETH, USDC, 3_000))], deadline_s=NOW_S)
    assert steps(data) == [(0x00, (MSG_SENDER, 1_000, 1_001, packed(USDC, 500, WETH, 3_000, USDC), True))]
    data = calldata.execute([order(v2(USDC, WETH), v2(WETH, DAI), v3(DAI, USDC, 100))], deadline_s=NOW_S)
    assert steps(data) == [
        (0x08, (ADDRESS_THIS, 1_000, 0, (USDC, WETH, DAI), True)),
        (0x00, (MSG_SENDER, CONTRACT_BALANCE, 1_001, packed(DAI, 100, USDC), False)),
    ]


def test_permits_come_before_the_swaps_and_a_split_is_several_chains() -> None:
    permit = permit2.PermitSingle(
        token=USDC, amount=30, expiration_s=0, nonce=2, spender=MAINNET_ROUTER.router, sig_deadline_s=NOW_S
    )
    data = calldata.execute(
        [
            order(v3(USDC, WETH), amount_in=10, minimum_out=1),
            order(v2(USDC, WETH), amount_in=20, minimum_out=2),
        ],
        deadline_s=NOW_S,
        permits=[permit2.PermitCommand(permit, b"\1" * 65)],
    )
    assert steps(data) == [
        (0x0A, (((USDC, 30, 0, 2), MAINNET_ROUTER.router, NOW_S), b"\1" * 65)),
        (0x00, (MSG_SENDER, 10, 1, packed(USDC, 500, WETH), True)),
        (0x08, (MSG_SENDER, 20, 2, (USDC, WETH), True)),
    ]


@given(
    st.lists(st.sampled_from(["v2", "v3"]), min_size=1, max_size=4), st.integers(1, 2**160 - 1), st.integers(0, 2**40)
)
def test_every_program_is_encoded_as_eth_abi_does_and_passes_the_signers_policy(
    protocols: list[str], amount_in: int, deadline_s: int
) -> None:
    tokens = [USDC, WETH, DAI, WETH, USDC][: len(protocols) + 1]
    make = {"v2": v2, "v3": v3}
    legs = [make[name](before, after) for name, before, after in zip(protocols, tokens, tokens[1:], strict=False)]
    data = calldata.execute([order(*legs, amount_in=amount_in, minimum_out=2**200)], deadline_s=deadline_s)
    commands, inputs, deadline = decode(["bytes", "bytes[]", "uint256"], data[4:])
    assert data[4:] == encode(["bytes", "bytes[]", "uint256"], [commands, inputs, deadline])
    policy = Policy(
        chain_ids=frozenset({1}),
        own_addresses=frozenset({OURS}),
        routers={MAINNET_ROUTER.router: frozenset({"0x3593564c"})},
        permit_spenders=frozenset({MAINNET_ROUTER.router}),
        tokens={USDC: TokenLimit(max_allowance=0, max_trade=2**160)},
        max_fee_per_gas_wei=1,
        max_gas_limit=1,
    )
    transaction = DynamicFeeTransaction(
        chain_id=1,
        nonce=0,
        max_priority_fee_per_gas_wei=1,
        max_fee_per_gas_wei=1,
        gas_limit=1,
        to=MAINNET_ROUTER.router,
        value_wei=0,
        data=data,
    )
    assert check(policy, transaction, CheckContext(sender=OURS, kind="trade", now_s=deadline_s)) is None


@pytest.mark.parametrize(
    ("protocol", "fee_pips", "pool"),
    [
        (Protocol.UNISWAP_V2, 3_000, "0xb4e16d0168e52d35cacd2c6185b44281ec28c9dc"),
        (Protocol.UNISWAP_V3, 500, "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640"),
        (Protocol.UNISWAP_V3, 3_000, "0x8ad599c3a0ff1de082011efddc58f1908eb6e6d8"),
    ],
)
def test_routed_pool_is_the_mainnet_pool(protocol: Protocol, fee_pips: int, pool: str) -> None:
    for pair in ((USDC, WETH), (WETH, USDC)):
        assert leg(protocol, *pair, fee_pips=fee_pips).pool == pool


def test_leg_in_a_pool_the_router_would_not_use_is_refused() -> None:
    sushi = leg(Protocol.UNISWAP_V2, USDC, WETH, pool="0x397ff1542f962076d0bfe58ea045ffa2d347aca0")
    with pytest.raises(calldata.UnroutableError, match="would not trade in"):
        calldata.execute([order(sushi)], deadline_s=NOW_S)


def test_v2_leg_with_a_fee_the_router_does_not_know_is_refused() -> None:
    with pytest.raises(calldata.UnroutableError, match="no command"):
        leg(Protocol.UNISWAP_V2, USDC, WETH, fee_pips=2_500)


@pytest.mark.parametrize("changes", [{"amount_in": 0}, {"amount_in": 2**160}, {"minimum_out": 0}, {"minimum_out": -1}])
def test_order_without_positive_amounts_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(calldata.UnroutableError, match="positive"):
        calldata.execute([order(v2(USDC, WETH), **changes)], deadline_s=NOW_S)


def test_legs_that_do_not_connect_are_refused() -> None:
    with pytest.raises(calldata.UnroutableError, match="must start with"):
        calldata.execute([order(v2(USDC, WETH), v2(DAI, USDC))], deadline_s=NOW_S)


def test_program_without_swaps_is_refused() -> None:
    with pytest.raises(calldata.UnroutableError, match="nothing to swap"):
        calldata.execute([], deadline_s=NOW_S)
    with pytest.raises(calldata.UnroutableError, match="needs legs"):
        calldata.execute([order()], deadline_s=NOW_S)


@given(st.lists(st.binary(max_size=70), max_size=4))
def test_aggregate3_equals_eth_abi(calls: list[bytes]) -> None:
    expected = encode(["(address,bool,bytes)[]"], [[(USDC, True, data) for data in calls]])
    assert (
        aggregate3([(USDC, data) for data in calls]) == keccak256(b"aggregate3((address,bool,bytes)[])")[:4] + expected
    )


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=70)), max_size=4))
def test_aggregate3_answers_come_back_in_call_order_without_what_reverts_say(results: list[tuple[bool, bytes]]) -> None:
    returned = encode(["(bool,bytes)[]"], [results])
    assert decode_aggregate3(returned) == [data if success else None for success, data in results]


def transfer(token: str, sender: str, recipient: str, amount: int) -> dict[str, Any]:
    topic = "0x" + keccak256(b"Transfer(address,address,uint256)").hex()
    topics = [topic, *("0x" + who[2:].rjust(64, "0") for who in (sender, recipient))]
    return {"address": token, "topics": topics, "data": f"0x{amount:064x}"}


def test_flows_add_up_transfers_of_the_owner_by_token() -> None:
    pool = "0x" + "22" * 20
    logs = [
        transfer(USDC.upper().replace("0X", "0x"), OURS, pool, 1_000),
        transfer(WETH, pool, MAINNET_ROUTER.router, 7),
        transfer(USDC, pool, OURS, 400),
        transfer(USDC, pool, OURS, 610),
    ]
    flows = calldata.token_flows(logs, OURS)
    assert flows.received == {USDC: 1_010}
    assert flows.spent == {USDC: 1_000}
    assert (flows.net(USDC), flows.net(WETH)) == (10, 0)


def test_transfer_to_oneself_counts_on_both_sides() -> None:
    flows = calldata.token_flows([transfer(USDC, OURS, OURS, 5)], OURS)
    assert (flows.received, flows.spent, flows.net(USDC)) == ({USDC: 5}, {USDC: 5}, 0)


def test_logs_of_other_events_are_passed_over() -> None:
    nft = transfer(USDC, "0x" + "22" * 20, OURS, 1)
    nft["topics"] = [*nft["topics"], "0x" + "0" * 63 + "1"]
    nft["data"] = "0x"
    swap = {"address": USDC, "topics": ["0x" + "ab" * 32], "data": "0x"}
    anonymous: dict[str, Any] = {"address": USDC, "topics": [], "data": "0x"}
    flows = calldata.token_flows([nft, swap, anonymous], OURS)
    assert (flows.received, flows.spent) == ({}, {})


def test_the_routers_of_ethereum_and_base_derive_the_pools_that_stand_there() -> None:
    assert router_of(1) == MAINNET_ROUTER
    base = router_of(8453)
    assert base.router == "0x6ff5693b99212da76ad316178a184ab56d299b43"
    weth, usdc = "0x4200000000000000000000000000000000000006", "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
    known = {
        (Protocol.UNISWAP_V3, 500): "0xd0b53d9277642d899df5c87a3966a349a798f224",
        (Protocol.UNISWAP_V3, 3_000): "0x6c561b446416e1a00e8e93e221854d6ea4171372",
        (Protocol.UNISWAP_V2, 3_000): "0x88a43bbdf9d098eec7bceda4e2494615dfd9bb9c",
    }
    for (protocol, fee_pips), address in known.items():
        swap = Leg(pool=address, protocol=protocol, fee_pips=fee_pips, token_in=weth, token_out=usdc)
        assert calldata.routed_pool(swap, base) == address


ROUTERS = routers_of(1)[:3]
FULL = Policy(
    chain_ids=frozenset({1}),
    own_addresses=frozenset({OURS}),
    routers={
        ROUTERS[0].router: frozenset({"0x3593564c"}),
        ROUTERS[1].router: SWAP_ROUTER02_SELECTORS,
        ROUTERS[2].router: ROUTER02_SELECTORS,
    },
    permit_spenders=frozenset({ROUTERS[0].router}),
    tokens={},
    unlisted_token_limit=TokenLimit(max_allowance=0, max_trade=2**160),
    max_fee_per_gas_wei=1,
    max_gas_limit=1,
    max_value_wei=2**200,
    wrapped_native=WETH,
)


def chains() -> st.SearchStrategy[list[ExactInput]]:
    """One to three chains from USDC to WETH, over DAI or straight, of every mix of protocols."""
    makes = st.lists(st.sampled_from([v2, v3]), min_size=2, max_size=2)
    legs = st.tuples(makes, st.booleans()).map(
        lambda drawn: [drawn[0][0](USDC, DAI), drawn[0][1](DAI, WETH)] if drawn[1] else [drawn[0][0](USDC, WETH)]
    )
    made = st.builds(
        lambda legs, amount, least: ExactInput(legs=legs, amount_in=amount, minimum_out=least),
        legs,
        st.integers(1, 2**100),
        st.integers(1, 2**100),
    )
    return st.lists(made, min_size=1, max_size=3)


def turned(one: ExactInput) -> ExactInput:
    legs = [
        v2(a.token_out, a.token_in) if a.protocol == "uniswap_v2" else v3(a.token_out, a.token_in) for a in one.legs
    ]
    return ExactInput(legs=legs[::-1], amount_in=one.amount_in, minimum_out=one.minimum_out)


@given(chains(), st.sampled_from([(False, False), (True, False), (False, True)]), st.booleans(), st.integers(0, 2))
def test_what_every_router_is_asked_for_is_what_the_signer_reads(
    orders: list[ExactInput], native: tuple[bool, bool], taxed: bool, at: int
) -> None:
    native_in, native_out = native
    orders = [turned(one) for one in orders] if native_in else orders
    trade = Trade(
        orders=orders, account=OURS, deadline_s=NOW_S, native_in=native_in, native_out=native_out, taxed=taxed
    )
    deployment = ROUTERS[at]
    try:
        data = trade_calldata(trade, deployment)
    except calldata.UnroutableError:
        assert taxed or at == 2
        return
    selector = "0x" + data[:4].hex()
    call = decode_execute(data) if at == 0 else decode_direct(data, trade.value_wei, WETH)
    swaps = [step for step in call.steps if isinstance(step, RouterSwap)]
    starts = [swap for swap in swaps if swap.amount_in != CONTRACT_BALANCE]
    ends = [swap for swap in swaps if swap.minimum_out]
    assert [swap.amount_in for swap in starts] == [one.amount_in for one in orders]
    assert [swap.minimum_out for swap in ends] == [one.minimum_out for one in orders]
    assert {swap.payer_is_user for swap in starts} == {not native_in}
    for one in orders:
        tokens = {leg.token_in for leg in one.legs} | {one.legs[-1].token_out}
        assert tokens <= {token for swap in swaps for token in swap.path}
    recipients = {swap.recipient for swap in ends}
    assert recipients <= ({ADDRESS_THIS} if native_out else {MSG_SENDER, OURS})
    assert call.deadline_s == NOW_S
    assert selector in FULL.routers[deployment.router]
    transaction = DynamicFeeTransaction(
        chain_id=1, nonce=0, max_priority_fee_per_gas_wei=1, max_fee_per_gas_wei=1, gas_limit=1,
        to=deployment.router, value_wei=trade.value_wei, data=data,
    )  # fmt: skip
    assert check(FULL, transaction, CheckContext(sender=OURS, kind="trade", now_s=NOW_S)) is None


def test_the_universal_router_is_taken_wherever_it_reaches() -> None:
    assert router_for(Trade(orders=[order(v3(USDC, WETH))], account=OURS, deadline_s=1), routers_of(1)) == ROUTERS[0]
    sushi = leg(Protocol.UNISWAP_V2, USDC, WETH, pool="0x397ff1542f962076d0bfe58ea045ffa2d347aca0")
    chosen = router_for(Trade(orders=[order(sushi)], account=OURS, deadline_s=1), routers_of(1))
    assert (chosen.kind, chosen.router) == (RouterKind.ROUTER02, "0xd9e1ce17f2641f24ae83637ab66a2cca9c378b9f")
    for orders in ([order(sushi), order(v2(USDC, WETH))], [order(sushi, v3(WETH, DAI))]):
        with pytest.raises(calldata.UnroutableError):
            router_for(Trade(orders=orders, account=OURS, deadline_s=1), routers_of(1))


def test_a_chain_may_not_pass_through_the_native_coin_of_others() -> None:
    through = order(v2(USDC, WETH), v3(WETH, DAI), v2(DAI, WETH))
    for deployment in ROUTERS[:2]:
        with pytest.raises(calldata.UnroutableError, match="passes through"):
            trade_calldata(Trade(orders=[through], account=OURS, deadline_s=1, native_out=True), deployment)
    with pytest.raises(calldata.UnroutableError, match="only the wrapped native coin"):
        trade_calldata(Trade(orders=[order(v2(USDC, DAI))], account=OURS, deadline_s=1, native_out=True), ROUTERS[0])


def test_native_flow_is_what_our_router_wrapped_and_unwrapped() -> None:
    def log(signature: bytes, who: str, amount: int) -> dict[str, Any]:
        topics = ["0x" + keccak256(signature).hex(), "0x" + who[2:].rjust(64, "0")]
        return {"address": WETH, "topics": topics, "data": f"0x{amount:064x}"}

    deposit, withdrawal, router = b"Deposit(address,uint256)", b"Withdrawal(address,uint256)", ROUTERS[0].router
    logs = [
        log(deposit, router, 7),
        log(withdrawal, router, 5),
        log(withdrawal, OURS, 99),
        transfer(WETH, OURS, OURS, 1),
    ]
    assert calldata.native_flow(logs, WETH, router) == (7, 5)
    assert calldata.native_flow(logs, USDC, router) == (0, 0)
