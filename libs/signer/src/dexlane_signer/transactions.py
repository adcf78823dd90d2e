"""The transactions that are signed here: type 2, dynamic fee (EIP-1559), without an access list; and on chains without
EIP-1559, where the policy names them so, type 0 with a gas price, bound to its chain (EIP-155)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dexlane_signer import rlp
from dexlane_signer.addresses import normal_address
from dexlane_signer.keccak import keccak256

_TYPE = b"\x02"
_EMPTY_ACCESS_LIST = b"\xc0"
_Y_PARITY = (rlp.encode_uint(0), rlp.encode_uint(1))
_UINT256 = 2**256
_UINT64 = 2**64
_FIRST_V = 35
"""EIP-155: ``v`` of a legacy transaction is twice the chain id, and 35 or 36."""

Envelope: TypeAlias = Literal["dynamic_fee", "legacy"]
"""How a transaction is written down."""


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """Bytes ready to broadcast, and the hash (``0x`` + 64 lower-case digits) under which chains know them."""

    raw: bytes
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicFeeTransaction:
    """An unsigned EIP-1559 transaction. It always has a target: contracts are never created from here.

    With the ``legacy`` envelope it is written as type 0: its gas price is the fee cap, and the tip must be the same,
    for block producers get all of it. Raises ``ValueError`` when a field is outside its range on the wire, when the
    tip exceeds the fee cap, or for the last nonce, which EIP-2681 forbids.
    """

    chain_id: int
    nonce: int
    max_priority_fee_per_gas_wei: int
    max_fee_per_gas_wei: int
    gas_limit: int
    to: str
    value_wei: int
    data: bytes
    envelope: Envelope = "dynamic_fee"
    _fields: bytes = field(init=False, repr=False, compare=False)
    """What is written down of it before any signature."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "to", normal_address(self.to))
        if not 0 < self.chain_id < _UINT256:
            raise ValueError("chain_id must be positive")
        if not 0 <= self.nonce < _UINT64 - 1:
            raise ValueError("nonce must be below 2**64 - 1 (EIP-2681)")
        if not 0 <= self.gas_limit < _UINT64:
            raise ValueError("gas_limit must fit 64 bits")
        if not 0 <= self.max_priority_fee_per_gas_wei <= self.max_fee_per_gas_wei < _UINT256:
            raise ValueError("the tip must not exceed the fee cap, and neither may be negative")
        if not 0 <= self.value_wei < _UINT256:
            raise ValueError("value_wei must fit 256 bits")
        if self.envelope == "legacy" and self.max_priority_fee_per_gas_wei != self.max_fee_per_gas_wei:
            raise ValueError("a legacy transaction has one gas price: its tip and its fee cap are the same")
        fields = self._legacy_fields() if self.envelope == "legacy" else self._dynamic_fee_fields()
        object.__setattr__(self, "_fields", fields)

    @property
    def max_cost_wei(self) -> int:
        """The most that its gas can cost, value excluded: the fee cap for every unit of the gas limit."""
        return self.max_fee_per_gas_wei * self.gas_limit

    def signing_payload(self) -> bytes:
        """The bytes whose Keccak-256 is signed."""
        if self.envelope == "legacy":
            chain = rlp.encode_uint(self.chain_id) + rlp.encode_uint(0) + rlp.encode_uint(0)
            return rlp.encode_list(self._fields + chain)
        return _TYPE + rlp.encode_list(self._fields)

    def signing_hash(self) -> bytes:
        """The 32-byte digest that is signed."""
        return keccak256(self.signing_payload())

    def with_signature(self, signature: bytes) -> SignedTransaction:
        """Attach a 65-byte ``r || s || y_parity`` signature. Raises ``ValueError`` for another form."""
        if len(signature) != 65 or signature[64] > 1:
            raise ValueError("expected 65 bytes r || s || y_parity with y_parity 0 or 1")
        y_parity, r, s = signature[64], signature[:32], signature[32:64]
        curve = rlp.encode_bytes(r.lstrip(b"\0")) + rlp.encode_bytes(s.lstrip(b"\0"))
        if self.envelope == "legacy":
            v = rlp.encode_uint(2 * self.chain_id + _FIRST_V + y_parity)
            raw = rlp.encode_list(self._fields + v + curve)
        else:
            raw = _TYPE + rlp.encode_list(self._fields + _Y_PARITY[y_parity] + curve)
        return SignedTransaction(raw=raw, hash="0x" + keccak256(raw).hex())

    def is_signed_in(self, raw: bytes) -> bool:
        """Whether the bytes of a signed transaction are this one, whatever its signature."""
        if self.envelope == "legacy":
            first = 2 * self.chain_id + _FIRST_V
            chains = tuple(self._fields + rlp.encode_uint(v) for v in (first, first + 1))
            return raw[:1] >= b"\xc0" and raw.startswith(chains, _list_begin(raw, 0))
        return raw[:1] == _TYPE and raw.startswith(self._fields, _list_begin(raw, 1))

    @classmethod
    def from_signed(cls, raw: bytes) -> tuple[DynamicFeeTransaction, str]:
        """Read signed bytes: the transaction and the hash under which chains know it.

        Raises ``ValueError`` for anything but the one spelling of a signed transaction of these types. Whose signature
        it is remains unchecked.
        """
        transaction = cls._from_legacy(raw) if raw[:1] >= b"\xc0" else cls._from_typed(raw)
        return transaction, "0x" + keccak256(raw).hex()

    @classmethod
    def _from_typed(cls, raw: bytes) -> DynamicFeeTransaction:
        items = rlp.decode(raw[1:]) if raw[:1] == _TYPE else b""
        if isinstance(items, bytes) or len(items) != 12 or items[8] != []:
            raise ValueError("the bytes are no signed EIP-1559 transaction without an access list")
        fields = _flat(items, 11, texts={5, 7})
        chain_id, nonce, tip, cap, gas_limit = (int.from_bytes(field, "big") for field in fields[:5])
        return cls(
            chain_id=chain_id,
            nonce=nonce,
            max_priority_fee_per_gas_wei=tip,
            max_fee_per_gas_wei=cap,
            gas_limit=gas_limit,
            to="0x" + fields[5].hex(),
            value_wei=int.from_bytes(fields[6], "big"),
            data=fields[7],
        )

    @classmethod
    def _from_legacy(cls, raw: bytes) -> DynamicFeeTransaction:
        items = rlp.decode(raw)
        if isinstance(items, bytes) or len(items) != 9:
            raise ValueError("the bytes are no signed transaction of type 0")
        fields = _flat(items, 9, texts={3, 5})
        nonce, price, gas_limit = (int.from_bytes(field, "big") for field in fields[:3])
        return cls(
            chain_id=(int.from_bytes(fields[6], "big") - _FIRST_V) // 2,
            nonce=nonce,
            max_priority_fee_per_gas_wei=price,
            max_fee_per_gas_wei=price,
            gas_limit=gas_limit,
            to="0x" + fields[3].hex(),
            value_wei=int.from_bytes(fields[4], "big"),
            data=fields[5],
            envelope="legacy",
        )

    def _legacy_fields(self) -> bytes:
        return b"".join(
            (
                rlp.encode_uint(self.nonce),
                rlp.encode_uint(self.max_fee_per_gas_wei),
                rlp.encode_uint(self.gas_limit),
                rlp.encode_bytes(bytes.fromhex(self.to[2:])),
                rlp.encode_uint(self.value_wei),
                rlp.encode_bytes(self.data),
            )
        )

    def _dynamic_fee_fields(self) -> bytes:
        return b"".join(
            (
                rlp.encode_uint(self.chain_id),
                rlp.encode_uint(self.nonce),
                rlp.encode_uint(self.max_priority_fee_per_gas_wei),
                rlp.encode_uint(self.max_fee_per_gas_wei),
                rlp.encode_uint(self.gas_limit),
                rlp.encode_bytes(bytes.fromhex(self.to[2:])),
                rlp.encode_uint(self.value_wei),
                rlp.encode_bytes(self.data),
                _EMPTY_ACCESS_LIST,
            )
        )


def _flat(items: Sequence[rlp.Item], count: int, texts: set[int]) -> list[bytes]:
    """The byte strings among the items; all but ``texts`` must be integers as encoders write them."""
    fields = [item for item in items if isinstance(item, bytes)]
    integers = [field for index, field in enumerate(fields) if index not in texts]
    if len(fields) != count or any(field[:1] == b"\0" or len(field) > 32 for field in integers):
        raise ValueError("a field of the transaction has a form that no encoder writes")
    return fields


def _list_begin(raw: bytes, at: int) -> int:
    """Where the content of the list at a place begins: its length takes one byte, or says in its first how many more it
    takes (Yellow Paper, appendix B)."""
    return at + 1 if raw[at] < 0xF8 else at + 1 + raw[at] - 0xF7
