"""Private keys that do not show themselves."""

from __future__ import annotations

import re
from typing import ClassVar, NoReturn, Protocol

from coincurve import PrivateKey as Secp256k1Key

from dexlane_signer.addresses import checksum_address, public_key_address
from dexlane_signer.transactions import DynamicFeeTransaction, SignedTransaction
from dexlane_signer.typed_data import PermitSingle

_CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HEX_KEY = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")


class InvalidKeyError(ValueError):
    """The material is no private key. The message never repeats the material."""


class AccountKey(Protocol):
    """What signs for one account, wherever its key lies. It asks no policy; the guard in front of it does."""

    @property
    def is_local(self) -> bool:
        """Whether the key is in this process and answers at once; otherwise a call may block for long."""
        ...

    @property
    def address(self) -> str:
        """The account, in lower case."""
        ...

    def sign_transaction(self, transaction: DynamicFeeTransaction) -> SignedTransaction:
        """The transaction with the account's signature."""
        ...

    def sign_permit(self, permit: PermitSingle, *, chain_id: int) -> bytes:
        """65 bytes ``r || s || v`` with ``v`` 27 or 28."""
        ...


class PrivateKey:
    """A secp256k1 private key that signs transactions and permits, and nothing else.

    It cannot be printed, pickled or copied, so it cannot reach a log, a traceback with local variables, a
    queue or a cache by accident. (Python cannot wipe memory; the process that holds keys must be a small one.)
    """

    is_local: ClassVar[bool] = True
    __slots__ = ("__key", "_address")

    def __init__(self, secret: bytes) -> None:
        """Take the 32 bytes of the key. Raises ``InvalidKeyError`` for zero or a value not below the curve order."""
        valid = len(secret) == 32 and 0 < int.from_bytes(secret, "big") < _CURVE_ORDER
        if not valid:
            secret = b""  # the frame of the raise below must not hold the material
            raise InvalidKeyError("a private key is 32 bytes, not zero and below the curve order")
        self.__key = Secp256k1Key(secret)
        self._address = public_key_address(self.__key.public_key.format(compressed=False))

    @classmethod
    def from_hex(cls, text: str) -> PrivateKey:
        """Read 64 hex digits, with or without ``0x``. Raises ``InvalidKeyError``."""
        secret = bytes.fromhex(text.strip()[-64:]) if _HEX_KEY.fullmatch(text.strip()) else b""
        text = ""  # the frame of a raise must not hold the material
        return cls(secret)

    @property
    def address(self) -> str:
        """The account of this key, in lower case."""
        return self._address

    def sign_transaction(self, transaction: DynamicFeeTransaction) -> SignedTransaction:
        """Sign without asking any policy. Deterministic (RFC 6979), low ``s`` (EIP-2)."""
        return transaction.with_signature(self.__key.sign_recoverable(transaction.signing_hash(), hasher=None))

    def sign_permit(self, permit: PermitSingle, *, chain_id: int) -> bytes:
        """Sign a Permit2 permit without asking any policy: 65 bytes ``r || s || v`` with ``v`` 27 or 28."""
        signature = self.__key.sign_recoverable(permit.digest(chain_id=chain_id), hasher=None)
        return signature[:64] + bytes((27 + signature[64],))

    def export_secret(self) -> bytes:
        """Return the 32 bytes, for writing an encrypted keystore. Nothing else should call this."""
        return self.__key.secret

    def __repr__(self) -> str:
        return f"PrivateKey(<{checksum_address(self._address)}>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("private keys cannot be pickled or copied")
