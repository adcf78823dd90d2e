"""The two runs of a session: who trades when, and what it says about the token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from dexlane.chain.token_check.probe import Step, Told, call
from dexlane.chain.token_check.session import (
    CROWD,
    MOMENTS,
    SIZES_BPS,
    TRADE_GAS,
    USUAL_BPS,
    Buyer,
    Called,
    Sale,
    Script,
    Sent,
    acquire,
    after_look,
    before_look,
    buyers,
    watched,
    world_look,
)
from dexlane.chain.token_check.subject import Subject
from dexlane.chain.token_check.venues import FOREVER
from dexlane.domain.risk.token_trial import Kind, Loss, Move, Trade

_MEMBERS = (*(f"size {bps}" for bps in SIZES_BPS), *(f"wait {each}" for each in ("minute", "hour", "day", "month")))
NAMES = (*_MEMBERS, "giver", "given", "lender", "pulled", "repeat", "idle", "late")
_BUYS_LATER = {"hour": "repeat", "day": "late"}
_ECHO_GAS = 150_000


@dataclass
class Run:
    """One run under construction: its script, its sales, and who did something in which block."""

    script: Script
    sales: Sequence[Sale]
    active: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in MOMENTS})

    @property
    def usual(self) -> int:
        """What a purchase of the usual size costs."""
        return max(1, self.script.subject.pool.reserve_quote * USUAL_BPS // 10_000)


def build(subject: Subject, sales: Sequence[Sale] = ()) -> Run:
    """Write a run. Purchases are only looked at closely in the first one, which has no sales."""
    run = Run(Script(subject), sales)
    _first_purchases(run, list(buyers(subject)))
    _transfers(run)
    for moment in MOMENTS:
        for sale in sales:
            if sale.moment == moment:
                _sell(run, sale)
        if moment == "day":
            _crowd(run)
        if moment in _BUYS_LATER:
            _buy(run, moment, _BUYS_LATER[moment], run.usual, f"later {_BUYS_LATER[moment]}")
        if moment == "next":
            idle = run.script.who("idle")
            run.script.send(moment, "echo", Sent(idle, subject.token, call("balanceOf(address)", idle), _ECHO_GAS))
        run.script.look(moment, f"world {moment}", world_look(run.script, NAMES))
    return run


def _first_purchases(run: Run, first: Sequence[Buyer]) -> None:
    script, pool = run.script, run.script.subject.pool
    crowd_each = max(1, run.usual // 10)
    paid = {buyer.name: buyer.paid for buyer in first}
    paid["repeat"] += run.usual
    paid["late"] = run.usual
    paid |= {f"crowd {number}": crowd_each for number in range(CROWD)}
    bank = acquire(script, "buy", sum(paid.values()))
    for name, amount in paid.items():
        funded = call("transfer(address,uint256)", script.who(name), amount)
        script.send("buy", f"fund {name}", Sent(bank, pool.quote, funded))
        data = call("approve(address,uint256)", pool.venue.allowed, FOREVER)
        script.send("buy", f"permit {name}", Sent(script.who(name), pool.quote, data))
    for buyer in first:
        _buy(run, "buy", buyer.name, buyer.paid, f"buy {buyer.name}")
        _let_router(run, "buy", buyer.name)


def _buy(run: Run, moment: str, name: str, amount: int, key: str) -> None:
    script, pool = run.script, run.script.subject.pool
    path, trader = (pool.quote, script.subject.token), script.who(name)
    closely = not run.sales
    if closely:
        script.look(moment, f"before {key}", before_look(script, trader, amount, path))
    script.send(moment, key, Sent(trader, pool.venue.allowed, pool.venue.swap(amount, path, trader), TRADE_GAS))
    if closely:
        script.look(moment, f"after {key}", after_look(script, trader, path))
    run.active[moment].add(name)


def _sell(run: Run, sale: Sale) -> None:
    script, pool = run.script, run.script.subject.pool
    path, trader = (script.subject.token, pool.quote), script.who(sale.trader)
    if sale.kind in {Kind.GIVEN, Kind.PULLED, Kind.LATE}:
        _let_router(run, sale.moment, sale.trader)
    script.look(sale.moment, f"before {sale.key}", before_look(script, trader, sale.amount, path))
    sold = Sent(trader, pool.venue.allowed, pool.venue.swap(sale.amount, path, trader), TRADE_GAS)
    script.send(sale.moment, sale.key, sold)
    script.look(sale.moment, f"after {sale.key}", after_look(script, trader, path))
    run.active[sale.moment].add(sale.trader)


def _let_router(run: Run, moment: str, name: str) -> None:
    script = run.script
    data = call("approve(address,uint256)", script.subject.pool.venue.allowed, FOREVER)
    script.send(moment, f"allow {name} {moment}", Sent(script.who(name), script.subject.token, data))


def _crowd(run: Run) -> None:
    """Many small purchases: what only the first buyers may do ends here."""
    script, pool = run.script, run.script.subject.pool
    for number in range(CROWD):
        trader = script.who(f"crowd {number}")
        data = pool.venue.swap(max(1, run.usual // 10), (pool.quote, script.subject.token), trader)
        script.send("day", f"crowd {number}", Sent(trader, pool.venue.allowed, data, TRADE_GAS))


def part_given(subject: Subject) -> int:
    """How much is given on: a quarter of what the usual purchase brings before taxes, so that it is surely there."""
    pool = subject.pool
    bought, usual = first_amounts(subject)
    if pool.last_purchase is not None:
        return pool.last_purchase // 4
    return usual * pool.reserve_quote * pool.reserve_token // (pool.reserve_quote + bought) ** 2 // 4


def first_amounts(subject: Subject) -> tuple[int, int]:
    """What all first buyers pay together, and what the usual purchase costs."""
    usual = max(1, subject.pool.reserve_quote * USUAL_BPS // 10_000)
    return sum(buyer.paid for buyer in buyers(subject)), usual


def _transfers(run: Run) -> None:
    script, token, part = run.script, run.script.subject.token, part_given(run.script.subject)
    giver, given, lender, pulled = (script.who(name) for name in ("giver", "given", "lender", "pulled"))
    friend = script.who("friend")
    _watch_move(run, "before gift", (giver, given))
    script.send("next", "gift", Sent(giver, token, call("transfer(address,uint256)", given, part)))
    _watch_move(run, "after gift", (giver, given))
    script.send("next", "lend", Sent(lender, token, call("approve(address,uint256)", friend, part)))
    _watch_move(run, "before pull", (lender, pulled))
    data = call("transferFrom(address,address,uint256)", lender, pulled, part)
    script.send("next", "pull", Sent(friend, token, data))
    _watch_move(run, "after pull", (lender, pulled))
    run.active["next"] |= {"giver", "given", "lender", "pulled"}


def _watch_move(run: Run, key: str, accounts: tuple[str, str]) -> None:
    token = run.script.subject.token
    run.script.look("next", key, [Step(token, call("balanceOf(address)", who)) for who in accounts])


@dataclass(frozen=True)
class Reading:
    """The results of a run."""

    run: Run
    results: Mapping[str, Called]

    def seen(self, key: str) -> tuple[Told, ...]:
        """What a look saw. Raises ``ProbeError``."""
        return self.run.script.seen(self.results, key)

    def world(self, moment: str) -> dict[str, int | None]:
        """Everybody's balance at the end of a block; None where the token gave no number."""
        told = self.seen(f"world {moment}")[1 + len(self.run.script.subject.callers) :]
        return {name: each.value for name, each in zip(NAMES, told, strict=True)}

    def trade(self, key: str, kind: Kind, name: str, amount: int, *, waited_s: int = 0) -> Trade:
        """A trade by what was seen around it."""
        (quote, *before), after = self.seen(f"before {key}"), self.seen(f"after {key}")
        called, buys = self.results[key], key.startswith(("buy ", "later "))
        own = 2 if buys else 1
        return Trade(
            kind=kind,
            buys=buys,
            trader=name,
            amount=amount,
            expected=quote.value or 0,
            received=(after[own].value or 0) - (before[own].value or 0),
            reserve_out=before[0].value or 0,
            ok=called.ok,
            reason=called.reason,
            gas=max(0, called.gas - quote.gas),
            waited_s=waited_s,
            made=self._made(before, after, name),
        )

    def _made(self, before: Sequence[Told], after: Sequence[Told], name: str) -> int:
        """What the supply grew by, or all watched balances together: nothing but new tokens explains either."""
        trader = self.run.script.who(name)
        apart = [] if trader in watched(self.run.script) else [2]
        places = [*apart, *range(4, len(before))]
        grown = sum((after[at].value or 0) - (before[at].value or 0) for at in places)
        return max((after[3].value or 0) - (before[3].value or 0), grown, 0)

    def moves(self) -> tuple[Move, ...]:
        """The two transfers."""
        return tuple(self._move(kind, key) for kind, key in ((Kind.GIVEN, "gift"), (Kind.PULLED, "pull")))

    def _move(self, kind: Kind, key: str) -> Move:
        before, after, called = self.seen(f"before {key}"), self.seen(f"after {key}"), self.results[key]
        numbers = [each.value or 0 for each in (*before, *after)]
        return Move(
            kind=kind,
            sent=part_given(self.run.script.subject),
            left=numbers[0] - numbers[2],
            arrived=numbers[3] - numbers[1],
            ok=called.ok,
            reason=called.reason,
            gas=called.gas,
        )

    def losses(self) -> tuple[Loss, ...]:
        """What accounts lost in blocks in which they did nothing."""
        found: list[Loss] = []
        for earlier, later in pairwise(MOMENTS):
            before, after = self.world(earlier), self.world(later)
            within = MOMENTS[later].seconds - MOMENTS[earlier].seconds
            found.extend(
                Loss(holder=name, before=had, after=has, within_s=within)
                for name in NAMES
                if name not in self.run.active[later] and (had := before[name] or 0) > (has := after[name] or 0)
            )
        return tuple(found)

    def decimals(self) -> frozenset[int | None]:
        """Every answer of ``decimals()``."""
        told = (self.seen(f"world {moment}")[0].value for moment in MOMENTS)
        return frozenset(value if value is not None and value <= 77 else None for value in told)

    def foreign_allowances(self) -> tuple[str, ...]:
        """Who may take tokens of the idle account, which allowed only the router to."""
        callers = self.run.script.subject.callers
        told = self.seen("world buy")[1 : 1 + len(callers)]
        return tuple(who for who, each in zip(callers, told, strict=True) if each.value)

    def lies(self) -> tuple[str, ...]:
        """Answers of ``balanceOf`` that depend on who asks."""
        echo, seen = self.results["echo"], self.world("next")["idle"]
        if not echo.ok or len(echo.data) < 32:
            return ("balanceOf() fails when the holder himself asks",)
        own = int.from_bytes(echo.data[:32], "big")
        return () if own == seen else (f"balanceOf() tells the holder {own} and others {seen}",)


