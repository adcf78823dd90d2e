"""The two ways in which a key store does not sign. Sentences name the store's code and never what it was sent."""

from __future__ import annotations

from dexlane_signer.denials import DenialReason
from dexlane_signer.guard_file import GuardUnavailableError


class KeyStoreUnavailableError(GuardUnavailableError):
    """The store did not answer, not in time, or asked for patience. Nothing was signed that leaves the signer.
    Transient: asking again may help without anybody doing anything."""


class KeyStoreRefusedError(Exception):
    """The store will not sign, or what it gave is no signature of the account. Permanent: somebody must act.

    ``reason`` is the code with which the asker is denied.
    """

    def __init__(self, sentence: str, reason: DenialReason = DenialReason.KEY_STORE_REFUSED) -> None:
        super().__init__(sentence)
        self.reason = reason
