"""Encrypted key files: Web3 Secret Storage version 3 with scrypt and AES-128-CTR.

Source: the "Web3 Secret Storage Definition" of ethereum.org; readable by geth, eth-account and MetaMask.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Crypto.Cipher import AES

from dexlane_signer.keccak import keccak256
from dexlane_signer.keys import InvalidKeyError, PrivateKey

_MAX_FILE_BYTES = 16_384
_MAX_SCRYPT_BYTES = 1 << 30
SCRYPT_N = 1 << 18
"""Default scrypt cost: 256 MB of memory and about a second for each guess of the password."""


class KeystoreError(Exception):
    """The key file cannot be used: shared permissions, wrong password, damaged, or an unsupported form."""


def load_keystore(path: Path, password: str) -> PrivateKey:
    """Decrypt a key file.

    Raises ``KeystoreError`` when group or others may read or write the file, when it is not version 3 with
    scrypt, or when the password is wrong; ``OSError`` when it cannot be read.
    """
    document = _parse(_read_private(path))
    try:
        key = _decrypt(document["crypto"], password.encode())
        claimed = str(document.get("address", "")).lower().removeprefix("0x")
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        raise KeystoreError(f"{path.name} is damaged or not a version 3 scrypt keystore") from None
    if claimed and claimed != key.address[2:]:
        raise KeystoreError(f"{path.name} names another address than its key has")
    return key


def read_password(path: Path) -> str:
    """The password in a file, without the line's end. Raises ``KeystoreError`` when group or others may read or write
    the file or when it is empty; ``OSError`` when it cannot be read."""
    try:
        password = _read_private(path).decode().strip("\n")
    except UnicodeDecodeError:
        raise KeystoreError(f"{path.name} holds no text") from None
    if not password:
        raise KeystoreError(f"{path.name} is empty")
    return password


def write_keystore(path: Path, key: PrivateKey, password: str, *, scrypt_n: int = SCRYPT_N) -> None:
    """Write a new key file with mode 0600, on disk when this returns.

    Raises ``FileExistsError`` rather than replace a key, and ``KeystoreError`` for an empty password.
    """
    if not password:
        raise KeystoreError("an empty password would leave the key in the open")
    document = json.dumps(_encrypt(key, password.encode(), scrypt_n), indent=2)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(document + "\n")
        file.flush()
        os.fsync(descriptor)


def _read_private(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb") as file:
        # The mode is asked of the open file, so that it cannot be exchanged between the check and the reading.
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
            raise KeystoreError(f"{path.name} is open to group or others; run chmod 600 on it")
        return file.read(_MAX_FILE_BYTES)


def _parse(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError:
        raise KeystoreError("the key file is not JSON") from None
    if not isinstance(document, dict) or document.get("version") != 3:
        raise KeystoreError("only version 3 keystores are supported")
    return document


def _decrypt(crypto: Mapping[str, Any], password: bytes) -> PrivateKey:
    if crypto["cipher"] != "aes-128-ctr" or crypto["kdf"] != "scrypt":
        raise KeystoreError("only aes-128-ctr with scrypt is supported")
    derived = _derive(password, crypto["kdfparams"])
    ciphertext = bytes.fromhex(crypto["ciphertext"])
    if not hmac.compare_digest(keccak256(derived[16:32] + ciphertext), bytes.fromhex(crypto["mac"])):
        raise KeystoreError("the password is wrong or the file was altered")
    secret = _cipher(derived, bytes.fromhex(crypto["cipherparams"]["iv"]), ciphertext)
    try:
        return PrivateKey(secret)
    except InvalidKeyError:
        raise KeystoreError("the file holds no valid private key") from None


def _encrypt(key: PrivateKey, password: bytes, scrypt_n: int) -> dict[str, Any]:
    salt, iv = secrets.token_bytes(32), secrets.token_bytes(16)
    parameters = {"dklen": 32, "n": scrypt_n, "r": 8, "p": 1, "salt": salt.hex()}
    derived = _derive(password, parameters)
    ciphertext = _cipher(derived, iv, key.export_secret())
    return {
        "version": 3,
        "id": str(uuid.uuid4()),
        "address": key.address[2:],
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": iv.hex()},
            "ciphertext": ciphertext.hex(),
            "kdf": "scrypt",
            "kdfparams": parameters,
            "mac": keccak256(derived[16:32] + ciphertext).hex(),
        },
    }


def _cipher(derived: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-128-CTR over the whole 128-bit counter; encrypting and decrypting are the same operation."""
    cipher = AES.new(derived[:16], AES.MODE_CTR, nonce=b"", initial_value=int.from_bytes(iv, "big"))
    return cipher.encrypt(data)


def _derive(password: bytes, parameters: Mapping[str, Any]) -> bytes:
    n, r, p = parameters["n"], parameters["r"], parameters["p"]
    memory = 128 * n * r + 128 * r * p
    if parameters["dklen"] != 32 or memory > _MAX_SCRYPT_BYTES or p > 16:
        raise KeystoreError("the scrypt parameters are outside what this signer will compute")
    salt = bytes.fromhex(parameters["salt"])
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=memory + (1 << 20), dklen=32)
