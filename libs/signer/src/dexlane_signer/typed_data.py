"""The only typed data (EIP-712) this package can hash: Permit2's ``PermitSingle``.

Source: Uniswap ``permit2``, ``libraries/PermitHash.sol`` and ``EIP712.sol`` (the domain has no version field).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from dexlane_signer.addresses import normal_address
from dexlane_signer.keccak import keccak256

PERMIT2 = "0x000000000022d473030f116ddee9f6b43ac78ba3"
"""Permit2, at the same address on every chain it serves."""

_DOMAIN_TYPE = keccak256(b"EIP712Domain(string name,uint256 chainId,address verifyingContract)")
_NAME = keccak256(b"Permit2")
_DETAILS = b"PermitDetails(address token,uint160 amount,uint48 expiration,uint48 nonce)"
_DETAILS_TYPE = keccak256(_DETAILS)
_SINGLE_TYPE = keccak256(b"PermitSingle(PermitDetails details,address spender,uint256 sigDeadline)" + _DETAILS)
_BITS = (("amount", 160), ("expiration_s", 48), ("nonce", 48), ("sig_deadline_s", 256))


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitSingle:
    """Leave for ``spender`` to pull up to ``amount`` of ``token`` through Permit2.

    ``amount`` is in the token's smallest unit. ``expiration_s`` (Unix seconds) ends the allowance; zero means
    "only in the block that applies the permit". ``sig_deadline_s`` (Unix seconds) ends the signature itself.
    ``nonce`` is Permit2's counter for (owner, token, spender). Raises ``ValueError`` for a field out of range.
    """

    token: str
    amount: int
    expiration_s: int
    nonce: int
    spender: str
    sig_deadline_s: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", normal_address(self.token))
        object.__setattr__(self, "spender", normal_address(self.spender))
        for name, bits in _BITS:
            if getattr(self, name) >> bits:  # of a negative number that is -1
                raise ValueError(f"{name} must fit {bits} bits")

    def digest(self, *, chain_id: int, verifying_contract: str = PERMIT2) -> bytes:
        """Return the 32 bytes that are signed: ``keccak(0x1901 || domain || struct)`` (EIP-712)."""
        return keccak256(self.preimage(chain_id=chain_id, verifying_contract=verifying_contract))

    def preimage(self, *, chain_id: int, verifying_contract: str = PERMIT2) -> bytes:
        """Return the 66 bytes whose hash is signed: ``0x1901 || domain || struct``."""
        domain = _domain(chain_id, verifying_contract)
        details = keccak256(
            _DETAILS_TYPE
            + _address_word(self.token)
            + _word(self.amount)
            + _word(self.expiration_s)
            + _word(self.nonce)
        )
        single = keccak256(_SINGLE_TYPE + details + _address_word(self.spender) + _word(self.sig_deadline_s))
        return b"\x19\x01" + domain + single


@lru_cache(maxsize=64)
def _domain(chain_id: int, verifying_contract: str) -> bytes:
    return keccak256(_DOMAIN_TYPE + _NAME + _word(chain_id) + _address_word(normal_address(verifying_contract)))


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _address_word(address: str) -> bytes:
    return bytes.fromhex(address[2:]).rjust(32, b"\0")
