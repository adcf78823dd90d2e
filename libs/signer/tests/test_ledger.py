"""A Ledger is asked as its maker's own client asks it, and a person may say no or nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.hdaccount import seed_from_mnemonic
from eth_keys.datatypes import Signature
from hypothesis import given
from hypothesis import strategies as st

from dexlane.testing.key_services.ledger import HidDouble, LedgerDouble
from dexlane_signer import DenialReason, PermitSingle
from dexlane_signer.key_stores.errors import KeyStoreRefusedError, KeyStoreUnavailableError
from dexlane_signer.key_stores.ledger import Ledger, path_bytes
from dexlane_signer.key_stores.ledger_usb import UsbDevice, to_reports
from dexlane_signer.key_stores.settings import LedgerSettings, NamedKey
from dexlane_signer.key_stores.stored_key import Message, StoredKey

from .conftest import NOW_S, ROUTER, USDC, program, transaction, v3

GOLDEN = json.loads((Path(__file__).parent / "golden" / "ledger_apdus.json").read_text())
WORDS = "test test test test test test test test test test test junk"
PATH = "m/44'/60'/0'/0/0"
NUMBERS = (0x8000002C, 0x8000003C, 0x80000000, 0, 0)


def secret_of(path: str) -> bytes:
    """By eth-account's own BIP-32."""
    Account.enable_unaudited_hdwallet_features()
    assert seed_from_mnemonic(WORDS, "")
    return bytes(Account.from_mnemonic(WORDS, account_path=path).key)


SECRET = secret_of(PATH)
ADDRESS = Account.from_key(SECRET).address.lower()
NAMED = NamedKey(PATH, ADDRESS)


@dataclass
class Recorder:
    """A device that notes what it is asked, and answers one thing."""

    answer: bytes
    asked: list[str] = field(default_factory=list)

    def exchange(self, apdu: bytes, *, within_s: float) -> bytes:
        self.asked.append(apdu.hex())
        return self.answer

    def close(self) -> None:
        """Nothing is open."""


def settings(confirm_within_s: int = 5) -> LedgerSettings:
    return LedgerSettings(confirm_within_s=confirm_within_s, keys=(NAMED,))


def plugged_in(double: LedgerDouble) -> tuple[Ledger, list[HidDouble]]:
    """The client, and every handle that it opened."""
    opened: list[HidDouble] = []

    def open_handle() -> HidDouble:
        opened.append(HidDouble(double))
        return opened[-1]

    ticks = iter(range(10**9))
    device = UsbDevice(open_handle=open_handle, monotonic_s=lambda: float(next(ticks)))
    return Ledger(settings(), device), opened


def a_ledger(**changes: object) -> LedgerDouble:
    return LedgerDouble({NUMBERS: SECRET}, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", GOLDEN["transactions"], ids=lambda case: f"{len(case['payload']) // 2} bytes")
def test_transactions_are_cut_into_the_blocks_of_ledgers_own_client(case: dict[str, object]) -> None:
    """Recorded from @ledgerhq/hw-app-eth, also where a block ends with the transaction."""
    device = Recorder(bytes(65) + b"\x90\x00")
    Ledger(settings(), device).sign(f"m/{case['path']}", Message(bytes.fromhex(str(case["payload"]))))
    assert device.asked == case["apdus"]


@pytest.mark.parametrize("case", GOLDEN["typed"])
def test_permits_are_asked_for_as_by_ledgers_own_client(case: dict[str, str]) -> None:
    device = Recorder(bytes(65) + b"\x90\x00")
    preimage = bytes.fromhex("1901" + case["domain"] + case["message"])
    Ledger(settings(), device).sign(f"m/{case['path']}", Message(preimage, is_permit=True))
    assert device.asked == case["apdus"]


@pytest.mark.parametrize("case", GOLDEN["address"])
def test_addresses_are_asked_for_as_by_ledgers_own_client(case: dict[str, object]) -> None:
    device = Recorder(b"\x90\x00")
    with pytest.raises(KeyStoreRefusedError, match="no address"):
        Ledger(settings(), device).address_of(NamedKey(f"m/{case['path']}", None))
    assert device.asked == case["apdus"]


def test_the_account_of_a_path_is_that_of_bip_32() -> None:
    ledger, _ = plugged_in(a_ledger())
    assert ledger.address_of(NAMED) == ADDRESS


@pytest.mark.parametrize("swaps", [1, 4, 9])
def test_the_device_signs_transactions_of_any_length(swaps: int) -> None:
    ledger, _ = plugged_in(a_ledger())
    key = StoredKey(ADDRESS, ledger.source(NAMED), retry_within_s=0.0)
    asked = transaction(data=program(*[v3(ADDRESS, 100, 1)] * swaps))
    assert Account.recover_transaction(key.sign_transaction(asked).raw).lower() == ADDRESS


def test_the_device_signs_permits_and_shows_their_hashes() -> None:
    shown: list[str] = []
    ledger, _ = plugged_in(a_ledger(person=lambda text: not shown.append(text)))
    key = StoredKey(ADDRESS, ledger.source(NAMED), retry_within_s=0.0)
    permit = PermitSingle(token=USDC, amount=5, expiration_s=0, nonce=1, spender=ROUTER, sig_deadline_s=NOW_S)
    signature = key.sign_permit(permit, chain_id=1)
    found = Signature(signature[:64] + bytes((signature[64] - 27,)))
    assert found.recover_public_key_from_msg_hash(permit.digest(chain_id=1)).to_address() == ADDRESS
    assert shown == [
        f"domain {permit.preimage(chain_id=1)[2:34].hex()} message {permit.preimage(chain_id=1)[34:].hex()}"
    ]


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"person": lambda _: False}, KeyStoreRefusedError, "declined on the device"),
        ({"blind_signing": False}, KeyStoreRefusedError, "allow blind signing"),
        ({"locked": True}, KeyStoreUnavailableError, "unlock it"),
        ({"person": lambda _: None}, KeyStoreUnavailableError, "nobody confirmed in time"),
    ],
)
def test_what_a_person_does_has_a_class_and_a_sentence(
    changes: dict[str, object], kind: type[Exception], sentence: str
) -> None:
    ledger, _ = plugged_in(a_ledger(**changes))
    with pytest.raises(kind, match=sentence) as caught:
        ledger.sign(PATH, Message(transaction().signing_payload()))
    if isinstance(caught.value, KeyStoreRefusedError) and "declined" in sentence:
        assert caught.value.reason is DenialReason.DECLINED


