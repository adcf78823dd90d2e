"""The call inside a signed transaction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SignedCall:
    """The call inside a signed EIP-1559 transaction. Wei, and wei per gas."""

    to: str
    value_wei: int
    data: bytes
    gas_limit: int
    max_fee_per_gas_wei: int

    @property
    def most_it_costs_wei(self) -> int:
        """What the account must hold before a node takes it: gas at the cap, and the value."""
        return self.gas_limit * self.max_fee_per_gas_wei + self.value_wei
