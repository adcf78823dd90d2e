"""What the signer counts: signatures, denials by reason, halts by path. Numbers only, no identifiers."""

from __future__ import annotations

from collections import Counter


class Counts:
    """Counters since the start of the process."""

    def __init__(self) -> None:
        self.signed: Counter[str] = Counter()
        """By what was given: ``transaction``, or ``record`` for what was signed before."""
        self.denied: Counter[str] = Counter()
        """By the reason code of the denial."""
        self.halts: Counter[str] = Counter()
        """By the path that tightened the latch."""
        self.unavailable = 0
        """Requests that failed because the record could not be used."""
        self.strangers = 0
        """Connections of processes that may not ask, or not over one more."""
        self.unread = 0
        """Messages on the bus or the control socket that could not be understood."""

    def as_dict(self) -> dict[str, object]:
        """For the status answer."""
        return {
            "signed": dict(self.signed),
            "denied": dict(self.denied),
            "halts": dict(self.halts),
            "unavailable": self.unavailable,
            "strangers": self.strangers,
            "unread": self.unread,
        }
