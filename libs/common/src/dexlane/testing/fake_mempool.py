"""Which raw transactions a node takes: decoding, and admission rules as strict as go-ethereum's.

Messages are go-ethereum's (``core/txpool/errors.go``), because clients tell the cases apart by their text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coincurve import PublicKey

from dexlane.chain.rpc import RpcError
from dexlane_signer import rlp
from dexlane_signer.keccak import keccak256

REPLACEMENT_BUMP_PERCENT = 10
"""Both fee fields of a replacement must rise by this much (go-ethereum ``legacypool`` ``PriceBump``)."""


@dataclass(frozen=True, slots=True)
class PooledTransaction:
    """A decoded type 2 transaction with its sender."""

    hash: str
    raw: bytes
    chain_id: int
    sender: str
    nonce: int
    max_priority_fee_per_gas_wei: int
    max_fee_per_gas_wei: int
    gas_limit: int
    to: str | None
    value_wei: int
    data: bytes

    @property
    def most_it_can_cost_wei(self) -> int:
        """Gas at the cap, and the value."""
        return self.gas_limit * self.max_fee_per_gas_wei + self.value_wei

    def effective_tip_wei(self, base_fee_wei: int) -> int:
        """What the block's producer earns per gas."""
        return min(self.max_priority_fee_per_gas_wei, self.max_fee_per_gas_wei - base_fee_wei)


def refuse(message: str) -> RpcError:
    """The error a node answers to a transaction it does not take."""
    return RpcError(-32000, message)


def _uint(item: rlp.Item) -> int:
    if not isinstance(item, bytes):
        raise refuse("rlp: expected input string or byte")
    return int.from_bytes(item, "big")


def decode_transaction(raw: bytes) -> PooledTransaction:
    """Decode and recover the sender; ``RpcError`` for anything but a signed EIP-1559 transaction."""
    if raw[:1] != b"\x02":
        raise refuse("transaction type not supported")
    try:
        fields = rlp.decode(raw[1:])
    except ValueError as error:
        raise refuse(f"rlp: {error}") from error
    if isinstance(fields, bytes) or len(fields) != 12:
        raise refuse("rlp: wrong number of fields")
    numbers = [_uint(fields[index]) for index in (0, 1, 2, 3, 4, 6)]
    to, data = fields[5], fields[7]
    if not isinstance(to, bytes) or not isinstance(data, bytes):
        raise refuse("rlp: expected input string or byte")
    return PooledTransaction(
        hash="0x" + keccak256(raw).hex(),
        raw=raw,
        chain_id=numbers[0],
        sender=_sender(fields),
        nonce=numbers[1],
        max_priority_fee_per_gas_wei=numbers[2],
        max_fee_per_gas_wei=numbers[3],
        gas_limit=numbers[4],
        to="0x" + to.hex() if to else None,
        value_wei=numbers[5],
        data=data,
    )


def _sender(fields: Sequence[rlp.Item]) -> str:
    unsigned = keccak256(b"\x02" + rlp.encode(fields[:9]))
    parity, r, s = _uint(fields[9]), _uint(fields[10]), _uint(fields[11])
    if parity > 1:
        raise refuse("invalid transaction v, r, s values")
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((parity,))
    try:
        key = PublicKey.from_signature_and_message(signature, unsigned, hasher=None)
    except (ValueError, TypeError) as error:
        raise refuse("invalid transaction v, r, s values") from error
    return "0x" + keccak256(key.format(compressed=False)[1:])[12:].hex()


def intrinsic_gas(data: bytes) -> int:
    """Gas charged before execution: 21,000, and 4 or 16 per zero or other byte (EIP-2028)."""
    zeros = data.count(0)
    return 21_000 + 4 * zeros + 16 * (len(data) - zeros)


@dataclass(frozen=True, slots=True)
class Account:
    """What admission looks at: next nonce and balance of the sender."""

    nonce: int
    balance_wei: int


def check_admission(tx: PooledTransaction, account: Account, *, chain_id: int, gas_limit: int) -> None:
    """Raise the error a node would answer for a transaction that is wrong by itself or for its sender."""
    if tx.chain_id != chain_id:
        raise refuse(f"invalid chain id for signer: have {tx.chain_id} want {chain_id}")
    if tx.max_priority_fee_per_gas_wei > tx.max_fee_per_gas_wei:
        raise refuse("max priority fee per gas higher than max fee per gas")
    if tx.gas_limit > gas_limit:
        raise refuse("exceeds block gas limit")
    needed = intrinsic_gas(tx.data)
    if tx.gas_limit < needed:
        raise refuse(f"intrinsic gas too low: gas {tx.gas_limit}, minimum needed {needed}")
    if tx.nonce < account.nonce:
        raise refuse(f"nonce too low: next nonce {account.nonce}, tx nonce {tx.nonce}")
    if account.balance_wei < tx.most_it_can_cost_wei:
        short = tx.most_it_can_cost_wei - account.balance_wei
        raise refuse(
            f"insufficient funds for gas * price + value: balance {account.balance_wei}, "
            f"tx cost {tx.most_it_can_cost_wei}, overshot {short}"
        )


def check_replacement(old: PooledTransaction, new: PooledTransaction) -> None:
    """Raise unless both fee fields rise by at least ten per cent."""
    for field in ("max_fee_per_gas_wei", "max_priority_fee_per_gas_wei"):
        threshold = getattr(old, field) * (100 + REPLACEMENT_BUMP_PERCENT) // 100
        if getattr(new, field) < threshold or getattr(new, field) <= getattr(old, field):
            raise refuse("replacement transaction underpriced")