def plan_sales(first: Reading) -> list[Sale]:
    """The sales of the second run, from what everybody holds in the first."""
    worlds: Callable[[str, str], int] = lambda moment, name: first.world(moment)[name] or 0  # noqa: E731
    found = []
    for bps in SIZES_BPS:
        name = f"size {bps}"
        found.append(Sale(f"sell {name}", name, Kind.SIZE, "next", worlds("next", name)))
        found.append(Sale(f"retry {name}", name, Kind.RETRY, "minutes", worlds("minutes", name)))
    for moment in ("minute", "hour", "day", "month"):
        name = f"wait {moment}"
        found.append(Sale(f"sell {name}", name, Kind.WAIT, moment, worlds(moment, name)))
    found.append(Sale("sell given", "given", Kind.GIVEN, "minute", worlds("minute", "given")))
    found.append(Sale("sell pulled", "pulled", Kind.PULLED, "minutes", worlds("minutes", "pulled")))
    half = worlds("minute", "repeat") // 2
    found.append(Sale("sell half", "repeat", Kind.HALF, "minute", half))
    found.append(Sale("sell rest", "repeat", Kind.REST, "minutes", max(0, worlds("minutes", "repeat") - half - 4)))
    for key, name, kind, moment in (
        ("again", "repeat", Kind.AGAIN, "day"),
        ("late", "late", Kind.LATE, "month"),
    ):
        # In the second run others have sold before, so the same money buys at least as much; a tenth is for rounding.
        bought = first.trade(f"later {name}", kind, name, first.run.usual).received
        found.append(Sale(f"sell {key}", name, kind, moment, bought * 9 // 10))
    return [sale for sale in found if sale.amount > 0]


def purchases(first: Reading) -> list[Trade]:
    """The purchases of the first run."""
    found = []
    for buyer in buyers(first.run.script.subject):
        kind = Kind.SIZE if buyer.kind == "size" else Kind.WAIT
        found.append(first.trade(f"buy {buyer.name}", kind, buyer.name, buyer.paid))
    found.append(first.trade("later repeat", Kind.AGAIN, "repeat", first.run.usual))
    found.append(first.trade("later late", Kind.LATE, "late", first.run.usual))
    return found


def sales(second: Reading) -> list[Trade]:
    """The sales of the second run; a retry counts only where the first attempt had failed."""
    bought_at = {"again": MOMENTS["hour"].seconds, "late": MOMENTS["day"].seconds}
    failed = {sale.trader for sale in second.run.sales if sale.kind is Kind.SIZE and not second.results[sale.key].ok}
    found = []
    for sale in second.run.sales:
        if sale.kind is Kind.RETRY and sale.trader not in failed:
            continue
        began = bought_at.get(sale.kind, MOMENTS["buy"].seconds)
        waited = MOMENTS[sale.moment].seconds - began
        found.append(second.trade(sale.key, Kind(sale.kind), sale.trader, sale.amount, waited_s=waited))
    return found
