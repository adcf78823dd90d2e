"""A key that lies elsewhere: the store is asked for a signature, and nothing it answers is taken on trust."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NoReturn, Protocol

from dexlane_signer.addresses import checksum_address, normal_address
from dexlane_signer.denials import DenialReason
from dexlane_signer.keccak import keccak256
from dexlane_signer.key_stores.errors import KeyStoreRefusedError, KeyStoreUnavailableError
from dexlane_signer.key_stores.signatures import recoverable
from dexlane_signer.transactions import DynamicFeeTransaction, SignedTransaction
from dexlane_signer.typed_data import PermitSingle

_RETRY_AFTER_S = 0.05


@dataclass(frozen=True, slots=True)
class Message:
    """What is signed: ``preimage`` is hashed with Keccak-256, and the hash is signed.

    A transaction's preimage is its type and RLP (EIP-2718); a permit's is ``0x1901``, domain and struct hash (EIP-712).
    """

    preimage: bytes
    is_permit: bool = False

    @property
    def digest(self) -> bytes:
        """The 32 bytes that are signed."""
        return keccak256(self.preimage)


class SignatureSource(Protocol):
    """One key of a store, as its client sees it."""

    @property
    def name(self) -> str:
        """What people call it: the store, and the key in it. No secret."""
        ...

    def sign(self, message: Message) -> tuple[int, int]:
        """``r`` and ``s``, unchecked. May take as long as the store's limit. Raises ``KeyStoreUnavailableError`` or
        ``KeyStoreRefusedError``."""
        ...


class StoredKey:
    """An account whose key never comes here. Calls block; they are made outside of the process's loop."""

    is_local: ClassVar[bool] = False
    __slots__ = ("_address", "_monotonic_s", "_retry_within_s", "_source")

    def __init__(
        self,
        address: str,
        source: SignatureSource,
        *,
        retry_within_s: float = 0.5,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """A store that failed within ``retry_within_s``, such as a throttled one, is asked once more."""
        self._address = normal_address(address)
        self._source = source
        self._retry_within_s = retry_within_s
        self._monotonic_s = monotonic_s

    @property
    def address(self) -> str:
        """The account, in lower case."""
        return self._address

    @property
    def name(self) -> str:
        """The store, and the key in it."""
        return self._source.name

    def sign_transaction(self, transaction: DynamicFeeTransaction) -> SignedTransaction:
        """Sign without asking any policy. The bytes are encoded here, from the transaction that was asked for, and hold
        a low ``s``; two calls may give two signatures. Raises as the source does."""
        signed = transaction.with_signature(self._signature(Message(transaction.signing_payload())))
        if DynamicFeeTransaction.from_signed(signed.raw) != (transaction, signed.hash):
            _refuse_encoding()
        return signed

    def sign_permit(self, permit: PermitSingle, *, chain_id: int) -> bytes:
        """Sign a Permit2 permit without asking any policy: 65 bytes ``r || s || v`` with ``v`` 27 or 28."""
        signature = self._signature(Message(permit.preimage(chain_id=chain_id), is_permit=True))
        return signature[:64] + bytes((27 + signature[64],))

    def _signature(self, message: Message) -> bytes:
        began_s = self._monotonic_s()
        try:
            r, s = self._source.sign(message)
        except KeyStoreUnavailableError:
            if self._monotonic_s() - began_s >= self._retry_within_s:
                raise
            time.sleep(_RETRY_AFTER_S)
            r, s = self._source.sign(message)
        return recoverable(r, s, message.digest, self._address)

    def __repr__(self) -> str:
        return f"StoredKey(<{checksum_address(self._address)}>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys cannot be pickled or copied")


def _refuse_encoding() -> NoReturn:
    raise KeyStoreRefusedError("the signed bytes do not read back as what was asked for", DenialReason.WRONG_SIGNATURE)
