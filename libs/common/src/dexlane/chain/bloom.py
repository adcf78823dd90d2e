"""The logs bloom of a block header: what a node must have logs of (Ethereum Yellow Paper, section 4.4.3)."""

from __future__ import annotations

import functools

from dexlane.chain.keccak import keccak256

BITS = 2_048


@functools.lru_cache(maxsize=8_192)
def bloom_mask(item: str) -> int:
    """The three bits that an address or a topic (hex) sets in the bloom of every block that logs it."""
    hashed = keccak256(bytes.fromhex(item.removeprefix("0x")))
    mask = 0
    for at in (0, 2, 4):
        mask |= 1 << (int.from_bytes(hashed[at : at + 2], "big") % BITS)
    return mask


def may_log(bloom: int, mask: int) -> bool:
    """False when the block certainly has no log of that item; True when it has one, or by chance."""
    return bloom & mask == mask


def chance_of_error(bloom: int) -> float:
    """How likely it is that ``may_log`` is True for an item without any log: the share of set bits, for three bits."""
    return (bloom.bit_count() / BITS) ** 3
