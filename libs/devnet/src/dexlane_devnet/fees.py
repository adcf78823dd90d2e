"""Base fee arithmetic and the rule that keeps it alive on a chain with few users (pure, integers)."""

import random
from dataclasses import dataclass

GWEI = 10**9
GAS_LIMIT = 30_000_000
GAS_TARGET = GAS_LIMIT // 2
MAX_TX_GAS = 1 << 24
"""EIP-7825."""
_CHANGE_DENOMINATOR = 8
_RETURN_BLOCKS = 6
"""The rule closes about a sixth of the distance to its goal per block."""


def next_base_fee(base_fee_wei: int, gas_used: int, gas_target: int = GAS_TARGET) -> int:
    """Base fee of the following block (EIP-1559)."""
    change = base_fee_wei * abs(gas_used - gas_target) // gas_target // _CHANGE_DENOMINATOR
    return base_fee_wei + max(change, 1) if gas_used > gas_target else base_fee_wei - change


@dataclass
class LoadPlan:
    """How much gas to burn in the next block so that the base fee walks within bounds around ``target_wei``.

    The goal is a seeded walk within 60 % to 160 % of the target; each block's gas aims at the goal and is blurred, as
    real blocks are seldom half full.
    """

    target_wei: int
    seed: int

    def __post_init__(self) -> None:
        self._rng = random.Random(f"{self.seed}/load")  # noqa: S311 - reproducible noise, no secret
        self._goal = self.target_wei

    def gas_to_burn(self, base_fee_wei: int, others_gas: int) -> int:
        """Gas for the next block.

        Args:
            base_fee_wei: base fee of the block the gas will be burnt in.
            others_gas: gas everybody else is expected to use in it.
        """
        pull = (self.target_wei - self._goal) // 100
        self._goal += pull + self._goal * self._rng.randint(-20, 20) // 1000
        self._goal = max(self.target_wei * 6 // 10, min(self.target_wei * 16 // 10, self._goal))
        wanted = GAS_TARGET + GAS_TARGET * _CHANGE_DENOMINATOR * (self._goal - base_fee_wei) // (
            _RETURN_BLOCKS * base_fee_wei
        )
        blurred = wanted + GAS_TARGET * self._rng.randint(-30, 30) // 100
        return max(0, min(blurred, GAS_LIMIT * 9 // 10) - others_gas)


def split_gas(gas: int) -> list[int]:
    """Gas limits of at most two transactions that burn ``gas`` together; dust is not worth a transaction."""
    parts = [min(gas, MAX_TX_GAS), max(0, min(gas - MAX_TX_GAS, MAX_TX_GAS))]
    return [part for part in parts if part >= 30_000]
