"""Storage slots in which proxies of known standards keep the address of the code that they run."""

from __future__ import annotations

EIP_1967_SLOT = "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"
"""keccak256("eip1967.proxy.implementation") - 1."""
BEACON_SLOT = "0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50"
"""keccak256("eip1967.proxy.beacon") - 1: a contract that names the code."""
ZEPPELIN_SLOT = "0x7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3"
"""OpenZeppelin before EIP-1967, which USDC uses: keccak256("org.zeppelinos.proxy.implementation")."""
EIP_1822_SLOT = "0xc5f16f0fcc639fa48a6947836d9850f504798523bf8c9a3a87d5876cf622bcf7"
"""keccak256("PROXIABLE")."""
IMPLEMENTATION_SLOTS = (EIP_1967_SLOT, BEACON_SLOT, ZEPPELIN_SLOT, EIP_1822_SLOT)
STANDARDS = dict(
    zip(
        (int(slot, 16) for slot in IMPLEMENTATION_SLOTS),
        ("EIP-1967", "EIP-1967 beacon", "OpenZeppelin before EIP-1967", "EIP-1822"),
        strict=True,
    )
)
"""The name of the standard of each slot."""
