"""What rollups charge for data: the published vectors of the OP stack, recorded receipts, and bounds that hold."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.chain.answers import parse_receipt
from dexlane.chain.calldata import ExactInput, Trade, execute_trade, routed_pool, router_of
from dexlane.chain.permit2 import ONLY_THIS_BLOCK, PermitCommand, PermitSingle
from dexlane.domain.gas_value import WRAPPED_NATIVE
from dexlane.domain.rollup_fees import (
    RISE_BPS,
    DataSize,
    data_fee_wei,
    data_size,
    dearest_rollup_fee_wei,
    fastlz_size,
    operator_fee_wei,
    planned_size,
    rollup_fee_wei,
    routed_size,
)
from dexlane.events.fees import DataFeeRule, DataFeeTerms
from dexlane.testing.random_pools import seeded
from dexlane.values.pools import Protocol
from dexlane.values.routes import Leg, Route
from dexlane_signer import DynamicFeeTransaction

# op-geth, core/types/rollup_cost_test.go: emptyTx, and the contract call of OP Mainnet's transaction 0x8eb9dd4e...
EMPTY_TX = bytes.fromhex("dd80808094095e7baea6a6c7c4c2dfeb977efac326af552d878080808080")
CONTRACT_CALL = bytes.fromhex(
    "02f901550a758302df1483be21b88304743f94f80e51afb613d764fa61751affd3313c190a86bb870151bd62fd12adb8e41ef24f3f"
    + "6e".rjust(64, "0")
    + "af88d065e77c8cc2239327c5edb3a432268e5831".rjust(64, "0")
    + "3c1e5".rjust(64, "0")
    + "0" * 64
    + "a0".rjust(64, "0")
    + "14".rjust(64, "0")
    + "8c89ed219d02f1a5be012c689b4f5b731827bebe".ljust(64, "0")
    + "c001a033fd89cb37c31b2cba46b6466e040c61fc9b2a3675a7f5f493ebd5ad77c497f8"
    "a07cdf65680e238392693019b4092f610222e71b7cec06449cb922b93b6a12744e"
)
GO_TERMS = {
    "l1_base_fee_wei": 1_000 * 10**6,
    "l1_blob_base_fee_wei": 10 * 10**6,
    "base_fee_scalar": 2,
    "blob_base_fee_scalar": 3,
}


def fjord(**fields: int) -> DataFeeTerms:
    return DataFeeTerms(rule=DataFeeRule.FJORD, **(GO_TERMS | fields))


@pytest.mark.parametrize(
    ("data", "size"),
    [(b"", 0), (b"\1" * 1_000, 21), (bytes(1_000), 21), (EMPTY_TX, 31), (CONTRACT_CALL, 202)],
    ids=["empty", "ones", "zeros", "empty transaction", "contract call"],
)
def test_fastlz_sizes_are_those_of_op_geth(data: bytes, size: int) -> None:
    assert fastlz_size(data) == size


def test_the_ecotone_fee_is_that_of_op_geth() -> None:
    terms = DataFeeTerms(rule=DataFeeRule.ECOTONE, **GO_TERMS)
    assert data_fee_wei(terms, data_size(EMPTY_TX)) == 960_900


def test_the_fjord_fee_is_that_of_op_geth_and_has_a_floor() -> None:
    assert data_fee_wei(fjord(), data_size(EMPTY_TX)) == 3_203_000
    for size in (100, 150, 170):
        assert data_fee_wei(fjord(), DataSize(0, 0, size)) == 3_203_000
    for size in (171, 175, 200):
        assert data_fee_wei(fjord(), DataSize(0, 0, size)) > 3_203_000


def test_the_fjord_fee_is_that_of_the_solidity_test() -> None:
    terms = fjord(
        l1_base_fee_wei=2 * 10**6, l1_blob_base_fee_wei=3 * 10**6, base_fee_scalar=20, blob_base_fee_scalar=15
    )
    assert data_fee_wei(terms, DataSize(0, 0, 235)) == 105_484


@pytest.mark.parametrize(
    ("per_gas_millionths", "fee"),
    [(1_439_103_868, 1_256_417_826_611_659_930), (1_439_103_868 * 10**8, 1_256_650_673_615_173_860)],
    ids=["isthmus", "jovian"],
)
def test_the_operators_fee_is_that_of_op_geth(per_gas_millionths: int, fee: int) -> None:
    constant = 1_256_417_826_609_331_460
    terms = fjord(operator_per_gas_millionths=per_gas_millionths, operator_constant_wei=constant)
    assert operator_fee_wei(terms, 1_618) == fee
    assert rollup_fee_wei(terms, data_size(EMPTY_TX), 1_618) == fee + 3_203_000


def test_the_fee_of_a_recorded_transaction_of_op_mainnet_comes_out_to_the_wei() -> None:
    # Receipt of 0xa4d8aec04682dc4913b91e09e11c99994a9b6d613064d0af9b8af3a21f59bb91: 1,600 L1 gas is the floor.
    terms = fjord(
        l1_base_fee_wei=401_448_161,
        l1_blob_base_fee_wei=23_248_065,
        base_fee_scalar=9_736,
        blob_base_fee_scalar=1_540_079,
    )
    assert data_fee_wei(terms, DataSize(0, 0, 100)) == 9_833_984_542


def receipt(**fields: str) -> dict[str, object]:
    usual = {"transactionHash": "0x" + "1" * 64, "blockNumber": "0x1", "blockHash": "0x" + "2" * 64}
    usual |= {"transactionIndex": "0x0", "from": "0x" + "3" * 40, "status": "0x1", "gasUsed": hex(1_618)}
    return usual | fields | {"logs": []}


def test_a_receipt_tells_both_fees_or_nothing() -> None:
    assert parse_receipt(receipt()).rollup_fee_wei is None
    assert parse_receipt(receipt(l1Fee="0x0")).rollup_fee_wei == 0
    operator = {"operatorFeeScalar": hex(1_439_103_868), "operatorFeeConstant": hex(1_256_417_826_609_331_460)}
    assert parse_receipt(receipt(l1Fee="0x5", **operator)).rollup_fee_wei == 5 + 1_256_417_826_611_659_930
    jovian = receipt(l1Fee="0x5", daFootprintGasScalar="0x190", **operator)
    assert parse_receipt(jovian).rollup_fee_wei == 5 + 1_256_650_673_615_173_860


def test_a_chain_without_such_fees_charges_nothing() -> None:
    assert rollup_fee_wei(None, data_size(CONTRACT_CALL), 10**6) == 0


@given(st.binary(max_size=3_000))
def test_compression_never_grows_beyond_its_literals(data: bytes) -> None:
    assert fastlz_size(data) <= len(data) + -(-len(data) // 32)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 5_000))
def test_planning_reckons_with_a_quarter_more_and_never_with_less(l1: int, blob: int, size: int) -> None:
    terms, what = fjord(l1_base_fee_wei=l1, l1_blob_base_fee_wei=blob), DataSize(size, size, size)
    exact, dearest = rollup_fee_wei(terms, what, 200_000), dearest_rollup_fee_wei(terms, what, 200_000)
    assert exact * RISE_BPS <= dearest * 10_000 < exact * RISE_BPS + 10_000


BASE = router_of(8_453)
WRAPPED = WRAPPED_NATIVE[8_453]


def random_permit(chance: Random, trade: Trade, token: str) -> PermitCommand:
    """For what a trade pays."""
    permit = PermitSingle(
        token=token,
        amount=trade.amount_in,
        expiration_s=ONLY_THIS_BLOCK,
        nonce=chance.randrange(10**4),
        spender=BASE.router,
        sig_deadline_s=trade.deadline_s,
    )
    return PermitCommand(permit, chance.randbytes(64) + b"\x1b")


def random_trade(chance: Random) -> tuple[list[Route], bytes]:
    """Routes of one trade, and it signed: any legs, paths, amounts and addresses, with a permit unless in native."""

    def address() -> str:
        return "0x" + chance.randbytes(20).hex()

    def amount() -> int:
        return chance.getrandbits(chance.choice([20, 60, 90, 127])) + 1

    def leg(one: str, other: str) -> Leg:
        protocol = chance.choice([Protocol.UNISWAP_V2, Protocol.UNISWAP_V3])
        fee = 3_000 if protocol is Protocol.UNISWAP_V2 else chance.choice([100, 500, 3_000, 10_000])
        draft = Leg(pool=address(), protocol=protocol, fee_pips=fee, token_in=one, token_out=other)
        return draft.model_copy(update={"pool": routed_pool(draft, BASE)})

    ends = chance.choice([(address(), address()), (WRAPPED, address()), (address(), WRAPPED)])
    routes = []
    for _ in range(chance.randint(1, 4)):
        tokens = [ends[0], *(address() for _ in range(chance.randint(0, 3))), ends[1]]
        routes.append(Route(legs=tuple(leg(*pair) for pair in pairwise(tokens))))
    orders = [ExactInput(legs=route.legs, amount_in=amount(), minimum_out=amount()) for route in routes]
    deadline_s = 1_800_000_000 + chance.randrange(10**8)
    native_in = ends[0] == WRAPPED
    trade = Trade(
        orders=orders,
        account=address(),
        deadline_s=deadline_s,
        native_in=native_in,
        native_out=ends[1] == WRAPPED,
        taxed=False,
    )
    permits = [] if native_in else [random_permit(chance, trade, ends[0])]
    transaction = DynamicFeeTransaction(
        chain_id=8_453,
        nonce=chance.randrange(10**6),
        max_priority_fee_per_gas_wei=chance.getrandbits(33),
        max_fee_per_gas_wei=2**34 + chance.getrandbits(40),
        gas_limit=chance.randrange(10**5, 10**7),
        to=BASE.router,
        value_wei=trade.amount_in if native_in else 0,
        data=execute_trade(trade, permits=permits, deployment=BASE),
    )
    return routes, transaction.with_signature(chance.randbytes(64) + b"\1").raw


@pytest.mark.parametrize("seed", range(300))
def test_a_signed_trade_is_never_larger_than_planning_expects_and_not_far_below(seed: int) -> None:
    routes, signed = random_trade(seeded(seed))
    real, expected = data_size(signed), routed_size(routes)
    assert real.zero_bytes + real.other_bytes <= expected.zero_bytes + expected.other_bytes
    assert real.other_bytes <= expected.other_bytes
    assert real.fastlz_bytes <= expected.fastlz_bytes <= 2 * real.fastlz_bytes
    for rule in DataFeeRule:
        terms = DataFeeTerms(rule=rule, **GO_TERMS)
        assert data_fee_wei(terms, real) <= data_fee_wei(terms, expected)


def test_a_signed_allowance_is_never_larger_than_expected() -> None:
    approve = bytes.fromhex("095ea7b3") + seeded(1).randbytes(64)
    transaction = DynamicFeeTransaction(
        chain_id=8_453,
        nonce=2**40,
        max_priority_fee_per_gas_wei=2**40,
        max_fee_per_gas_wei=2**41,
        gas_limit=90_000,
        to=BASE.router,
        value_wei=0,
        data=approve,
    )
    real = data_size(transaction.with_signature(b"\1" * 64 + b"\1").raw)
    assert real.other_bytes <= planned_size(None).other_bytes
    assert real.fastlz_bytes <= planned_size(None).fastlz_bytes
