"""The guard that signs: transaction encoding, policy, nonce guard and key stores of dexlane."""

from dexlane_signer.addresses import checksum_address, normal_address
from dexlane_signer.approvals import Approval, ApprovedKind, Approver, Statement, read_statement
from dexlane_signer.attempts import Asked, Attempt, SignedAttempt, SignedBefore, Slot
from dexlane_signer.brake import HALT_FILE, Brake, DeadManLease
from dexlane_signer.call_rules import check
from dexlane_signer.client import RemoteSigner, SignerUnreachableError
from dexlane_signer.control import ControlServer
from dexlane_signer.denials import Denial, DenialReason, SigningDenied
from dexlane_signer.direct_calls import ROUTER02_SELECTORS, SWAP_ROUTER02_SELECTORS
from dexlane_signer.guard import NonceGuard
from dexlane_signer.guard_file import GuardUnavailableError
from dexlane_signer.keccak import keccak256
from dexlane_signer.keys import InvalidKeyError, PrivateKey
from dexlane_signer.keystore import KeystoreError, load_keystore, read_password, write_keystore
from dexlane_signer.latch import Latch, Level
from dexlane_signer.levels import POSITION_BPS, EntryCap
from dexlane_signer.policy import CheckContext, Kind, Policy, SpendingCaps, TokenLimit, Worth
from dexlane_signer.router_calls import UNSIGNED
from dexlane_signer.signer import LocalSigner, RecordRequest, SignRequest
from dexlane_signer.sockets import SocketTakenError
from dexlane_signer.transactions import DynamicFeeTransaction, SignedTransaction
from dexlane_signer.typed_data import PERMIT2, PermitSingle

__all__ = [
    "HALT_FILE",
    "PERMIT2",
    "POSITION_BPS",
    "ROUTER02_SELECTORS",
    "SWAP_ROUTER02_SELECTORS",
    "UNSIGNED",
    "Approval",
    "ApprovedKind",
    "Approver",
    "Asked",
    "Attempt",
    "Brake",
    "CheckContext",
    "ControlServer",
    "DeadManLease",
    "Denial",
    "DenialReason",
    "DynamicFeeTransaction",
    "EntryCap",
    "GuardUnavailableError",
    "InvalidKeyError",
    "KeystoreError",
    "Kind",
    "Latch",
    "Level",
    "LocalSigner",
    "NonceGuard",
    "PermitSingle",
    "Policy",
    "PrivateKey",
    "RecordRequest",
    "RemoteSigner",
    "SignRequest",
    "SignedAttempt",
    "SignedBefore",
    "SignedTransaction",
    "SignerUnreachableError",
    "SigningDenied",
    "Slot",
    "SocketTakenError",
    "SpendingCaps",
    "Statement",
    "TokenLimit",
    "Worth",
    "check",
    "checksum_address",
    "keccak256",
    "load_keystore",
    "normal_address",
    "read_password",
    "read_statement",
    "write_keystore",
]
