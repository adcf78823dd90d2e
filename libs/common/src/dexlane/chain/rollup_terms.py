"""The terms of a rollup's fee for data, read from the predeploys of the OP stack.

``GasPriceOracle`` knows which upgrade holds, ``L1Block`` the fees and scalars (specifications "Predeploys", "Ecotone",
"Fjord", "Isthmus", "Jovian"). What is read at one block holds for it; the next one may bring new fees of L1.
"""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.chain.abi import AbiError, Frame
from dexlane.chain.answers import BlockId
from dexlane.chain.keccak import keccak256
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.domain.rollup_fees import SCALAR_UNIT
from dexlane.events.fees import DataFeeRule, DataFeeTerms
from dexlane.runtime.errors import Transient

GAS_PRICE_ORACLE = "0x420000000000000000000000000000000000000f"
L1_BLOCK = "0x4200000000000000000000000000000000000015"

_UPGRADES = ("isEcotone()", "isFjord()", "isIsthmus()", "isJovian()")
_FEES = ("basefee()", "blobBaseFee()", "baseFeeScalar()", "blobBaseFeeScalar()")
_OPERATOR = ("operatorFeeScalar()", "operatorFeeConstant()")
_CALLS = [
    *((GAS_PRICE_ORACLE, keccak256(name.encode())[:4]) for name in _UPGRADES),
    *((L1_BLOCK, keccak256(name.encode())[:4]) for name in (*_FEES, *_OPERATOR)),
]
JOVIAN_FACTOR = 100
"""With Jovian the operator's scalar counts hundreds of wei per gas, before it millionths of a wei."""


async def read_data_fee_terms(rpc: Rpc, block: BlockId) -> DataFeeTerms:
    """The terms at a block, in one batch. ``Transient`` when they cannot be told: then the fee is not known."""
    try:
        answers = await rpc.eth_calls(_CALLS, block=block)
        return _terms(answers)
    except (RpcError, AbiError) as error:
        raise Transient(f"the fee for data could not be read from the rollup's predeploys: {error}") from error


def _terms(answers: Sequence[bytes | RpcError]) -> DataFeeTerms:
    # A contract from before an upgrade has no function that tells of it, and reverts.
    ecotone, fjord, isthmus, jovian = (bool(_number(answer, when_reverted=0)) for answer in answers[:4])
    if not (ecotone or fjord):
        raise AbiError("the rollup prices data by a rule from before Ecotone")
    l1_base_fee, blob_base_fee, base_scalar, blob_scalar = (_number(answer) for answer in answers[4:8])
    scalar, constant = (_number(answer) if isthmus or jovian else 0 for answer in answers[8:])
    return DataFeeTerms(
        rule=DataFeeRule.FJORD if fjord else DataFeeRule.ECOTONE,
        l1_base_fee_wei=l1_base_fee,
        l1_blob_base_fee_wei=blob_base_fee,
        base_fee_scalar=base_scalar,
        blob_base_fee_scalar=blob_scalar,
        operator_per_gas_millionths=scalar * (JOVIAN_FACTOR * SCALAR_UNIT if jovian else 1),
        operator_constant_wei=constant,
    )


def _number(answer: bytes | RpcError, *, when_reverted: int | None = None) -> int:
    if isinstance(answer, RpcError):
        if when_reverted is not None and "revert" in answer.message.lower():
            return when_reverted
        raise answer
    return Frame(answer).uint(0)
