"""APDUs over USB: Ledger's framing in HID reports of 64 bytes, through ``hidapi``.

Framing as in Ledger's own ``ledgerblue`` (``ledgerWrapper.py``): channel 0x0101, tag 0x05, a number from zero, and in
the first report the length of the whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import hid

from dexlane_signer.key_stores.errors import KeyStoreUnavailableError

VENDOR = 0x2C97
_USAGE_PAGE = 0xFFA0
_REPORT = 64
_HEAD = bytes.fromhex("010105")
_LOOK_EVERY_MS = 200
_REPORT_ID = b"\0"


class Handle(Protocol):
    """An open HID device, as ``hidapi`` gives it."""

    def write(self, data: bytes) -> int:
        """Send one report, whose number comes first; how many bytes went."""
        ...

    def read(self, size: int, timeout_ms: int) -> list[int]:
        """One report, or nothing when none came in time."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def open_first() -> Handle:
    """The first Ledger on this machine's USB. Raises ``KeyStoreUnavailableError``."""
    for found in hid.enumerate(VENDOR, 0):
        if found.get("usage_page") == _USAGE_PAGE or found.get("interface_number") == 0:
            handle: Any = hid.device()
            try:
                handle.open_path(found["path"])
            except OSError as error:
                sentence = "ledger: the device cannot be opened; close other programs, and look at the udev rules"
                raise KeyStoreUnavailableError(sentence) from error
            opened: Handle = handle
            return opened
    raise KeyStoreUnavailableError("ledger: no device is plugged in and unlocked")


class UsbDevice:
    """The Ledger on USB. Opened when it is needed, and again after anything went wrong."""

    def __init__(
        self, *, open_handle: Callable[[], Handle] = open_first, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._open = open_handle
        self._monotonic_s = monotonic_s
        self._handle: Handle | None = None
        self._is_closed = threading.Event()

    def exchange(self, apdu: bytes, *, within_s: float) -> bytes:
        """Send one APDU and wait for its answer. Raises ``KeyStoreUnavailableError``; the device is let go of then, and
        what it answers later is thrown away."""
        if self._is_closed.is_set():
            raise KeyStoreUnavailableError("ledger: the signer stops")
        is_whole = False
        try:
            if self._handle is None:
                self._handle = self._open()
                _drain(self._handle)
            self._write(self._handle, apdu)
            answer = self._read(self._handle, self._monotonic_s() + within_s)
            is_whole = True
        except (OSError, ValueError) as error:
            raise KeyStoreUnavailableError("ledger: the device was unplugged, or speaks another language") from error
        finally:
            if not is_whole:
                self._let_go()
        return answer

    def close(self) -> None:
        """End an exchange that waits, which lets go of the device; there is no other one after it."""
        self._is_closed.set()

    def _let_go(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()

    @staticmethod
    def _write(handle: Handle, apdu: bytes) -> None:
        for report in to_reports(apdu):
            if handle.write(_REPORT_ID + report) < 0:
                raise OSError("the report was not taken")

    def _read(self, handle: Handle, until_s: float) -> bytes:
        whole, length, number = b"", -1, 0
        while length < 0 or len(whole) < length:
            report = self._report(handle, until_s)
            head, place = report[:3], int.from_bytes(report[3:5], "big")
            if head != _HEAD or place != number:
                raise ValueError("a report out of its turn")
            if number == 0:
                length, report = int.from_bytes(report[5:7], "big"), report[2:]
            whole, number = whole + report[5:], number + 1
        return whole[:length]

    def _report(self, handle: Handle, until_s: float) -> bytes:
        while not self._is_closed.is_set():
            report = bytes(handle.read(_REPORT, _LOOK_EVERY_MS))
            if report:
                return report
            if self._monotonic_s() >= until_s:
                raise KeyStoreUnavailableError("ledger: nobody confirmed in time, or the device does not answer")
        raise KeyStoreUnavailableError("ledger: the signer stops")


def to_reports(apdu: bytes) -> list[bytes]:
    """An APDU cut into reports of 64 bytes, the last filled with zeros."""
    stream, reports = len(apdu).to_bytes(2, "big") + apdu, []
    room = _REPORT - len(_HEAD) - 2
    for number, begin in enumerate(range(0, len(stream), room)):
        part = _HEAD + number.to_bytes(2, "big") + stream[begin : begin + room]
        reports.append(part.ljust(_REPORT, b"\0"))
    return reports


def _drain(handle: Handle) -> None:
    """What the device still says about an earlier question."""
    while handle.read(_REPORT, 1):
        continue
