"""What one signature costs in the executor's process: decision, seal, curve and record, each by itself."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.floor import Spread, spread
from dexlane.testing.signing_drafts import START_S, TERMS
from dexlane.testing.signing_oracle import ROUTER, USDC, Ask
from dexlane.testing.signing_requests import Generator
from dexlane.testing.signing_trial import policy, transaction_of
from dexlane_signer import Approval, CheckContext, LocalSigner, NonceGuard, PermitSingle, PrivateKey, SignRequest
from dexlane_signer.approval_rules import opened
from dexlane_signer.approvals import is_genuine
from dexlane_signer.decisions import decide

ROUNDS = 400


def run() -> dict[str, Spread]:
    """Milliseconds of each part, and of all of it with and without the write on disk, over honest entries."""
    key = PrivateKey(b"\1" * 32)
    asks = _entries(ROUNDS, key.address)
    rules = policy(TERMS.of(key.address))
    found: dict[str, list[float]] = {}

    def timed(name: str, part: Callable[[], object]) -> None:
        began = time.perf_counter_ns()
        part()
        found.setdefault(name, []).append((time.perf_counter_ns() - began) / 1e6)

    for ask in asks:
        data, signature = ask.seal or (b"", b"")
        request = _request(ask)
        context = CheckContext(sender=key.address, kind="trade", now_s=ask.now_s)
        is_genuine.cache_clear()
        timed("verifying the seal", lambda d=data, s=signature: is_genuine(rules.approvers[1], d, s))  # type: ignore[misc, index]
        opened(rules, request.approval, request.transaction.chain_id, context)
        timed(
            "policy and approval, its seal apart",
            lambda r=request, c=context: decide(rules, r.transaction, r.approval, c),  # type: ignore[misc]
        )
        timed("encoding, hashes and curve", lambda r=request: key.sign_transaction(r.transaction))  # type: ignore[misc]
        permit = _permit(ask.now_s)
        timed("a permit in it: hashes and curve", lambda p=permit: key.sign_permit(p, chain_id=1))  # type: ignore[misc]
    for name, synced in (("in all, nothing synced", False), ("in all, one write on disk", True)):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            guard = NonceGuard(Path(folder) / "guard.db")
            if not synced:
                guard._db.execute("PRAGMA synchronous = OFF")  # noqa: SLF001 - to tell the disk's share apart
            now = [START_S]
            signer = LocalSigner([key], [rules], guard, clock_s=lambda now=now: now[0])  # type: ignore[misc]
            for ask in asks:
                now[0] = ask.now_s
                is_genuine.cache_clear()
                request = _request(ask)
                timed(name, lambda r=request, s=signer: s.sign_transaction(r))  # type: ignore[misc]
            guard.close()
    return {name: spread(values) for name, values in found.items()}


def _entries(count: int, sender: str) -> list[Ask]:
    """Honest entries, a day apart from each other so that no cap is near."""
    generator = Generator(1, sender)
    return [generator.entry(pause_s=86_400) for _ in range(count)]


def _permit(now_s: int) -> PermitSingle:
    return PermitSingle(token=USDC, amount=100, expiration_s=0, nonce=now_s, spender=ROUTER, sig_deadline_s=now_s + 60)


def _request(ask: Ask) -> SignRequest:
    seal = None if ask.seal is None else Approval(*ask.seal)
    return SignRequest(
        sender=ask.sender, intent_id=ask.intent, kind="trade", transaction=transaction_of(ask), approval=seal
    )


def show(result: dict[str, Spread]) -> None:
    """One line for each part."""
    print("signing one transaction (promised 0.1 ms in process, verification and write apart):")
    for name, found in result.items():
        print(f"  {name:<42} p50 {found.p50 * 1_000:.0f} us, p99 {found.p99 * 1_000:.0f} us, n={found.count}")
