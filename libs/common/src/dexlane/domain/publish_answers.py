"""What a node's answer to a sent transaction means. Nodes share one error code and differ in the text."""

from __future__ import annotations

from enum import StrEnum


class PublishAnswer(StrEnum):
    """What became of sending signed bytes."""

    ACCEPTED = "accepted"
    ALREADY_KNOWN = "already_known"
    """The node has these very bytes: as good as accepted."""
    NONCE_TOO_LOW = "nonce_too_low"
    """The slot is used: by one of our attempts, or by somebody else with our key. Only receipts tell."""
    NONCE_TOO_HIGH = "nonce_too_high"
    """An earlier slot is missing at the node."""
    REPLACEMENT_UNDERPRICED = "replacement_underpriced"
    """Another attempt of the slot is there, and this one does not pay enough more."""
    FEE_TOO_LOW = "fee_too_low"
    """The fee cap is below the base fee, or the tip below what the node takes."""
    INSUFFICIENT_FUNDS = "insufficient_funds"
    POOL_FULL = "pool_full"
    RATE_LIMITED = "rate_limited"
    """The provider does not look at it now, because we ask too much."""
    REVERTED = "reverted"
    """A node that tries transactions first says that this one would fail."""
    OVER_BLOCK_GAS = "over_block_gas"
    """Its gas limit is above the block's: it fits into no block."""
    UNUSABLE = "unusable"
    """These bytes can never be included: wrong chain, too little gas, a bad signature."""
    UNKNOWN = "unknown"
    """No answer, or one that says nothing about the transaction: it may have been accepted."""
    UNSENT = "unsent"
    """No relay could be given private bytes, or none that was given them says that it has them."""


RATE_LIMIT_CODES = frozenset({429, -32_005})
"""HTTP's code, and "limit exceeded" of EIP-1474."""

# Phrases in the order they are tried, on the lower-cased text. Sources: go-ethereum core/txpool/errors.go and
# core/error.go; erigon txpoolcfg (upper-case words); anvil eth/error.rs; nethermind AcceptTxResult; besu
# TransactionInvalidReason.
_PHRASES: tuple[tuple[PublishAnswer, tuple[str, ...]], ...] = (
    (PublishAnswer.ALREADY_KNOWN, ("already known", "already imported", "already_exists", "alreadyknown")),
    (PublishAnswer.ALREADY_KNOWN, ("known transaction",)),
    (PublishAnswer.REPLACEMENT_UNDERPRICED, ("replacement", "replace_underpriced", "could not replace")),
    (PublishAnswer.NONCE_TOO_LOW, ("nonce too low", "nonce_too_low", "nonce is too low", "oldnonce")),
    (PublishAnswer.NONCE_TOO_HIGH, ("nonce too high", "nonce_too_high", "nonce gap", "nonce_gap", "noncegap")),
    (PublishAnswer.NONCE_TOO_HIGH, ("nonce distance", "nonce_distance")),
    (PublishAnswer.INSUFFICIENT_FUNDS, ("insufficient funds", "insufficient_funds", "insufficientfunds")),
    (PublishAnswer.INSUFFICIENT_FUNDS, ("out of funds", "upfront cost exceeds", "upfront_cost_exceeds")),
    (PublishAnswer.FEE_TOO_LOW, ("less than block base fee", "fee cap too low", "fee_too_low", "feetoolow")),
    (PublishAnswer.FEE_TOO_LOW, ("underpriced", "tip too low", "gas price too low", "gas price below")),
    (PublishAnswer.FEE_TOO_LOW, ("minimum needed tip", "below configured minimum", "below current base fee")),
    (PublishAnswer.POOL_FULL, ("pool is full", "pool is overloaded", "pool_overflow", "txpool full")),
    (PublishAnswer.OVER_BLOCK_GAS, ("exceeds block gas limit", "gas limit too high", "gaslimitexceeded")),
    (PublishAnswer.OVER_BLOCK_GAS, ("gas limit reached", "exceeds_block_gas_limit", "exceeds the block gas limit")),
    (PublishAnswer.REVERTED, ("execution reverted", "transaction reverted", "would revert", "always failing")),
    (PublishAnswer.UNUSABLE, ("intrinsic gas", "invalid sender", "invalid chain", "chain id", "chainid")),
    (PublishAnswer.UNUSABLE, ("higher than max fee", "max initcode", "oversized", "invalid transaction v")),
    (PublishAnswer.UNUSABLE, ("type not supported", "rlp:", "not an eoa", "sender_not_eoa", "configured cap")),
)


_RATE_LIMIT_PHRASES = (
    "too many requests",
    "rate limit",
    "rate-limit",
    "ratelimit",
    "throttl",
    "quota",
    "compute units",
)


def classify_refusal(message: str, code: int = 0) -> PublishAnswer:
    """The meaning of an error; ``UNKNOWN`` for one that is not in the table, which decides nothing.

    What is said about the transaction comes before what is said about the request.
    """
    text = message.lower()
    for answer, phrases in _PHRASES:
        if any(phrase in text for phrase in phrases):
            return answer
    if code in RATE_LIMIT_CODES or any(phrase in text for phrase in _RATE_LIMIT_PHRASES):
        return PublishAnswer.RATE_LIMITED
    return PublishAnswer.UNKNOWN
