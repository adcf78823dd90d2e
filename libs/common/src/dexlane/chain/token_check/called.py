"""Trading within one ``eth_call``, for nodes that simulate no blocks: the holders have code, and no time passes.

It sees less, so it can find a token unsafe but never safe (``token_verdict``): a trap that knows a simulation by its
origin or producer, or that springs at the second sale, stays hidden here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dexlane.chain.token_check import switches
from dexlane.chain.token_check.asking import Node
from dexlane.chain.token_check.probe import Step, Told, call, codes, exploration, read_exploration
from dexlane.chain.token_check.session import SIZES_BPS, Script
from dexlane.chain.token_check.subject import Subject
from dexlane.chain.token_check.trading import part_given
from dexlane.chain.token_check.venues import FOREVER
from dexlane.domain.risk.token_trial import Kind, Move, Trade

_TRADE_GAS, _CALL_GAS = 1_500_000, 500_000
_PER_PURCHASE, _PER_SALE = 7, 4


@dataclass(frozen=True, slots=True)
class Called:
    """What the call saw."""

    buys: tuple[Trade, ...]
    sales: tuple[Trade, ...]
    moves: tuple[Move, ...]


async def trade_in_a_call(node: Node, subject: Subject) -> Called:
    """Purchases and sales of every size, and a gift that is sold. Raises ``RpcError`` and ``ProbeError``."""
    script = Script(subject)
    played = switches.cast(script)
    reserve = subject.pool.reserve_quote
    paid = {f"size {bps}": max(1, reserve * bps // 10_000) for bps in SIZES_BPS}
    steps = [switches.acquire(script, sum(paid.values()))]
    for name, amount in paid.items():
        steps += _purchase(script, name, amount)
    steps += _gift(script)
    for name in (*paid, "given"):
        steps += switches.selling(script, script.who(name))
    people = [script.who(name) for name in (*paid, "given")]
    state = switches.overrides(script, played) | {who: {"code": codes()["Puppet"]} for who in people}
    asked = switches.explore_call(script, played, exploration(subject.token, steps))
    answer = await node.call("eth_call", asked, hex(subject.head.number), state)
    told = read_exploration(bytes.fromhex(str(answer)[2:]), len(steps), 0, 0).steps[1:]
    return _read(subject, paid, told)


def _purchase(script: Script, name: str, amount: int) -> list[Step]:
    pool, token, who = script.subject.pool, script.subject.token, script.who(name)
    path = (pool.quote, token)
    return [
        Step(pool.quote, call("transfer(address,uint256)", who, amount)),
        Step(pool.quote, call("approve(address,uint256)", pool.venue.allowed, FOREVER), who),
        pool.venue.quote(amount, path),
        Step(token, call("balanceOf(address)", pool.pair)),
        Step(pool.venue.allowed, pool.venue.swap(amount, path, who), who, gas=_TRADE_GAS),
        Step(token, call("balanceOf(address)", who)),
        Step(token, call("approve(address,uint256)", pool.venue.allowed, FOREVER), who, gas=_CALL_GAS),
    ]


def _gift(script: Script) -> list[Step]:
    token, given = script.subject.token, script.who("given")
    giver, part = script.who(f"size {SIZES_BPS[1]}"), part_given(script.subject)
    return [
        Step(token, call("balanceOf(address)", giver)),
        Step(token, call("transfer(address,uint256)", given, part), giver, gas=_CALL_GAS),
        Step(token, call("balanceOf(address)", giver)),
        Step(token, call("balanceOf(address)", given)),
        Step(token, call("approve(address,uint256)", script.subject.pool.venue.allowed, FOREVER), given, gas=_CALL_GAS),
    ]


def _read(subject: Subject, paid: dict[str, int], told: Sequence[Told]) -> Called:
    buys, held, at = [], {}, 0
    for name, amount in paid.items():
        buys.append(_bought(name, amount, told[at : at + _PER_PURCHASE]))
        held[name] = buys[-1].received
        at += _PER_PURCHASE
    before, gift, after, arrived, _ = told[at : at + 5]
    part = part_given(subject)
    move = Move(
        kind=Kind.GIVEN,
        sent=part,
        left=(before.value or 0) - (after.value or 0),
        arrived=arrived.value or 0,
        ok=gift.ok,
        reason="" if gift.ok else "it reverts",
        gas=gift.gas,
    )
    held[f"size {SIZES_BPS[1]}"] -= move.left
    held["given"] = move.arrived
    sales, at = [], at + 5
    for name, amount in held.items():
        if amount > 0:
            sales.append(_sold(name, amount, told[at : at + _PER_SALE]))
        at += _PER_SALE
    return Called(tuple(buys), tuple(sales), (move,))


def _bought(name: str, amount: int, told: Sequence[Told]) -> Trade:
    _, _, expected, reserve, purchase, received, _ = told
    return Trade(
        kind=Kind.SIZE,
        buys=True,
        trader=name,
        amount=amount,
        expected=expected.value or 0,
        received=received.value or 0,
        reserve_out=reserve.value or 0,
        ok=purchase.ok,
        reason="" if purchase.ok else "it reverts",
        gas=max(0, purchase.gas - expected.gas),
    )


def _sold(name: str, amount: int, told: Sequence[Told]) -> Trade:
    expected, reserve, sale, received = told
    return Trade(
        kind=Kind.GIVEN if name == "given" else Kind.SIZE,
        buys=False,
        trader=name,
        amount=amount,
        expected=expected.value or 0,
        received=received.value or 0,
        reserve_out=reserve.value or 0,
        ok=sale.ok,
        reason="" if sale.ok else "it reverts",
        gas=max(0, sale.gas - expected.gas),
    )
