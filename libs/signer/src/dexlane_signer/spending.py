"""Spending caps: how much may leave within any hour and any 24 hours, counted where the signature is recorded.

Counting is part of the guard's transaction: what is not counted is not signed, what is not signed is not counted, and
two requests at once cannot both use what is left. A slot counts once, with the largest amounts that were signed for
it, and from the last signature on: a trade that is signed anew with another deadline is put at risk again. A cancel
counts its gas alone. Nothing is given back when a trade fails: the caps bound what was put at risk.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from dexlane_signer.denials import Denial, DenialReason
from dexlane_signer.policy import Policy

HOUR_S = 3_600
DAY_S = 86_400

SCHEMA = """
CREATE TABLE IF NOT EXISTS spendings (
    number INTEGER PRIMARY KEY, chain_id INTEGER NOT NULL, address TEXT NOT NULL, nonce INTEGER NOT NULL,
    at_s INTEGER NOT NULL, meter TEXT NOT NULL, amount TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS spendings_of_slot ON spendings (chain_id, address, nonce);
"""
"""Every signature has a row for each meter, an increase that may be zero: what a slot counts is the sum of its rows,
back to the first pause of a day. Amounts are decimal, since SQLite ends at 63 bits."""

GAS, VALUE, TRADES = "gas", "value", "trades"
"""Meters beside those of the tokens, whose names are their addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a signature may cost: ``amounts`` by meter, for one slot at one time (Unix seconds).

    ``is_way_out`` marks cancels and approved exits. They count like everything else, but the caps on trades and on
    value do not stop them, and those on gas stop them a quarter later: getting out must stay possible when getting in
    is not.
    """

    chain_id: int
    address: str
    nonce: int
    at_s: int
    amounts: Mapping[str, int]
    is_way_out: bool = False


_Slot: TypeAlias = tuple[str, int]
"""Address and nonce: a slot of one chain."""


class _Window:
    """A sum over the slots that were signed for in the last so many seconds, by the time of their last signature."""

    __slots__ = ("_seconds", "_slots", "_total")

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._slots: dict[_Slot, tuple[int, int]] = {}
        self._total = 0

    def put(self, slot: _Slot, at_s: int, amount: int) -> None:
        """From now on the slot counts that much. Time never goes back here, so the oldest stay in front."""
        while self._slots:
            oldest = next(iter(self._slots))
            if self._slots[oldest][0] > at_s - self._seconds:
                break
            self._total -= self._slots.pop(oldest)[1]
        self._total += amount - self._slots.pop(slot, (0, 0))[1]
        self._slots[slot] = at_s, amount

    def of(self, slot: _Slot, now_s: int) -> int:
        """What the slot counts; nothing once it is older than the window."""
        at_s, amount = self._slots.get(slot, (0, 0))
        return amount if at_s > now_s - self._seconds else 0

    def is_over(self, cap: int | None, slot: _Slot, now_s: int, amount: int) -> bool:
        """Whether the sum would exceed a cap if the slot counted that much. What it counts already is not asked again.
        Looking forgets nothing: the clock may have been wrong."""
        if cap is None:
            return False
        more = amount - self.of(slot, now_s)
        if more <= 0:
            return False
        total = self._total + more
        for at_s, old in self._slots.values():
            if at_s > now_s - self._seconds:
                break
            total -= old
        return total > cap


@dataclass(slots=True)
class _Meter:
    hour: _Window = field(default_factory=lambda: _Window(HOUR_S))
    day: _Window = field(default_factory=lambda: _Window(DAY_S))

    def add(self, slot: _Slot, at_s: int, increase: int) -> None:
        counted = self.day.of(slot, at_s) + increase
        self.hour.put(slot, at_s, counted)
        self.day.put(slot, at_s, counted)


class Spending:
    """The counts of one guard file. What it remembers is only what was committed, by this process or another one."""

    def __init__(self) -> None:
        self._read_to = 0
        self._meters: defaultdict[tuple[int, str], _Meter] = defaultdict(_Meter)
        self._latest_s: dict[int, int] = {}

    def charge(self, db: sqlite3.Connection, policy: Policy, charge: Charge) -> Denial | None:
        """Count a charge inside the transaction of ``db``, or say which cap it would exceed (then nothing was written).

        Time never goes back: a charge is counted at the latest time that was ever counted.
        """
        self._catch_up(db)
        at_s = max(charge.at_s, self._latest_s.get(charge.chain_id, 0))
        increases: list[tuple[str, int]] = []
        for name, wanted in charge.amounts.items():
            meter = self._meters.get((charge.chain_id, name)) or _Meter()
            counted = meter.day.of((charge.address, charge.nonce), at_s)
            denial = _over(policy, charge, name, meter, at_s)
            if denial is not None:
                return denial
            increases.append((name, max(0, wanted - counted)))
        slot = (charge.chain_id, charge.address, charge.nonce, at_s)
        db.executemany(
            "INSERT INTO spendings (chain_id, address, nonce, at_s, meter, amount) VALUES (?, ?, ?, ?, ?, ?)",
            [(*slot, meter, str(amount)) for meter, amount in increases],
        )
        return None

    def _catch_up(self, db: sqlite3.Connection) -> None:
        """Add what was committed since the last look. The write lock is held, so nothing is missed."""
        rows = db.execute(
            "SELECT number, chain_id, address, nonce, at_s, meter, amount FROM spendings WHERE number > ? "
            "ORDER BY number",
            (self._read_to,),
        )
        for number, chain_id, address, nonce, at_s, name, amount in rows:
            self._meters[chain_id, name].add((address, nonce), at_s, int(amount))
            self._latest_s[chain_id] = max(at_s, self._latest_s.get(chain_id, 0))
            self._read_to = number


def _over(policy: Policy, charge: Charge, name: str, meter: _Meter, at_s: int) -> Denial | None:
    """Which cap of a meter is exceeded by a charge. What its slot counts already is not asked again."""
    per_hour, per_day = _caps_on(policy, charge, name)
    slot = (charge.address, charge.nonce)
    amount = max(charge.amounts[name], meter.day.of(slot, at_s))
    if meter.hour.is_over(per_hour, slot, at_s, amount):
        return _over_cap(_HOUR, name, per_hour, "hour")
    if meter.day.is_over(per_day, slot, at_s, amount):
        return _over_cap(_DAY, name, per_day, "day")
    return None


_HOUR = {
    GAS: DenialReason.HOUR_CAP_GAS,
    VALUE: DenialReason.HOUR_CAP_VALUE,
    TRADES: DenialReason.HOUR_CAP_TRADES,
}
_DAY = {GAS: DenialReason.DAY_CAP_GAS, VALUE: DenialReason.DAY_CAP_VALUE, TRADES: DenialReason.DAY_CAP_TRADES}


def _over_cap(reasons: Mapping[str, DenialReason], name: str, cap: int | None, window: str) -> Denial:
    of_token = DenialReason.HOUR_CAP_TOKEN if reasons is _HOUR else DenialReason.DAY_CAP_TOKEN
    return Denial(reasons.get(name, of_token), f"{name} would exceed the cap of {cap} per {window}")


def _caps_on(policy: Policy, charge: Charge, name: str) -> tuple[int | None, int | None]:
    """The caps of one meter per hour and per day."""
    caps = policy.caps
    if name == GAS:
        per_hour, per_day = caps.gas_wei_per_hour, caps.gas_wei_per_day
        if charge.is_way_out:
            return _quarter_more(per_hour), _quarter_more(per_day)
        return per_hour, per_day
    if name == TRADES:
        return (None, None) if charge.is_way_out else (caps.trades_per_hour, caps.trades_per_day)
    if name == VALUE:
        return (None, None) if charge.is_way_out else (caps.value_per_hour, caps.value_per_day)
    limit = policy.limit_of(name)
    return (None, None) if limit is None else (limit.max_hour, limit.max_day)


def _quarter_more(cap: int | None) -> int | None:
    return None if cap is None else cap * 5 // 4


def amounts_of(paid: Mapping[str, int], value: int, *, cost_wei: int) -> dict[str, int]:
    """What to count for a transaction: its gas at most; for one that pays, each token, their value and one trade."""
    amounts = {GAS: cost_wei}
    if paid:
        amounts |= paid
        amounts[TRADES] = 1
        if value:
            amounts[VALUE] = value
    return amounts


def value_of(policy: Policy, paid: Mapping[str, int]) -> int:
    """The sum of what has a worth, in the policy's unit of account."""
    total = 0
    for token, amount in paid.items():
        limit = policy.limit_of(token)
        if limit is not None and limit.worth is not None:
            total += limit.worth.of(amount)
    return total
