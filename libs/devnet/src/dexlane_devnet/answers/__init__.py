"""Answers of real pool contracts to random swaps: what the pool maths is tested against.

``python -m dexlane_devnet.answers PROTOCOL COUNT SEED OUT`` starts an empty chain, puts the contracts there, makes
random pools and lets each carry a row of swaps, one after the other; the file keeps what the contracts said.
"""

from __future__ import annotations

from dexlane_devnet.answers.record import PROTOCOLS, Extent, record_answers

__all__ = ["PROTOCOLS", "Extent", "record_answers"]
