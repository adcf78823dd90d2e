"""One signer and one oracle that are asked the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from dexlane.testing.signing_drafts import (
    START_S,
    TERMS,
    US,
)
from dexlane.testing.signing_oracle import (
    ROUTER,
    USDC,
    WETH,
    Ask,
    Oracle,
    Terms,
    with_permits_signed,
)
from dexlane.testing.signing_requests import Generator
from dexlane_signer import (
    Approval,
    DynamicFeeTransaction,
    EntryCap,
    LocalSigner,
    NonceGuard,
    PermitSingle,
    Policy,
    PrivateKey,
    SignedTransaction,
    SigningDenied,
    SignRequest,
    SpendingCaps,
    TokenLimit,
    Worth,
)

PERMITTED = b"\2" * 65
"""What the quick key signs permits with."""


class QuickKey:
    """Signs nothing: its bytes only tell transactions apart. The curve adds nothing to a decision but time."""

    address = US
    is_local = True

    def sign_transaction(self, transaction: DynamicFeeTransaction) -> SignedTransaction:
        """Bytes that differ when the transaction does."""
        return transaction.with_signature(b"\1" * 64 + b"\0")

    def sign_permit(self, permit: PermitSingle, *, chain_id: int) -> bytes:
        """65 bytes."""
        return PERMITTED


def policy(terms: Terms = TERMS) -> Policy:
    """The terms in the signer's words."""
    limits = {
        token: TokenLimit(
            max_allowance=a, max_trade=t, max_hour=h, max_day=d, worth=Worth(1, 1) if token == USDC else None
        )
        for token, (a, t, h, d) in terms.tokens.items()
    }
    return Policy(
        chain_ids=frozenset({terms.chain_id}),
        own_addresses=frozenset({terms.us}),
        routers={ROUTER: frozenset({"0x3593564c"})},
        permit_spenders=frozenset({ROUTER}),
        tokens=limits,
        unlisted_token_limit=TokenLimit(*terms.unlisted),
        max_fee_per_gas_wei=terms.fee_cap,
        max_tip_per_gas_wei=terms.tip_cap,
        max_gas_limit=terms.gas_cap,
        max_cost_wei=terms.cost_cap,
        max_value_wei=terms.value_cap,
        max_deadline_s=terms.deadline_s,
        max_permit_s=terms.deadline_s,
        max_approval_s=terms.approval_s,
        wrapped_native=WETH,
        approvers=cast("Any", terms.keys),
        book_accounts={terms.book: frozenset({terms.us})},
        entry_caps={
            terms.us: EntryCap(
                level=terms.entry_level, lane=terms.entry_lane, token=terms.entry_token, capital=terms.entry_capital
            )
        },
        caps=SpendingCaps(
            value_per_trade=terms.value_per_trade,
            value_per_hour=terms.value_per_hour,
            value_per_day=terms.value_per_day,
            trades_per_hour=terms.trades_per_hour,
            trades_per_day=terms.trades_per_day,
            gas_wei_per_hour=terms.gas_per_hour,
            gas_wei_per_day=terms.gas_per_day,
        ),
    )


@dataclass
class Comparison:
    """What a run showed. ``differences`` are requests of which signer and oracle think differently."""

    requests: int = 0
    signed: int = 0
    denied: Counter[str] = field(default_factory=Counter)
    out_of_policy: int = 0
    honest_denied: int = 0
    differences: list[str] = field(default_factory=list)


class Trial:
    """One signer and one oracle that are asked the same. The guard is the real one, on a file that is not synced."""

    def __init__(self, folder: Path, terms: Terms = TERMS) -> None:
        self.guard = NonceGuard(folder / "guard.db")
        self.guard._db.execute("PRAGMA synchronous = OFF")  # noqa: SLF001 - a million commits need not reach a disk
        self.now_s = START_S
        key = cast("PrivateKey", QuickKey())
        self.signer = LocalSigner([key], [policy(terms)], self.guard, clock_s=lambda: self.now_s)
        self.oracle = Oracle(terms)
        self.found = Comparison()

    def put(self, ask: Ask) -> None:
        """Ask both."""
        self.judge(ask, self.oracle.answer(ask))

    def judge(self, ask: Ask, why_not: str | None) -> None:
        """Ask the signer and compare: None is the oracle's yes."""
        self.now_s = ask.now_s
        reason = self._sign(ask)
        self.found.requests += 1
        self.found.signed += reason is None
        if reason is not None:
            self.found.denied[reason] += 1
        if (why_not is None) != (reason is None):
            self.found.out_of_policy += reason is None
            self.found.honest_denied += why_not is None
            self.found.differences.append(f"oracle: {why_not}; signer: {reason}; {ask}")

    def _sign(self, ask: Ask) -> str | None:
        request = _request(ask)
        if request is None:
            return "no_request"
        try:
            signed = self.signer.sign_transaction(request)
        except SigningDenied as denied:
            return denied.reason.value
        wanted = replace(request.transaction, data=with_permits_signed(request.transaction.data, PERMITTED))
        if signed.transaction != wanted or not wanted.is_signed_in(signed.raw):
            self.found.out_of_policy += 1
            self.found.differences.append(f"the signer signed {signed.transaction}; {ask}")
        return None


def _request(ask: Ask) -> SignRequest | None:
    """None for what cannot even be asked."""
    try:
        transaction = transaction_of(ask)
    except ValueError:
        return None
    return SignRequest(
        sender=ask.sender,
        intent_id=ask.intent,
        kind=cast("Any", ask.kind),
        transaction=transaction,
        epoch=ask.epoch,
        purpose=cast("Any", ask.purpose),
        approval=None if ask.seal is None else Approval(*ask.seal),
    )


def transaction_of(ask: Ask) -> DynamicFeeTransaction:
    """The transaction that is asked for. ``ValueError`` for none."""
    tx = ask.tx
    return DynamicFeeTransaction(
        chain_id=ask.chain_id,
        nonce=tx["nonce"],
        max_priority_fee_per_gas_wei=tx["tip"],
        max_fee_per_gas_wei=tx["fee"],
        gas_limit=tx["gas"],
        to=tx["to"],
        value_wei=tx["value"],
        data=tx["data"],
    )


def compare(folder: Path, count: int, seed: int) -> Comparison:
    """Put so many requests to both."""
    trial = Trial(folder)
    requests = Generator(seed).requests()
    for _ in range(count):
        trial.put(next(requests))
    trial.guard.close()
    return trial.found
