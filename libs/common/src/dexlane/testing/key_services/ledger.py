"""A Ledger with its Ethereum app, played by the app's technical specification (LedgerHQ ``app-ethereum``,
``doc/ethapp.adoc``) and by the framing of HID reports. It parses what it is sent and takes nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from coincurve import PrivateKey

from dexlane_signer import checksum_address, keccak256, rlp

CHANNEL, TAG = bytes.fromhex("0101"), 5
OK, DECLINED, LOCKED, BAD_DATA, BAD_INSTRUCTION = 0x9000, 0x6985, 0x5515, 0x6A80, 0x6D00
Person = Callable[[str], bool | None]
"""Asked with what the screen shows: confirms, declines, or (``None``) is not there."""


@dataclass
class LedgerDouble:
    """The device: a secret for each path, settings, and a person in front of it."""

    secrets: dict[tuple[int, ...], bytes]
    person: Person = field(default=lambda _: True)
    blind_signing: bool = True
    locked: bool = False
    apdus: list[bytes] = field(default_factory=list)
    _path: tuple[int, ...] = ()
    _stream: bytes = b""

    def answer(self, apdu: bytes) -> bytes | None:
        """What one APDU is answered with; ``None`` while the person is not there."""
        self.apdus.append(apdu)
        kind, instruction, first, second, length = apdu[:5]
        data = apdu[5:]
        if length != len(data) or kind != 0xE0 or second != 0:
            return _status(BAD_DATA)
        if self.locked:
            return _status(LOCKED)
        try:
            return self._do(instruction, first, data)
        except (ValueError, KeyError, IndexError):
            return _status(BAD_DATA)

    def _do(self, instruction: int, first: int, data: bytes) -> bytes | None:
        if instruction == 0x02 and first == 0:
            return self._address(data)
        if instruction == 0x04 and first in (0x00, 0x80):
            return self._transaction(data, is_first=first == 0)
        if instruction == 0x0C and first == 0:
            return self._typed_data(data)
        return _status(BAD_INSTRUCTION)

    def _address(self, data: bytes) -> bytes:
        path, rest = _path(data)
        if rest:
            return _status(BAD_DATA)
        point = PrivateKey(self.secrets[path]).public_key.format(compressed=False)
        text = checksum_address("0x" + keccak256(point[1:])[12:].hex())[2:].encode()
        return bytes((len(point),)) + point + bytes((len(text),)) + text + _status(OK)

    def _transaction(self, data: bytes, *, is_first: bool) -> bytes | None:
        if is_first:
            self._path, self._stream = _path(data)
        elif self._path:
            self._stream += data
        if not self._path or self._stream[:1] != b"\2":
            return _status(BAD_DATA)
        wanted = 1 + _length_of(self._stream[1:])
        if len(self._stream) < wanted:
            return _status(OK)  # more is to come
        payload, path, self._path = self._stream, self._path, ()
        if len(payload) != wanted:
            return _status(BAD_DATA)
        fields = rlp.decode(payload[1:])
        if isinstance(fields, bytes) or len(fields) != 9:
            return _status(BAD_DATA)
        if fields[7] and not self.blind_signing:
            return _status(BAD_DATA)
        shown = f"nonce {int.from_bytes(bytes(fields[1]), 'big')}"  # type: ignore[arg-type]
        return self._confirmed(shown, keccak256(payload), path, offset=0)

    def _typed_data(self, data: bytes) -> bytes | None:
        path, hashes = _path(data)
        if len(hashes) != 64:
            return _status(BAD_DATA)
        shown = f"domain {hashes[:32].hex()} message {hashes[32:].hex()}"
        return self._confirmed(shown, keccak256(b"\x19\x01" + hashes), path, offset=27)

    def _confirmed(self, shown: str, digest: bytes, path: tuple[int, ...], *, offset: int) -> bytes | None:
        agreed = self.person(shown)
        if agreed is None:
            return None
        if not agreed:
            return _status(DECLINED)
        signature = PrivateKey(self.secrets[path]).sign_recoverable(digest, hasher=None)
        return bytes((offset + signature[64],)) + signature[:64] + _status(OK)


@dataclass
class HidDouble:
    """The device at the other end of HID reports of 64 bytes, with ``hidapi``'s methods."""

    ledger: LedgerDouble
    is_open: bool = True
    reports: list[bytes] = field(default_factory=list)
    _stream: bytes = b""
    _number: int = 0

    def write(self, data: bytes) -> int:
        """One report of the host, its report number (0) before it."""
        if len(data) != 65 or data[0] != 0 or data[1:3] != CHANNEL or data[3] != TAG:
            raise OSError("no report of this device")
        if int.from_bytes(data[4:6], "big") != self._number:
            raise OSError("a report out of its turn")
        self._stream += data[6:]
        self._number += 1
        length = int.from_bytes(self._stream[:2], "big")
        if len(self._stream) >= 2 + length:
            apdu, self._stream, self._number = self._stream[2 : 2 + length], b"", 0
            answer = self.ledger.answer(apdu)
            if answer is not None:
                self._send(answer)
        return len(data)

    def read(self, size: int, timeout_ms: int) -> list[int]:
        """One report of the device, or nothing."""
        return list(self.reports.pop(0)[:size]) if self.reports else []

    def close(self) -> None:
        """Unplugged."""
        self.is_open = False

    def _send(self, answer: bytes) -> None:
        stream = len(answer).to_bytes(2, "big") + answer
        for number, begin in enumerate(range(0, len(stream), 59)):
            part = CHANNEL + bytes((TAG,)) + number.to_bytes(2, "big") + stream[begin : begin + 59]
            self.reports.append(part.ljust(64, b"\0"))


def _status(word: int) -> bytes:
    return word.to_bytes(2, "big")


def _path(data: bytes) -> tuple[tuple[int, ...], bytes]:
    count = data[0]
    end = 1 + 4 * count
    if not 0 < count <= 10 or len(data) < end:
        raise ValueError("no path")
    return tuple(int.from_bytes(data[at : at + 4], "big") for at in range(1, end, 4)), data[end:]


def _length_of(data: bytes) -> int:
    """The whole length of the list that begins here."""
    if data[0] < 0xF8:
        return 1 + data[0] - 0xC0
    size = data[0] - 0xF7
    return 1 + size + int.from_bytes(data[1 : 1 + size], "big")
