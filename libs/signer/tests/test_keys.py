"""Keys do not show themselves, and key files are private and interchangeable with eth-account's."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane_signer import InvalidKeyError, KeystoreError, PermitSingle, PrivateKey, load_keystore, write_keystore

SECRET = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"  # the first public key of anvil
ADDRESS = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

TYPES = {
    "PermitDetails": [
        {"name": "token", "type": "address"},
        {"name": "amount", "type": "uint160"},
        {"name": "expiration", "type": "uint48"},
        {"name": "nonce", "type": "uint48"},
    ],
    "PermitSingle": [
        {"name": "details", "type": "PermitDetails"},
        {"name": "spender", "type": "address"},
        {"name": "sigDeadline", "type": "uint256"},
    ],
}
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
permits = st.builds(
    PermitSingle,
    token=addresses,
    amount=st.integers(0, 2**160 - 1),
    expiration_s=st.integers(0, 2**48 - 1),
    nonce=st.integers(0, 2**48 - 1),
    spender=addresses,
    sig_deadline_s=st.integers(0, 2**256 - 1),
)


@pytest.mark.parametrize("text", [SECRET, "0x" + SECRET, f"  0x{SECRET.upper()}\n"])
def test_hex_key_gives_its_address(text: str) -> None:
    assert PrivateKey.from_hex(text).address == ADDRESS


@pytest.mark.parametrize("text", ["", "0x", SECRET[:-1], SECRET + "00", "zz" * 32, "00" * 32, "ff" * 32])
def test_text_that_is_no_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidKeyError) as caught:
        PrivateKey.from_hex(text)
    assert caught.value.__cause__ is None
    assert len(text) < 10 or text not in str(caught.value)


def test_key_is_not_in_its_repr_its_text_or_its_attributes() -> None:
    key = PrivateKey.from_hex(SECRET)
    shown = repr(key) + str(key) + f"{key}" + repr([key]) + repr({"key": key})
    assert SECRET not in shown.lower()
    assert str(int(SECRET, 16)) not in shown
    assert not hasattr(key, "__dict__")


def test_key_is_not_in_a_traceback_with_local_variables() -> None:
    key = PrivateKey.from_hex(SECRET)
    try:
        key.sign_permit(key, chain_id=1)  # type: ignore[arg-type]
    except AttributeError as error:
        shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert SECRET not in shown
    assert "PrivateKey(<0x" in shown


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_key_cannot_be_pickled_or_copied(send: object) -> None:
    with pytest.raises(TypeError, match="pickled or copied"):
        send(PrivateKey.from_hex(SECRET))  # type: ignore[operator]


@settings(max_examples=60, deadline=None)
@given(permit=permits, chain_id=st.integers(1, 2**53))
def test_permit_signature_equals_that_of_eth_account(permit: PermitSingle, chain_id: int) -> None:
    domain = {
        "name": "Permit2",
        "chainId": chain_id,
        "verifyingContract": "0x000000000022D473030F116dDEE9F6B43aC78BA3",
    }
    message = {
        "details": {
            "token": permit.token,
            "amount": permit.amount,
            "expiration": permit.expiration_s,
            "nonce": permit.nonce,
        },
        "spender": permit.spender,
        "sigDeadline": permit.sig_deadline_s,
    }
    theirs = Account.sign_message(encode_typed_data(domain, TYPES, message), SECRET)
    ours = PrivateKey.from_hex(SECRET).sign_permit(permit, chain_id=chain_id)
    assert ours == bytes(theirs.signature)
    assert ours[64] in (27, 28)
    assert int.from_bytes(ours[32:64], "big") <= HALF_ORDER


@pytest.mark.parametrize(
    ("field", "value"), [("amount", 2**160), ("expiration_s", 2**48), ("nonce", -1), ("token", "0x"), ("spender", "")]
)
def test_permit_with_a_field_out_of_range_is_refused(field: str, value: object) -> None:
    fields: dict[str, object] = {
        "token": ADDRESS,
        "amount": 1,
        "expiration_s": 0,
        "nonce": 0,
        "spender": ADDRESS,
        "sig_deadline_s": 1,
    }
    with pytest.raises(ValueError, match=r"must fit|address"):
        PermitSingle(**{**fields, field: value})  # type: ignore[arg-type]


def test_keystore_written_here_is_private_and_read_here_and_by_eth_account(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    write_keystore(path, PrivateKey.from_hex(SECRET), "correct horse", scrypt_n=2)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_keystore(path, "correct horse").address == ADDRESS
    assert bytes(Account.decrypt(path.read_text(), "correct horse")).hex() == SECRET
    assert SECRET not in path.read_text()


def test_keystore_of_eth_account_is_read(tmp_path: Path) -> None:
    document = Account.encrypt(bytes.fromhex(SECRET), "correct horse", kdf="scrypt", iterations=2)
    assert load_keystore(_file(tmp_path, document), "correct horse").address == ADDRESS


def test_keystore_is_refused_with_a_wrong_password(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    write_keystore(path, PrivateKey.from_hex(SECRET), "correct horse", scrypt_n=2)
    with pytest.raises(KeystoreError, match="password is wrong"):
        load_keystore(path, "battery staple")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_keystore_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key.json"
    write_keystore(path, PrivateKey.from_hex(SECRET), "correct horse", scrypt_n=2)
    path.chmod(mode)
    with pytest.raises(KeystoreError, match="chmod 600"):
        load_keystore(path, "correct horse")


def test_keystore_never_replaces_a_file_and_never_has_an_empty_password(tmp_path: Path) -> None:
    key, path = PrivateKey.from_hex(SECRET), tmp_path / "key.json"
    with pytest.raises(KeystoreError, match="empty password"):
        write_keystore(path, key, "", scrypt_n=2)
    write_keystore(path, key, "x", scrypt_n=2)
    with pytest.raises(FileExistsError):
        write_keystore(path, key, "x", scrypt_n=2)


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 1},
        {"address": "11" * 20},
        {"crypto": None},
        {"crypto": {}},
        {"crypto.kdf": "pbkdf2"},
        {"crypto.cipher": "aes-128-cbc"},
        {"crypto.ciphertext": "zz"},
        {"crypto.kdfparams.n": 2**40},
        {"crypto.kdfparams.n": "2"},
        {"crypto.kdfparams.dklen": 16},
        {"crypto.mac": "00" * 32},
    ],
)
def test_damaged_keystore_is_refused_in_one_way(tmp_path: Path, damage: dict[str, object]) -> None:
    document = Account.encrypt(bytes.fromhex(SECRET), "x", kdf="scrypt", iterations=2)
    for name, value in damage.items():
        *parents, last = name.split(".")
        place = document
        for parent in parents:
            place = place[parent]
        place[last] = value
    with pytest.raises(KeystoreError) as caught:
        load_keystore(_file(tmp_path, document), "x")
    assert SECRET not in str(caught.value)


def test_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text("not json")
    path.chmod(0o600)
    with pytest.raises(KeystoreError, match="not JSON"):
        load_keystore(path, "x")


def _file(folder: Path, document: object) -> Path:
    path = folder / "key.json"
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path
