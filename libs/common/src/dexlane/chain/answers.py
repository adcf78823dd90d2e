"""What nodes answer, as small frozen values. Hashes and addresses are lower-case hex, quantities are integers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from dexlane.values.chains import BlockRef

BlockId: TypeAlias = "int | str"
"""A block number, a tag (``latest``, ``pending``, ``safe``, ``finalized``, ``earliest``) or a 32-byte block hash."""


NOT_READABLE = (KeyError, ValueError, TypeError, AttributeError, OverflowError)
"""What reading an answer raises that is not of the form it must have."""


MOST_WEI = 10**27
"""A billion ether, more than there are: no price per gas can be above it."""


@dataclass(frozen=True, slots=True)
class Header:
    """A block header, as far as dexlane reads it. ``timestamp_s`` is Unix seconds, fees are wei per gas.

    ``logs_bloom`` tells what the block has logs of (``dexlane.chain.bloom``); zero when it is not known.
    ``receipts_root`` vouches for all its receipts; empty when it is not known. ``proved`` says that all of this is
    known to belong to the hash (``dexlane.chain.block_proof``).
    """

    number: int
    hash: str
    parent_hash: str
    timestamp_s: int
    base_fee_per_gas_wei: int
    gas_used: int
    gas_limit: int
    logs_bloom: int = 0
    receipts_root: str = ""
    proved: bool = False

    @property
    def ref(self) -> BlockRef:
        """The block's number and hash."""
        return BlockRef(number=self.number, hash=self.hash)


class UnreadableLog(ValueError):  # noqa: N818 - named for what the node gave
    """A log that is not what it must be: missing or malformed fields, removed, or not the data that its topic says."""


