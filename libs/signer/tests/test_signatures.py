"""Signatures of key services are read strictly, and leave as Ethereum wants them or not at all."""

from __future__ import annotations

import pytest
from eth_account import Account
from eth_keys.datatypes import Signature
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane.testing.key_services.curve import ORDER, ServiceKey, der
from dexlane_signer.key_stores.crc32c import crc32c
from dexlane_signer.key_stores.errors import KeyStoreRefusedError
from dexlane_signer.key_stores.signatures import pem_address, read_der, recoverable, spki_address

SECRET = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
ADDRESS = Account.from_key(SECRET).address.lower()
numbers = st.one_of(st.integers(1, ORDER - 1), st.integers(1, 300), st.integers(ORDER - 300, ORDER - 1))


@given(r=numbers, s=numbers)
def test_der_is_read_as_it_was_written(r: int, s: int) -> None:
    assert read_der(der(r, s)) == (r, s)


@settings(max_examples=150)
@given(r=numbers, s=numbers, at=st.integers(0, 71), to=st.integers(0, 255))
def test_der_has_one_spelling(r: int, s: int, at: int, to: int) -> None:
    """Whatever is read from altered bytes is written as these very bytes."""
    altered = bytearray(der(r, s))
    altered[at % len(altered)] = to
    try:
        read = read_der(bytes(altered))
    except ValueError:
        return
    assert der(*read) == bytes(altered)


@pytest.mark.parametrize(
    "spelling",
    [
        "",
        "30",
        "3006020101020101ff",  # bytes that follow
        "3081060201010201 01",  # a long form of a short length
        "30070202000102 0101",  # padded
        "3006020100020101",  # zero
        "3006020181020101",  # negative
        "3005020002 0101",  # no number
        "3009020101020101020101",  # three numbers
        "3006020101030101",  # another type
        "3106020101020101",
        "300602010102017f00",
    ],
)
def test_other_spellings_are_refused(spelling: str) -> None:
    with pytest.raises(ValueError, match=r"signature|number"):
        read_der(bytes.fromhex(spelling))


@settings(max_examples=150, deadline=None)
@given(digest=st.binary(min_size=32, max_size=32), seed=st.integers(0, 2**32))
def test_a_services_signature_becomes_the_accounts(digest: bytes, seed: int) -> None:
    """With a random number of its own, and as often with a high ``s`` as with a low one."""
    r, s = ServiceKey(SECRET, seed).sign(digest)
    signature = recoverable(r, s, digest, ADDRESS)
    assert int.from_bytes(signature[32:64], "big") <= ORDER // 2, "EIP-2"
    signer = Signature(signature).recover_public_key_from_msg_hash(digest)
    assert signer.to_address() == ADDRESS


def test_the_double_gives_high_and_low_alike() -> None:
    key = ServiceKey(SECRET)
    high = [key.sign(bytes(32))[1] > ORDER // 2 for _ in range(200)]
    assert 70 < sum(high) < 130


@pytest.mark.parametrize(("r", "s"), [(0, 1), (1, 0), (ORDER, 1), (1, ORDER), (1, 1), (2**300, 1), (-1, 1)])
def test_numbers_out_of_range_and_garbage_are_refused(r: int, s: int) -> None:
    with pytest.raises(KeyStoreRefusedError, match="no signature of"):
        recoverable(r, s, b"\1" * 32, ADDRESS)


def test_the_signature_of_another_key_or_digest_is_refused() -> None:
    digest = b"\1" * 32
    r, s = ServiceKey(b"\2" * 32).sign(digest)
    with pytest.raises(KeyStoreRefusedError):
        recoverable(r, s, digest, ADDRESS)
    r, s = ServiceKey(SECRET).sign(digest)
    with pytest.raises(KeyStoreRefusedError):
        recoverable(r, s, b"\3" * 32, ADDRESS)


def test_public_keys_give_their_address() -> None:
    key = ServiceKey(SECRET)
    assert spki_address(key.spki) == ADDRESS
    assert pem_address(key.pem) == ADDRESS
    assert pem_address(key.pem.replace("\n", "\r\n")) == ADDRESS


def test_public_keys_are_the_same_to_the_cryptography_package() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    theirs = ec.derive_private_key(int.from_bytes(SECRET, "big"), ec.SECP256K1()).public_key()
    spki = theirs.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = theirs.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert spki_address(spki) == pem_address(pem.decode()) == ADDRESS


def test_other_keys_are_refused() -> None:
    spki = ServiceKey(SECRET).spki
    off_the_curve = spki[:-1] + bytes((spki[-1] ^ 1,))
    on_p256 = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + spki[-65:]
    for document in (b"", spki[:-1], spki + b"\0", off_the_curve, on_p256):
        with pytest.raises(ValueError, match=r"secp256k1|65 bytes|public key"):
            spki_address(document)
    for text in ("", "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----"):
        with pytest.raises(ValueError, match="PEM"):
            pem_address(text)


def test_checksums_are_those_of_the_rfc() -> None:
    """RFC 3720, B.4, and the check value of the catalogue."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283
