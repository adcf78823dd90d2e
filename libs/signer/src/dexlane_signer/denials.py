"""Why a signature was refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DenialReason(StrEnum):
    """Stable codes; the sentence beside them is for people and may change."""

    WRONG_CHAIN = "wrong_chain"
    WRONG_ENVELOPE = "wrong_envelope"
    UNKNOWN_SENDER = "unknown_sender"
    UNKNOWN_TARGET = "unknown_target"
    UNKNOWN_SELECTOR = "unknown_selector"
    MALFORMED_CALLDATA = "malformed_calldata"
    VALUE_OVER_CAP = "value_over_cap"
    VALUE_NOT_ALLOWED = "value_not_allowed"
    FEE_OVER_CAP = "fee_over_cap"
    TIP_OVER_CAP = "tip_over_cap"
    GAS_OVER_CAP = "gas_over_cap"
    COST_OVER_CAP = "cost_over_cap"
    NOT_A_CANCEL = "not_a_cancel"
    CANCEL_AS_TRADE = "cancel_as_trade"
    UNKNOWN_TOKEN = "unknown_token"  # noqa: S105 - a code, not a password
    UNKNOWN_SPENDER = "unknown_spender"
    AMOUNT_OVER_CAP = "amount_over_cap"
    UNKNOWN_COMMAND = "unknown_command"
    NO_SWAP = "no_swap"
    BROKEN_CHAIN = "broken_chain"
    WRONG_RECIPIENT = "wrong_recipient"
    NO_MINIMUM_OUT = "no_minimum_out"
    LOSING_ROUND_TRIP = "losing_round_trip"
    DEADLINE_PASSED = "deadline_passed"
    DEADLINE_TOO_FAR = "deadline_too_far"
    PERMIT_TOO_LONG = "permit_too_long"
    PERMIT_EXCEEDS_INPUT = "permit_exceeds_input"
    NOT_APPROVED = "not_approved"
    APPROVAL_MALFORMED = "approval_malformed"
    APPROVAL_UNKNOWN = "approval_unknown"
    APPROVAL_WRONG_KEY = "approval_wrong_key"
    APPROVAL_FORGED = "approval_forged"
    APPROVAL_EXPIRED = "approval_expired"
    APPROVAL_TOO_LONG = "approval_too_long"
    APPROVAL_WRONG_CHAIN = "approval_wrong_chain"
    APPROVAL_WRONG_ACCOUNT = "approval_wrong_account"
    APPROVAL_WRONG_TOKENS = "approval_wrong_tokens"
    APPROVAL_AMOUNT = "approval_amount"
    APPROVAL_USED = "approval_used"
    TRADE_VALUE_CAP = "trade_value_cap"
    LEVEL_UNKNOWN = "level_unknown"
    OVER_LEVEL = "over_level"
    ENTRY_TOKEN = "entry_token"  # noqa: S105 - a code, not a password
    HOUR_CAP_TOKEN = "hour_cap_token"  # noqa: S105 - a code, not a password
    DAY_CAP_TOKEN = "day_cap_token"  # noqa: S105 - a code, not a password
    HOUR_CAP_VALUE = "hour_cap_value"
    DAY_CAP_VALUE = "day_cap_value"
    HOUR_CAP_TRADES = "hour_cap_trades"
    DAY_CAP_TRADES = "day_cap_trades"
    HOUR_CAP_GAS = "hour_cap_gas"
    DAY_CAP_GAS = "day_cap_gas"
    SLOT_TAKEN = "slot_taken"
    INTENT_HAS_SLOT = "intent_has_slot"
    SLOT_CANCELLED = "slot_cancelled"
    BELOW_HIGH_WATER = "below_high_water"
    STALE_EPOCH = "stale_epoch"
    NOT_AN_EXIT = "not_an_exit"
    NO_SIGN_OF_LIFE = "no_sign_of_life"
    MALFORMED_REQUEST = "malformed_request"
    HALTED = "halted"
    KEY_STORE_REFUSED = "key_store_refused"
    WRONG_SIGNATURE = "wrong_signature"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Denial:
    """A refusal as a value: a stable reason code and one sentence for people."""

    reason: DenialReason
    sentence: str


class SigningDenied(Exception):  # noqa: N818 - a decision, not a fault
    """The signer refused. ``denial`` says why."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(f"{denial.reason}: {denial.sentence}")
        self.denial = denial

    @property
    def reason(self) -> DenialReason:
        """The stable reason code."""
        return self.denial.reason