class RawLog(NamedTuple):
    """An event log as the node gives it: topics as hex, data as bytes."""

    address: str
    topics: tuple[str, ...]
    data: bytes
    block_number: int
    block_hash: str
    tx_hash: str
    log_index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of an included transaction. ``rollup_fee_wei`` is what a rollup charged on top, for its data and for
    its operator; None when the node does not say."""

    tx_hash: str
    block: BlockRef
    transaction_index: int
    sender: str
    success: bool
    gas_used: int
    effective_gas_price_wei: int
    logs: tuple[RawLog, ...] = ()
    rollup_fee_wei: int | None = 0


@dataclass(frozen=True, slots=True)
class ChainTransaction:
    """A transaction that the node knows; ``block`` is None while it is pending."""

    hash: str
    sender: str
    nonce: int
    to: str | None
    value_wei: int
    data: bytes
    gas_limit: int
    max_fee_per_gas_wei: int
    max_priority_fee_per_gas_wei: int
    block: BlockRef | None


@dataclass(frozen=True, slots=True)
class FeeHistory:
    """``eth_feeHistory``: one more base fee than blocks (the last is the next block's), tips per percentile."""

    oldest_block: int
    base_fees_per_gas_wei: tuple[int, ...]
    gas_used_ratios: tuple[float, ...]
    tips_per_gas_wei: tuple[tuple[int, ...], ...]


def quantity(value: str | None) -> int:
    """Read a hex quantity; a missing one is zero."""
    return 0 if value is None else int(value, 16)


def parse_header(answer: Mapping[str, Any]) -> Header:
    """Read a header from a block or a ``newHeads`` notification."""
    return Header(
        number=int(answer["number"], 16),
        hash=answer["hash"].lower(),
        parent_hash=answer["parentHash"].lower(),
        timestamp_s=int(answer["timestamp"], 16),
        base_fee_per_gas_wei=quantity(answer.get("baseFeePerGas")),
        gas_used=int(answer["gasUsed"], 16),
        gas_limit=int(answer["gasLimit"], 16),
        logs_bloom=quantity(answer.get("logsBloom")),
        receipts_root=str(answer.get("receiptsRoot", "")),
    )


def parse_logs(answers: Iterable[Mapping[str, Any]]) -> list[RawLog]:
    """Read logs. Raises ``UnreadableLog`` when a field is missing or malformed, or a log was removed from the chain."""
    logs: list[RawLog] = []
    keep, new = logs.append, tuple.__new__
    raw_hash, block_hash, raw_number, block_number = "", "", "", 0
    try:
        for answer in answers:
            if answer.get("removed"):
                raise _removed(answer)
            if answer["blockHash"] != raw_hash or answer["blockNumber"] != raw_number:  # read once for all its logs
                raw_hash, raw_number = answer["blockHash"], answer["blockNumber"]
                block_hash, block_number = raw_hash.lower(), int(raw_number, 16)
            keep(
                new(  # half the cost of the class's own constructor; the fields are in its order
                    RawLog,
                    (
                        answer["address"].lower(),
                        # In upper case nobody would know the event, and its change would be passed over.
                        tuple([topic.lower() for topic in answer["topics"]]),
                        bytes.fromhex(answer["data"][2:]),
                        block_number,
                        block_hash,
                        answer["transactionHash"].lower(),
                        int(answer["logIndex"], 16),
                    ),
                )
            )
    except UnreadableLog:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableLog(f"a log lacks a field or has a malformed one: {error!r}") from error
    return logs


def _removed(answer: Mapping[str, Any]) -> UnreadableLog:
    return UnreadableLog(f"log {answer['logIndex']} of block {answer['blockNumber']} was removed from the chain")


def parse_log(answer: Mapping[str, Any]) -> RawLog:
    """Read one log; see ``parse_logs``."""
    return parse_logs((answer,))[0]


def parse_receipt(answer: Mapping[str, Any]) -> Receipt:
    """Read a receipt."""
    return Receipt(
        tx_hash=answer["transactionHash"].lower(),
        block=BlockRef(number=int(answer["blockNumber"], 16), hash=answer["blockHash"]),
        transaction_index=int(answer["transactionIndex"], 16),
        sender=answer["from"].lower(),
        success=int(answer["status"], 16) == 1,
        gas_used=int(answer["gasUsed"], 16),
        effective_gas_price_wei=quantity(answer.get("effectiveGasPrice")),
        logs=tuple(parse_logs(answer["logs"])),
        rollup_fee_wei=_rollup_fee(answer),
    )


def _rollup_fee(answer: Mapping[str, Any]) -> int | None:
    """``l1Fee`` and the operator's fee, as op-geth writes them into receipts. The latter counts by other units since
    Jovian, whose receipts carry ``daFootprintGasScalar``."""
    if answer.get("l1Fee") is None:
        return None
    per_gas, constant = quantity(answer.get("operatorFeeScalar")), quantity(answer.get("operatorFeeConstant"))
    by_gas = int(answer["gasUsed"], 16) * per_gas
    operator = by_gas * 100 if answer.get("daFootprintGasScalar") is not None else by_gas // 10**6
    return int(answer["l1Fee"], 16) + operator + constant


def parse_transaction(answer: Mapping[str, Any]) -> ChainTransaction:
    """Read a transaction; a legacy one has its gas price as both fee fields."""
    price = answer.get("gasPrice")
    in_block = answer.get("blockHash") is not None
    return ChainTransaction(
        hash=answer["hash"].lower(),
        sender=answer["from"].lower(),
        nonce=int(answer["nonce"], 16),
        to=answer["to"].lower() if answer.get("to") else None,
        value_wei=int(answer["value"], 16),
        data=bytes.fromhex(answer["input"][2:]),
        gas_limit=int(answer["gas"], 16),
        max_fee_per_gas_wei=quantity(answer.get("maxFeePerGas", price)),
        max_priority_fee_per_gas_wei=quantity(answer.get("maxPriorityFeePerGas", price)),
        block=BlockRef(number=int(answer["blockNumber"], 16), hash=answer["blockHash"]) if in_block else None,
    )


def parse_fee_history(answer: Mapping[str, Any]) -> FeeHistory:
    """Read a fee history; nodes leave ``reward`` out when no percentile was asked for. Raises ``ValueError`` or
    ``TypeError`` for what no block can have paid."""
    found = FeeHistory(
        oldest_block=int(answer["oldestBlock"], 16),
        base_fees_per_gas_wei=tuple(int(fee, 16) for fee in answer["baseFeePerGas"]),
        gas_used_ratios=tuple(float(ratio) for ratio in answer["gasUsedRatio"]),
        tips_per_gas_wei=tuple(tuple(int(tip, 16) for tip in row) for row in answer.get("reward") or ()),
    )
    prices = (*found.base_fees_per_gas_wei, *(tip for row in found.tips_per_gas_wei for tip in row))
    if any(not 0 <= price <= MOST_WEI for price in prices) or min(found.gas_used_ratios, default=0) < 0:
        raise ValueError("a fee history with impossible numbers")
    return found


def block_parameter(block: BlockId) -> object:
    """The JSON-RPC form of a block: a hex number, a tag, or EIP-1898 for a hash."""
    if isinstance(block, int):
        return hex(block)
    return {"blockHash": block, "requireCanonical": True} if block.startswith("0x") and len(block) == 66 else block
