"""The one kind of transaction that is signed here: type 2, dynamic fee (EIP-1559), without an access list."""

from __future__ import annotations

from dataclasses import dataclass

from dexlane_signer import rlp
from dexlane_signer.addresses import normal_address
from dexlane_signer.keccak import keccak256

_TYPE = b"\x02"
_EMPTY_ACCESS_LIST = b"\xc0"
_UINT256 = 2**256
_UINT64 = 2**64


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """Bytes ready to broadcast, and the hash (``0x`` + 64 lower-case digits) under which chains know them."""

    raw: bytes
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicFeeTransaction:
    """An unsigned EIP-1559 transaction. It always has a target: contracts are never created from here.

    Raises ``ValueError`` when a field is outside its range on the wire, when the tip exceeds the fee cap, or
    for the last nonce, which EIP-2681 forbids.
    """

    chain_id: int
    nonce: int
    max_priority_fee_per_gas_wei: int
    max_fee_per_gas_wei: int
    gas_limit: int
    to: str
    value_wei: int
    data: bytes

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

    @property
    def max_cost_wei(self) -> int:
        """The most that its gas can cost, value excluded: the fee cap for every unit of the gas limit."""
        return self.max_fee_per_gas_wei * self.gas_limit

    def signing_payload(self) -> bytes:
        """The bytes whose Keccak-256 is signed."""
        return _TYPE + rlp.encode_list(self._fields())

    def signing_hash(self) -> bytes:
        """The 32-byte digest that is signed."""
        return keccak256(self.signing_payload())

    def with_signature(self, signature: bytes) -> SignedTransaction:
        """Attach a 65-byte ``r || s || y_parity`` signature. Raises ``ValueError`` for another form."""
        if len(signature) != 65 or signature[64] > 1:
            raise ValueError("expected 65 bytes r || s || y_parity with y_parity 0 or 1")
        y_parity, r, s = signature[64], signature[:32], signature[32:64]
        tail = rlp.encode_uint(y_parity) + rlp.encode_bytes(r.lstrip(b"\0")) + rlp.encode_bytes(s.lstrip(b"\0"))
        raw = _TYPE + rlp.encode_list(self._fields() + tail)
        return SignedTransaction(raw=raw, hash="0x" + keccak256(raw).hex())

    def is_signed_in(self, raw: bytes) -> bool:
        """Whether the bytes of a signed transaction of this type are this one, whatever its signature."""
        # A list's length takes one byte, or says in its first how many more it takes (Yellow Paper, appendix B).
        begin = 2 if raw[1] < 0xF8 else 2 + raw[1] - 0xF7
        return raw.startswith(self._fields(), begin)

    @classmethod
    def from_signed(cls, raw: bytes) -> tuple[DynamicFeeTransaction, str]:
        """Read signed bytes: the transaction and the hash under which chains know it.

        Raises ``ValueError`` for anything but the one spelling of a signed transaction of this type. Whose signature
        it is remains unchecked.
        """
        items = rlp.decode(raw[1:]) if raw[:1] == _TYPE else b""
        if isinstance(items, bytes) or len(items) != 12 or items[8] != []:
            raise ValueError("the bytes are no signed EIP-1559 transaction without an access list")
        fields = [item for item in items if isinstance(item, bytes)]
        integers = [field for index, field in enumerate(fields) if index not in {5, 7}]
        if len(fields) != 11 or any(field[:1] == b"\0" or len(field) > 32 for field in integers):
            raise ValueError("a field of the transaction has a form that no encoder writes")
        chain_id, nonce, tip, cap, gas_limit = (int.from_bytes(field, "big") for field in fields[:5])
        transaction = cls(
            chain_id=chain_id,
            nonce=nonce,
            max_priority_fee_per_gas_wei=tip,
            max_fee_per_gas_wei=cap,
            gas_limit=gas_limit,
            to="0x" + fields[5].hex(),
            value_wei=int.from_bytes(fields[6], "big"),
            data=fields[7],
        )
        return transaction, "0x" + keccak256(raw).hex()

    def _fields(self) -> bytes:
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
