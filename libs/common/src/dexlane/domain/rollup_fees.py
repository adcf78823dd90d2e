"""What OP-stack rollups charge beside the gas: the data of a transaction on L1, and the operator's fee. Exact.

Sources: the specifications "Ecotone: L1-Cost fees", "Fjord: L1-Cost fees" and "Isthmus/Jovian: operator fee" of the OP
stack; op-geth ``core/types/rollup_cost.go``; the predeploy ``GasPriceOracle``. The chain charges the fee of the block a
transaction is in, beside the fee cap: nothing in the transaction bounds it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dexlane.domain.routing.terms import data_bytes
from dexlane.events.execution import Plan
from dexlane.events.fees import DataFeeRule, DataFeeTerms
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.routes import Route

SCALAR_UNIT = 10**6
FASTLZ_INTERCEPT = -42_585_600
FASTLZ_COEFFICIENT = 836_500
MINIMUM_SIZE = 100 * SCALAR_UNIT
"""Fjord: millionths of a byte; the regression of the batch's compressed size on the FastLZ size, and its floor."""
ZERO_BYTE_GAS, OTHER_BYTE_GAS = 4, 16
RISE_BPS = 12_500
"""Planning reckons with terms that are a quarter dearer: one L1 block may raise the base fee by an eighth (EIP-1559)
and the blob fee by an eighth (EIP-4844), and a trade may wait for more than one."""


@dataclass(frozen=True, slots=True)
class DataSize:
    """What the formulas want to know of a signed transaction: its bytes by kind, and its size after FastLZ."""

    zero_bytes: int
    other_bytes: int
    fastlz_bytes: int


def data_size(signed: bytes) -> DataSize:
    """The size of a signed transaction as it goes out."""
    zeros = signed.count(0)
    return DataSize(zeros, len(signed) - zeros, fastlz_size(signed))


def data_fee_wei(terms: DataFeeTerms, size: DataSize) -> int:
    """The fee for data, in wei, rounded down as the chain does."""
    per_byte = OTHER_BYTE_GAS * terms.base_fee_scalar * terms.l1_base_fee_wei
    per_byte += terms.blob_base_fee_scalar * terms.l1_blob_base_fee_wei
    if terms.rule is DataFeeRule.ECOTONE:
        gas = ZERO_BYTE_GAS * size.zero_bytes + OTHER_BYTE_GAS * size.other_bytes
        return gas * per_byte // (OTHER_BYTE_GAS * SCALAR_UNIT)
    estimated = max(FASTLZ_INTERCEPT + FASTLZ_COEFFICIENT * size.fastlz_bytes, MINIMUM_SIZE)
    return estimated * per_byte // SCALAR_UNIT**2


def operator_fee_wei(terms: DataFeeTerms, gas: int) -> int:
    """The operator's fee, in wei: of the gas limit when the transaction is taken, of the gas used in the end."""
    return gas * terms.operator_per_gas_millionths // SCALAR_UNIT + terms.operator_constant_wei


def rollup_fee_wei(terms: DataFeeTerms | None, size: DataSize, gas: int) -> int:
    """Both fees; zero on a chain that has neither."""
    return 0 if terms is None else data_fee_wei(terms, size) + operator_fee_wei(terms, gas)


def dearest_rollup_fee_wei(terms: DataFeeTerms | None, size: DataSize, gas: int) -> int:
    """Both fees as planning reckons with them, rounded up: L1 may become dearer until the trade is in a block."""
    return -(-rollup_fee_wei(terms, size, gas) * RISE_BPS // BPS_DENOMINATOR)


PERMIT_BYTES = 480
"""A permit, or wrapping and unwrapping, beside what ``data_bytes`` counts."""
ALLOWANCE_SIZE = DataSize(60, 200, 210)
"""An ERC-20 approve, signed: an upper bound."""


def expected_size(signed_bytes: int) -> DataSize:
    """An upper bound on the size of a signed trade of so many bytes, before its calldata is known.

    Most of a call is zeros that pad its words, so FastLZ leaves much less of it. Tests hold the bounds against the
    calldata of routes, amounts and addresses drawn at random.
    """
    others = 40 + signed_bytes * 3 // 10
    return DataSize(max(0, signed_bytes - others), others, 125 + signed_bytes * 3 // 10)


def routed_size(routes: Iterable[Route]) -> DataSize:
    """An upper bound on the size of a signed trade along these routes."""
    return expected_size(PERMIT_BYTES + data_bytes([route.legs for route in routes]))


def planned_size(plan: Plan | None) -> DataSize:
    """An upper bound on the size of an intent's signed transaction; None is an allowance."""
    return ALLOWANCE_SIZE if plan is None else routed_size(path.route for path in plan.paths)


_FASTLZ_WINDOW = 0x1FFF
_FASTLZ_LONGEST = 262


def fastlz_size(data: bytes) -> int:
    """Length of the data after FastLZ (level 1), as the OP stack measures it.

    ``FlzCompressLen`` of op-geth, after ``flzCompress`` of Solady: a greedy match of three bytes or more against the
    last 8,191 bytes by a table of hashes; literals in runs of at most 32.
    """
    limit = max(len(data) - 13, 0)
    table: dict[int, int] = {}
    size, anchor, at = 0, 0, 2
    while at < limit:
        found = _next_match(data, table, at, limit)
        if found is None:
            break
        at, earlier = found
        size += _literals(at - anchor)
        length = _match_length(data, earlier + 3, at + 3, limit + 9)
        size += _matched(length)
        at += length
        for _ in range(2):
            table[_hash(data, at)] = at
            at += 1
        anchor = at
    return size + _literals(len(data) - anchor)


def _next_match(data: bytes, table: dict[int, int], at: int, limit: int) -> tuple[int, int] | None:
    """The next position whose three bytes stood before, and where; None when there is none below the limit."""
    while True:
        key = _hash(data, at)
        earlier = table.get(key, 0)
        table[key] = at
        if at >= limit:
            return None
        if at - earlier <= _FASTLZ_WINDOW and data[at : at + 3] == data[earlier : earlier + 3]:
            return (at, earlier) if at + 1 < limit else None
        at += 1


def _hash(data: bytes, at: int) -> int:
    three = data[at] | data[at + 1] << 8 | data[at + 2] << 16
    return ((2_654_435_769 * three & 0xFFFFFFFF) >> 19) & _FASTLZ_WINDOW


def _match_length(data: bytes, earlier: int, at: int, end: int) -> int:
    """Equal bytes from both positions on; the one that differs is counted as well, as the original does."""
    length = 0
    while at + length < end:
        length += 1
        if data[earlier + length - 1] != data[at + length - 1]:
            break
    return length


def _literals(count: int) -> int:
    runs, rest = divmod(count, 32)
    return 33 * runs + (rest + 1 if rest else 0)


def _matched(length: int) -> int:
    whole, rest = divmod(length - 1, _FASTLZ_LONGEST)
    return 3 * whole + (3 if rest >= 6 else 2)