@pytest.mark.parametrize(
    ("status", "kind"),
    [("6d00", KeyStoreUnavailableError), ("6e01", KeyStoreUnavailableError), ("6f00", KeyStoreRefusedError)],
)
def test_other_status_words_have_a_class(status: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        Ledger(settings(), Recorder(bytes.fromhex(status))).sign(PATH, Message(b"\2\xc0"))


@pytest.mark.parametrize("answer", [b"", b"\x90", b"\x90\x00", b"\0" * 64 + b"\x90\x00", b"\0" * 66 + b"\x90\x00"])
def test_an_answer_of_another_length_is_no_signature(answer: bytes) -> None:
    with pytest.raises((KeyStoreRefusedError, KeyStoreUnavailableError)):
        Ledger(settings(), Recorder(answer)).sign(PATH, Message(b"\2\xc0"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: answer[:-2] + b"\x00" + answer[-2:],
        lambda answer: answer[:66] + b"\x28" + b"0" * 40 + answer[-2:],
        lambda answer: b"\x41\x04" + bytes(64) + answer[66:],
        lambda answer: answer[:40] + answer[-2:],
    ],
)
def test_an_address_that_is_not_its_public_keys_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    answer = a_ledger().answer(bytes.fromhex(GOLDEN["address"][0]["apdus"][0]))
    assert answer is not None
    with pytest.raises(KeyStoreRefusedError, match="no address"):
        Ledger(settings(), Recorder(spoil(answer))).address_of(NAMED)


def test_a_late_answer_is_thrown_away_and_the_next_question_gets_its_own() -> None:
    here: list[bool | None] = [None]
    double = a_ledger(person=lambda _: here[0])
    handle = HidDouble(double)
    ticks = iter(range(10**9))
    ledger = Ledger(settings(), UsbDevice(open_handle=lambda: handle, monotonic_s=lambda: float(next(ticks))))
    key = StoredKey(ADDRESS, ledger.source(NAMED), retry_within_s=0.0)
    with pytest.raises(KeyStoreUnavailableError):
        key.sign_transaction(transaction(nonce=1))
    assert not handle.is_open
    here[0] = True
    handle._send(double.answer(double.apdus[-1]) or b"")
    assert Account.recover_transaction(key.sign_transaction(transaction(nonce=2)).raw).lower() == ADDRESS
    assert handle.reports == []


def test_one_thing_is_shown_at_a_time() -> None:
    showing, agreed = threading.Event(), threading.Event()

    def person(_: str) -> bool:
        showing.set()
        return agreed.wait(10)

    ledger, _ = plugged_in(a_ledger(person=person))
    first = threading.Thread(target=lambda: ledger.sign(PATH, Message(transaction().signing_payload())))
    first.start()
    assert showing.wait(10)
    with pytest.raises(KeyStoreUnavailableError, match="something else"):
        ledger.sign(PATH, Message(transaction(nonce=9).signing_payload()))
    agreed.set()
    first.join()


def test_stopping_ends_an_exchange_that_waits() -> None:
    device = UsbDevice(open_handle=lambda: HidDouble(a_ledger(person=lambda _: None)))
    ledger = Ledger(settings(600), device)
    threading.Timer(0.1, ledger.close).start()
    began_s = time.monotonic()
    with pytest.raises(KeyStoreUnavailableError, match="the signer stops"):
        ledger.sign(PATH, Message(transaction().signing_payload()))
    assert time.monotonic() - began_s < 5
    with pytest.raises(KeyStoreUnavailableError, match="the signer stops"):
        ledger.address_of(NAMED)


def test_a_device_that_is_not_there_or_unplugged_is_transient() -> None:
    """Also with the real library and nothing on the USB."""
    with pytest.raises(KeyStoreUnavailableError, match="no device is plugged in"):
        Ledger(settings(), UsbDevice()).address_of(NAMED)

    class Unplugged(HidDouble):
        def write(self, data: bytes) -> int:
            return -1

    with pytest.raises(KeyStoreUnavailableError, match="unplugged"):
        Ledger(settings(), UsbDevice(open_handle=lambda: Unplugged(a_ledger()))).address_of(NAMED)


@given(apdu=st.binary(min_size=5, max_size=260))
def test_reports_carry_an_apdu_whole(apdu: bytes) -> None:
    """Read back by the device's end of the framing."""
    received: list[bytes] = []

    class Echo(LedgerDouble):
        def answer(self, apdu: bytes) -> bytes | None:
            received.append(apdu)
            return apdu

    handle = HidDouble(Echo({}))
    assert UsbDevice(open_handle=lambda: handle).exchange(apdu, within_s=1) == apdu
    assert received == [apdu]
    assert all(len(report) == 64 for report in to_reports(apdu))


def test_paths_are_written_as_the_app_reads_them() -> None:
    assert path_bytes(PATH).hex() == "058000002c8000003c800000000000000000000000"
    with pytest.raises(ValueError, match="31 bits"):
        path_bytes("m/44'/2147483648")
