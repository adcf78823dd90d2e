"""What a rollup charged for a transaction whose receipt does not say it: computed from the block it is in."""

from __future__ import annotations

from dataclasses import replace

from dexlane.chain.answers import Receipt
from dexlane.chain.execution.evidence import Finding
from dexlane.chain.rollup_terms import read_data_fee_terms
from dexlane.chain.rpc import Rpc
from dexlane.domain.fees import fee_parameters
from dexlane.domain.rollup_fees import data_size, rollup_fee_wei
from dexlane.domain.send_values import Step
from dexlane.runtime.errors import Transient


class BytesKept(Transient):
    """What a transaction paid cannot be computed: a signer that signs no entries keeps its bytes, perhaps for long."""


async def whole_receipt(rpc: Rpc, chain_id: int, finding: Finding, step: Step) -> Receipt | None:
    """What was found of a slot, with all that was paid where the step tells of it. ``Transient`` as below."""
    receipt, slot = finding.receipt, finding.slot
    if receipt is None or not step.changes:
        return receipt
    number = next(one.number for one in slot.state.attempts if one.tx_hash == receipt.tx_hash)
    return await with_rollup_fee(rpc, chain_id, receipt, slot.raws.get(number))


async def with_rollup_fee(rpc: Rpc, chain_id: int, receipt: Receipt, signed: bytes | None) -> Receipt:
    """The receipt with the fee for the data of these signed bytes, where the chain has one.

    Nodes of the OP stack give it as ``l1Fee``; others, such as the devnet's, charge it and say nothing. ``Transient``
    when the block's terms cannot be read, ``BytesKept`` without the bytes: nothing is booked until they are known.
    """
    if receipt.rollup_fee_wei is not None:
        return receipt
    if not fee_parameters(chain_id).has_l1_data_fee:
        return replace(receipt, rollup_fee_wei=0)
    if signed is None:
        raise BytesKept(f"the fee of transaction {receipt.tx_hash} waits for its bytes, which the halted signer keeps")
    terms = await read_data_fee_terms(rpc, receipt.block.hash)
    return replace(receipt, rollup_fee_wei=rollup_fee_wei(terms, data_size(signed), receipt.gas_used))
