"""A Ledger with its Ethereum app: a person confirms every signature on the device.

The commands are those of the app's technical specification (LedgerHQ ``app-ethereum``, ``doc/ethapp.adoc``): GET ETH
PUBLIC ADDRESS, SIGN ETH TRANSACTION in blocks of 255 bytes, SIGN ETH EIP 712 in version 0, which shows the two hashes.
"""

from __future__ import annotations

import threading
from typing import Protocol

from dexlane_signer.denials import DenialReason
from dexlane_signer.key_stores.errors import KeyStoreRefusedError, KeyStoreUnavailableError
from dexlane_signer.key_stores.settings import LedgerSettings, NamedKey
from dexlane_signer.key_stores.signatures import point_address
from dexlane_signer.key_stores.stored_key import Message

CLASS = 0xE0
GET_ADDRESS, SIGN_TRANSACTION, SIGN_EIP712 = 0x02, 0x04, 0x0C
FIRST_BLOCK, NEXT_BLOCK = 0x00, 0x80
MAX_BLOCK = 255
OK = 0x9000
ANSWER_WITHIN_S = 5.0
"""For what the device does without asking anybody."""
_TURN_WITHIN_S = 1.0
_HARDENED = 0x8000_0000
_SIGNATURE_BYTES = 65
_LOCKED = frozenset({0x5515, 0x6804, 0x6B0C})
_OTHER_APP = frozenset({0x6511, 0x6D00, 0x6D02, 0x6E00, 0x6E01})
_DECLINED = frozenset({0x5501, 0x6985})
_NO_BLIND_SIGNING = 0x6A80


class Device(Protocol):
    """Something that answers APDUs: a Ledger on USB, or one that a test plays."""

    def exchange(self, apdu: bytes, *, within_s: float) -> bytes:
        """The answer with its status word. Raises ``KeyStoreUnavailableError``."""
        ...

    def close(self) -> None:
        """Let go of it, and end an exchange that waits."""
        ...


class Ledger:
    """One device. It shows one thing at a time, so questions take turns."""

    def __init__(self, settings: LedgerSettings, device: Device) -> None:
        self._confirm_within_s = float(settings.confirm_within_s)
        self._device = device
        self._turn = threading.Lock()

    def address_of(self, key: NamedKey) -> str:
        """The account of a path; nothing is shown. Raises ``KeyStoreUnavailableError`` or ``KeyStoreRefusedError``."""
        answer = self._ask(GET_ADDRESS, FIRST_BLOCK, path_bytes(key.name), ANSWER_WITHIN_S)
        try:
            point, rest = _counted(answer)
            text, rest = _counted(rest)
            address = point_address(point)
        except ValueError:
            address, text, rest = "", b"", b""
        if rest or not address or address[2:] != text.decode("ascii", "replace").lower():
            raise KeyStoreRefusedError("ledger: the answer is no address with its public key")
        return address

    def source(self, key: NamedKey) -> LedgerKey:
        """One path, to ask for signatures."""
        return LedgerKey(self, key.name)

    def sign(self, path: str, message: Message) -> tuple[int, int]:
        """Show it on the device and wait for the person. Raises as ``address_of``."""
        if not self._turn.acquire(timeout=_TURN_WITHIN_S):
            raise KeyStoreUnavailableError("ledger: a person is asked to confirm something else")
        try:
            answer = self._sign(path_bytes(path), message)
        finally:
            self._turn.release()
        if len(answer) != _SIGNATURE_BYTES:
            raise KeyStoreRefusedError("ledger: the answer is no signature", DenialReason.WRONG_SIGNATURE)
        return int.from_bytes(answer[1:33], "big"), int.from_bytes(answer[33:], "big")

    def close(self) -> None:
        """Let go of the device."""
        self._device.close()

    def _sign(self, path: bytes, message: Message) -> bytes:
        if message.is_permit:
            # 0x1901, then the two hashes; the device hashes them together by itself.
            return self._ask(SIGN_EIP712, FIRST_BLOCK, path + message.preimage[2:], self._confirm_within_s)
        stream, place, answer = path + message.preimage, FIRST_BLOCK, b""
        for begin in range(0, len(stream), MAX_BLOCK):
            is_last = begin + MAX_BLOCK >= len(stream)
            within_s = self._confirm_within_s if is_last else ANSWER_WITHIN_S
            answer, place = self._ask(SIGN_TRANSACTION, place, stream[begin : begin + MAX_BLOCK], within_s), NEXT_BLOCK
        return answer

    def _ask(self, instruction: int, place: int, data: bytes, within_s: float) -> bytes:
        answer = self._device.exchange(bytes((CLASS, instruction, place, 0, len(data))) + data, within_s=within_s)
        if len(answer) < 2:
            raise KeyStoreUnavailableError("ledger: the device answered nothing")
        status = int.from_bytes(answer[-2:], "big")
        if status != OK:
            _raise(status)
        return answer[:-2]


class LedgerKey:
    """One path of a Ledger."""

    def __init__(self, ledger: Ledger, path: str) -> None:
        self._ledger = ledger
        self._path = path

    @property
    def name(self) -> str:
        """The store and the path."""
        return f"ledger {self._path}"

    def sign(self, message: Message) -> tuple[int, int]:
        """Ask the person. Raises ``KeyStoreUnavailableError`` or ``KeyStoreRefusedError``."""
        return self._ledger.sign(self._path, message)


def path_bytes(path: str) -> bytes:
    """A BIP-32 path as the app reads it: how many numbers, then each in four bytes. Raises ``ValueError``."""
    steps = [_step(step) for step in path.removeprefix("m/").split("/")]
    return bytes((len(steps),)) + b"".join(step.to_bytes(4, "big") for step in steps)


def _step(text: str) -> int:
    number = int(text.removesuffix("'"))
    if not 0 <= number < _HARDENED:
        raise ValueError("a number of the path does not fit 31 bits")
    return number + (_HARDENED if text.endswith("'") else 0)


def _counted(data: bytes) -> tuple[bytes, bytes]:
    if not data or len(data) < 1 + data[0]:
        raise ValueError("the answer is truncated")
    return data[1 : 1 + data[0]], data[1 + data[0] :]


def _raise(status: int) -> None:
    if status in _DECLINED:
        raise KeyStoreRefusedError("ledger: the person declined on the device", DenialReason.DECLINED)
    if status in _LOCKED:
        raise KeyStoreUnavailableError("ledger: the device is locked; unlock it and open the Ethereum app")
    if status in _OTHER_APP:
        raise KeyStoreUnavailableError("ledger: the Ethereum app is not open on the device")
    if status == _NO_BLIND_SIGNING:
        raise KeyStoreRefusedError("ledger: the app does not take it; allow blind signing in the app's settings")
    raise KeyStoreRefusedError(f"ledger: the device answers {status:#06x}")
