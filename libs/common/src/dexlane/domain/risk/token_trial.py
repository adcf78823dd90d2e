"""What an executed check saw of a token: trades, transfers, balances and switches, as measured and not yet judged.

Every amount is in the smallest unit of its token. A trial is made by :mod:`dexlane.chain.token_check` from calls that
a node simulates; nothing of it was ever sent. What was not seen is absent, and
:mod:`dexlane.domain.risk.token_verdict` refuses to call a token safe without it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import Field

from dexlane.domain.risk.token_background import Background
from dexlane.values.base import Value


class Observation(Value):
    """One piece of evidence as it is told: what was asked, at which block, how, and the raw values of the answer."""

    what: str
    block: int = Field(ge=0)
    method: str = Field(description="the JSON-RPC method that gave it")
    raw: dict[str, str]


class Kind(StrEnum):
    """What a simulated trade was made to find out."""

    SIZE = "size"
    RETRY = "retry"
    WAIT = "wait"
    FAR = "far"
    HALF = "half"
    REST = "rest"
    AGAIN = "again"
    GIVEN = "given"
    PULLED = "pulled"
    LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One purchase or sale. ``expected`` is what the pool gives without a tax, ``reserve_out`` what it held of it.

    ``waited_s`` counts from the purchase. ``made`` says by how much the supply, or the sum of all balances that are
    known, grew during the trade; ``gas`` is what it used.
    """

    kind: Kind
    buys: bool
    trader: str
    amount: int
    expected: int
    received: int
    reserve_out: int
    ok: bool
    reason: str = ""
    gas: int = 0
    waited_s: int = 0
    made: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A transfer between two accounts without a pool. ``sent`` is what was named, ``left`` what the sender has less."""

    kind: Kind
    sent: int
    left: int
    arrived: int
    ok: bool
    reason: str = ""
    gas: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The balance of an account that did nothing, before and after."""

    holder: str
    before: int
    after: int
    within_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """What one call, or several in a row, of somebody changes. ``caller`` is None for somebody without any right.

    ``delay_s``: how long its caller must wait by the rules of a timelock; None when nothing delays it. Sales are those
    of the holder whom the call names, and of another one; taxes compare their proceeds with those without the call, in
    bps.
    ``made`` is what the supply or the caller's balance grew by; ``taken`` what a holder or the pool lost.
    """

    call: str
    caller: str | None
    delay_s: int | None
    named_sells: bool
    other_sells: bool
    named_tax_bps: int
    other_tax_bps: int
    made: int = 0
    taken: int = 0
    upgrade: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTrial:
    """Everything about one token at one block. ``missing`` names, in sentences, what could not be looked at.
    ``is_token`` is False where there is no contract, or none that tells a supply.

    ``pool`` is the pair that was traded; other pools of the token were not. ``method`` is the JSON-RPC method the
    trades were simulated with: ``eth_simulateV1`` from accounts without code, or ``eth_call`` from accounts with code.
    ``switches`` and ``background`` are None when nobody looked for them. ``interrupted``: the node was silent or time
    ran out, so asking again may bring what is missing.
    """

    token: str
    block: int
    method: str = ""
    is_token: bool = True
    pool: str | None = None
    supply: int = 0
    decimals: frozenset[int | None] = frozenset()
    buys: tuple[Trade, ...] = ()
    sales: tuple[Trade, ...] = ()
    moves: tuple[Move, ...] = ()
    losses: tuple[Loss, ...] = ()
    foreign_allowances: tuple[str, ...] = ()
    lies: tuple[str, ...] = ()
    switches: tuple[Switch, ...] | None = None
    strange_proxy: bool = False
    background: Background | None = None
    missing: tuple[str, ...] = ()
    interrupted: bool = False
    evidence: tuple[Observation, ...] = field(default=())
