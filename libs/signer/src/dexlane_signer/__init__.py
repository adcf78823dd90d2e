"""The guard that signs: transaction encoding, policy, nonce guard and key stores of dexlane."""

from dexlane_signer.addresses import checksum_address, normal_address
from dexlane_signer.call_rules import check
from dexlane_signer.denials import Denial, DenialReason, SigningDenied
from dexlane_signer.direct_calls import ROUTER02_SELECTORS, SWAP_ROUTER02_SELECTORS
from dexlane_signer.guard import Attempt, GuardUnavailableError, NonceGuard, Slot
from dexlane_signer.keccak import keccak256
from dexlane_signer.keys import InvalidKeyError, PrivateKey
from dexlane_signer.keystore import KeystoreError, load_keystore, write_keystore
from dexlane_signer.policy import CheckContext, Kind, Policy, TokenLimit
from dexlane_signer.signer import LocalSigner, PermitRequest, SignRequest
from dexlane_signer.swap_rules import check_permit
from dexlane_signer.transactions import DynamicFeeTransaction, SignedTransaction
from dexlane_signer.typed_data import PERMIT2, PermitSingle

__all__ = [
    "PERMIT2",
    "ROUTER02_SELECTORS",
    "SWAP_ROUTER02_SELECTORS",
    "Attempt",
    "CheckContext",
    "Denial",
    "DenialReason",
    "DynamicFeeTransaction",
    "GuardUnavailableError",
    "InvalidKeyError",
    "KeystoreError",
    "Kind",
    "LocalSigner",
    "NonceGuard",
    "PermitRequest",
    "PermitSingle",
    "Policy",
    "PrivateKey",
    "SignRequest",
    "SignedTransaction",
    "SigningDenied",
    "Slot",
    "TokenLimit",
    "check",
    "check_permit",
    "checksum_address",
    "keccak256",
    "load_keystore",
    "normal_address",
    "write_keystore",
]
