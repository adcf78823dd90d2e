"""Requests put to a signer and to the oracle that was written from the rules alone: every difference is a hole.

Policy, approvals, nonce guard and caps are the real ones. The curve is replaced by a hash and the guard's file is not
synced: neither changes a decision. Every part has a seed and a file of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dexlane.testing.signing_trial import compare

PART = 25_000


@dataclass
class PolicyResult:
    """What the parts showed together."""

    requests: int = 0
    signed: int = 0
    out_of_policy: int = 0
    honest_denied: int = 0
    seconds: float = 0.0
    denied: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def run(requests: int) -> PolicyResult:
    """Ask so many, part by part."""
    result = PolicyResult()
    began = time.monotonic()
    for seed in range(-(-requests // PART)):
        with tempfile.TemporaryDirectory() as folder:
            found = compare(Path(folder), min(PART, requests - result.requests), seed)
        result.requests += found.requests
        result.signed += found.signed
        result.out_of_policy += found.out_of_policy
        result.honest_denied += found.honest_denied
        result.denied += found.denied
        result.differences += found.differences
    result.seconds = time.monotonic() - began
    return result


def show(result: PolicyResult) -> None:
    """A few lines; ``SystemExit`` when signer and oracle differ."""
    print(f"policy: {result.requests:,} requests in {result.seconds:.0f} s, {result.signed:,} signed")
    print(f"  signed out of policy: {result.out_of_policy} (promised 0)")
    print(f"  honest requests denied: {result.honest_denied} (promised 0)")
    print("  denied: " + ", ".join(f"{reason} {count:,}" for reason, count in result.denied.most_common()))
    for difference in result.differences[:10]:
        print(f"  {difference}")
    if result.differences:
        raise SystemExit(1)
