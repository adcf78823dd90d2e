"""Recorded fee histories: consecutive blocks with base fees, and where known their gas and tips."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dexlane.domain.fees import TIP_PERCENTILES, BlockFees
from dexlane_cli.errors import EXIT_USAGE, CommandError
from dexlane_cli.tape_sources import open_table

CHAIN_NAMES = {"ethereum": 1, "mainnet": 1, "bsc": 56, "polygon": 137, "base": 8_453, "arbitrum": 42_161}
_KNOWN = ", ".join(f"{name} ({chain})" for name, chain in CHAIN_NAMES.items())
_NUMBERS = ("block_number", "blockNumber", "number")
_BASE_FEES = ("base_fee_wei", "basefee_wei", "baseFeePerGas", "base_fee_per_gas")
_GAS = (("gasUsed", "gasLimit"), ("gas_used", "gas_limit"))
_RATIO = "gas_used_ratio"
_TIP = re.compile(r"(?:reward_p(\d+)_wei|tip_p(\d+))")
_UNKNOWN_RATIO = 0.5
"""Of a block of which only the base fee is known: it took somebody and was not full; nothing else rests on it."""


@dataclass(frozen=True, slots=True)
class FeeHistory:
    """A file's blocks in order. ``lowest_tips_wei`` has per block all recorded percentiles, lowest first."""

    path: Path
    chain_id: int
    blocks: tuple[BlockFees, ...]
    lowest_tips_wei: tuple[tuple[int, ...], ...]

    @property
    def has_tips(self) -> bool:
        """Whether the tips of blocks are known, not only base fees."""
        return bool(self.lowest_tips_wei)

    def base_fee(self, index: int) -> int:
        """Of a block, in wei per gas."""
        return self.blocks[index].base_fee_wei or 0


def read_history(path: Path, chain_id: int | None = None) -> FeeHistory:
    """A history from Parquet or CSV. The chain is given, or a word of the file's name.

    Raises ``CommandError`` (exit code 2) for a file that is none, is empty, has a gap or a doubled block, or whose
    chain nobody knows.
    """
    table = open_table(path)
    columns = _Columns.of(path, table.columns)
    chain = chain_id or _chain_in(path)
    if chain not in CHAIN_NAMES.values():
        raise CommandError(f"there are no fee rules for chain {chain}; known are {_KNOWN}", EXIT_USAGE)
    rows = sorted(_read(path, columns, table.rows(columns.wanted)), key=lambda row: row[0].number)
    if not rows:
        raise CommandError(f"{path} has no rows; give a file with recorded blocks", EXIT_USAGE)
    for (before, _), (after, _) in itertools.pairwise(rows):
        if after.number != before.number + 1:
            raise CommandError(
                f"{path}: block {after.number} follows block {before.number}; blocks must be consecutive and single",
                EXIT_USAGE,
            )
    blocks = tuple(block for block, _ in rows)
    return FeeHistory(path, chain, blocks, tuple(tips for _, tips in rows) if columns.tips else ())


@dataclass(frozen=True, slots=True)
class _Columns:
    """Names of a file's columns; percentiles in rising order."""

    number: str
    base_fee: str
    gas: tuple[str, ...]
    tips: tuple[tuple[int, str], ...]

    @property
    def wanted(self) -> list[str]:
        return [self.number, self.base_fee, *self.gas, *(name for _, name in self.tips)]

    @classmethod
    def of(cls, path: Path, names: Sequence[str]) -> _Columns:
        number = next((name for name in _NUMBERS if name in names), None)
        base_fee = next((name for name in _BASE_FEES if name in names), None)
        if number is None or base_fee is None:
            missing = " or ".join(_NUMBERS if number is None else _BASE_FEES)
            raise CommandError(f"{path} has no column {missing}", EXIT_USAGE)
        found = ((_TIP.fullmatch(name), name) for name in names)
        tips = tuple(sorted((int(match[1] or match[2]), name) for match, name in found if match))
        gas = (_RATIO,) if _RATIO in names else next((pair for pair in _GAS if set(pair) <= set(names)), ())
        lacking = [f"reward_p{p}_wei" for p in TIP_PERCENTILES if p not in dict(tips)] if tips else []
        if tips and not gas:
            lacking.append(_RATIO)
        if lacking:
            raise CommandError(f"{path} has tips but no column {', '.join(lacking)}", EXIT_USAGE)
        return cls(number, base_fee, gas, tips)


def _read(path: Path, columns: _Columns, rows: Iterator[dict[str, Any]]) -> Iterator[tuple[BlockFees, tuple[int, ...]]]:
    place = dict(columns.tips)
    for line, row in enumerate(rows, 1):
        try:
            base_fee, ratio = _integer(row[columns.base_fee]), _ratio(row, columns.gas)
            tips = {percentile: _integer(row[name]) for percentile, name in place.items()}
            block = BlockFees(
                _integer(row[columns.number]), ratio, tuple(tips[p] for p in TIP_PERCENTILES) if tips else (), base_fee
            )
        except (TypeError, ValueError) as error:
            raise CommandError(f"{path}: row {line} is no block: {error}", EXIT_USAGE) from error
        if base_fee < 0 or not 0 <= ratio <= 1 or any(tip < 0 for tip in tips.values()):
            raise CommandError(f"{path}: row {line} has a fee below zero or a ratio outside 0 to 1", EXIT_USAGE)
        yield block, tuple(tips.values())


def _integer(value: object) -> int:
    if isinstance(value, str):
        return int(value, 16) if value.startswith("0x") else int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(f"{value!r} is no whole number")


def _ratio(row: dict[str, Any], gas: tuple[str, ...]) -> float:
    if not gas:
        return _UNKNOWN_RATIO
    if len(gas) == 1:
        return float(row[gas[0]])
    limit = _integer(row[gas[1]])
    if limit <= 0:
        raise ValueError(f"a gas limit of {limit}")
    return _integer(row[gas[0]]) / limit


def _chain_in(path: Path) -> int:
    for word in re.split(r"[^a-z]+", path.name.lower()):
        if word in CHAIN_NAMES:
            return CHAIN_NAMES[word]
    raise CommandError(f"the name of {path} says no chain; give it with --chain: {_KNOWN}", EXIT_USAGE)
