"""What somebody can switch: every function of the token is tried, with many arguments, by everybody who may have a
right.

All of it happens inside ``eth_call``: two holders buy, a function is called in the name of an account (whose address
holds a puppet meanwhile), both holders sell, and everything is taken back before the next function. Arguments are
words that fit most signatures; decoders ignore words too many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dexlane.chain.abi import address
from dexlane.chain.token_check.probe import Step, Told, call, codes, selector
from dexlane.chain.token_check.session import Script
from dexlane.chain.token_check.subject import Subject, delegates, selectors
from dexlane.chain.token_check.venues import FOREVER, PURSE_WEI
from dexlane.domain.risk.token_trial import Switch
from dexlane.values.amounts import BPS_DENOMINATOR

EXPLORE_GAS = 45_000_000
"""Nodes allow at least 50 million to a call by default."""
HOLDER_BPS = 10
TRIED_AT_ONCE = 300
MAX_SELECTORS = 80
MEASURED_AT_ONCE = 60
MAX_MEASURED = 240
_SWITCH_GAS, _TRADE_GAS = 400_000, 1_500_000
_STANDARD = frozenset(
    selector(signature)
    for signature in (
        "name()", "symbol()", "decimals()", "totalSupply()", "balanceOf(address)", "allowance(address,address)",
        "transfer(address,uint256)", "approve(address,uint256)", "transferFrom(address,address,uint256)",
        "increaseAllowance(address,uint256)", "decreaseAllowance(address,uint256)", "owner()", "getOwner()",
        "renounceOwnership()", "transferOwnership(address)", "nonces(address)", "DOMAIN_SEPARATOR()",
        "permit(address,address,uint256,uint256,uint8,bytes32,bytes32)", "version()", "eip712Domain()", "CLOCK_MODE()",
        "clock()", "supportsInterface(bytes4)", "asset()", "implementation()", "admin()", "proxiableUUID()",
        "acceptOwnership()", "pendingOwner()", "paused()", "cap()",
    )
)  # fmt: skip
"""Functions whose meaning is fixed or that change no balance and no switch; ``transferFrom`` is tried as a theft."""
_FIRST_RUNGS = (1, 100, FOREVER)
_NUMBERS = ("(zeros)", "(much)")
_UPGRADES = (selector("upgradeTo(address)"), selector("upgradeToAndCall(address,bytes)"))
_LADDER = (
    1, 2, 3, 5, 10, 15, 20, 25, 30, 50, 75, 99, 100, 150, 200, 300, 500, 1_000, 1_500, 2_000, 3_000, 5_000, 9_000,
    9_900, 10_000, 100_000, 500_000, 1_000_000, 10**9, 10**17, 5 * 10**17, 10**18, (1 << 128) - 1, FOREVER,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call that is tried."""

    step: Step
    caller: str | None
    text: str
    rung: int | None
    """The number that stands in every word; None for other shapes."""
    may_upgrade: bool = False
    """The token can hand calls on to other code."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The accounts of an exploration."""

    probe: str
    named: str
    other: str
    stranger: str
    trap: str


def cast(script: Script) -> Cast:
    """Fresh accounts."""
    return Cast(*(script.who(name) for name in ("explorer", "named", "other", "stranger", "trap")))


def opening(script: Script, played: Cast) -> list[Step]:
    """Two holders buy."""
    subject, pool = script.subject, script.subject.pool
    paid = max(1, pool.reserve_quote * HOLDER_BPS // 10_000)
    steps = [acquire(script, 2 * paid)]
    for who in (played.named, played.other):
        steps.append(Step(pool.quote, call("transfer(address,uint256)", who, paid)))
        steps.append(Step(pool.quote, call("approve(address,uint256)", pool.venue.allowed, FOREVER), who))
    for who in (played.named, played.other):
        bought = pool.venue.swap(paid, (pool.quote, subject.token), who)
        steps.append(Step(pool.venue.allowed, bought, who, gas=_TRADE_GAS))
        allowed = call("approve(address,uint256)", pool.venue.allowed, FOREVER)
        steps.append(Step(subject.token, allowed, who, gas=_SWITCH_GAS))
    return steps


def acquire(script: Script, amount: int) -> Step:
    """The probe buys so much of the quote with ether that it is given."""
    pool, probe = script.subject.pool, script.who("explorer")
    if pool.quote == pool.wrapped:
        script.ether[probe] = 2 * amount
        return Step(pool.wrapped, call("deposit()"), value_wei=amount)
    script.ether[probe] = 2 * PURSE_WEI
    data = pool.venue.acquire(pool.wrapped, pool.quote, amount, probe)
    return Step(pool.venue.allowed, data, gas=_TRADE_GAS, value_wei=PURSE_WEI)


def selling(script: Script, who: str) -> list[Step]:
    """A holder sells everything: what the pool would give, what it holds, the sale, what the holder got."""
    pool, token = script.subject.pool, script.subject.token
    path, at = (token, pool.quote), pool.venue.swap_amount_at
    return [
        replace(pool.venue.quote(0, path), actor=who, all_tokens=True),
        Step(pool.quote, call("balanceOf(address)", pool.pair)),
        Step(pool.venue.allowed, pool.venue.swap(0, path, who), who, _TRADE_GAS, all_tokens=True, amount_at=at),
        Step(pool.quote, call("balanceOf(address)", who)),
    ]


def measuring(script: Script, played: Cast) -> list[Step]:
    """After a switch: supply, balances, and what both holders get."""
    token = script.subject.token
    balances = (played.named, played.other, script.subject.pool.pair, *_gainers(script, played))
    return [
        Step(token, call("totalSupply()")),
        *(Step(token, call("balanceOf(address)", who)) for who in balances),
        *selling(script, played.named),
        *selling(script, played.other),
    ]


def _gainers(script: Script, played: Cast) -> tuple[str, ...]:
    return (*script.subject.callers, played.stranger)


def attempts(script: Script, played: Cast, half: int) -> list[Attempt]:
    """Every function with every shape of arguments, by everybody. ``half`` is half of what a holder has."""
    found = []
    for target, code in script.subject.targets.items():
        place = script.subject.token if target == _implementation(script.subject) else target
        known = _functions(code)[:MAX_SELECTORS]
        if delegates(code):
            known = list(dict.fromkeys([*known, *_UPGRADES]))
        for caller in (*script.subject.callers, None):
            who = caller or played.stranger
            theft = call("transferFrom(address,address,uint256)", played.named, who, half)
            if place == script.subject.token:
                found.append(_attempt(place, who, caller, "transferFrom(holder, itself)", theft))
            around = _Around(
                played, half, script.subject.supply, delegates(script.subject.targets[script.subject.token])
            )
            for each in known:
                found += list(_shapes(place, each, who, caller, around))
    return list({(attempt.step.target, attempt.step.data, attempt.step.actor): attempt for attempt in found}.values())


def _functions(code: bytes) -> list[bytes]:
    return [each for each in selectors(code) if each not in _STANDARD]


def untried(subject: Subject) -> list[str]:
    """A sentence for each contract that has more functions than are tried."""
    counts = (len(_functions(code)) - MAX_SELECTORS for code in subject.targets.values())
    return [f"{beyond} functions were not tried: there are too many" for beyond in counts if beyond > 0]


def _implementation(subject: Subject) -> str | None:
    """Code behind a proxy is called at the proxy; a beacon is called at its own address."""
    behind = [each for each in subject.targets if each != subject.token]
    return behind[0] if behind and len(subject.targets[subject.token]) < 10_000 else None


def _attempt(target: str, who: str, caller: str | None, text: str, data: bytes) -> Attempt:
    return Attempt(Step(target, data, who, gas=_SWITCH_GAS, changing=True), caller, text, None)


_NO_SUPPLY = 1 << 200
"""What a puppet in the place of the token's code answers is larger."""


@dataclass(frozen=True, slots=True)
class _Around:
    """What arguments are made of, and whether the token can hand calls on to other code."""

    played: Cast
    half: int
    supply: int
    delegates: bool


def _shapes(target: str, function: bytes, who: str, caller: str | None, around: _Around) -> Iterator[Attempt]:
    played, half, supply = around.played, around.half, around.supply
    name = "0x" + function.hex()
    shapes: list[tuple[str, tuple[int | str, ...]]] = [
        ("itself, much", (who, supply // 10)),
        ("holder, part", (played.named, half)),
        ("holder, true", (played.named, 1)),
        ("holder, itself, part", (played.named, who, half)),
        ("part, holder", (half, played.named)),
        ("zeros", (0, 0, 0, 0, 0)),
        ("holders, true", (0x40, 1, 1, played.named)),
        ("holders", (0x20, 1, played.named)),
        ("much", (supply // 10, supply // 10)),
    ]
    upgrade = ("another contract", (played.trap, 0x40, 0))
    if around.delegates and function in _UPGRADES:  # to an account that obeys the probe it would only confuse the looks
        shapes = [upgrade]
    else:
        shapes.append(upgrade)
    for text, words in shapes:
        step = Step(target, function + _words(words), who, gas=_SWITCH_GAS, changing=True)
        yield Attempt(step, caller, f"{name}({text})", None, around.delegates)
    for rung in () if shapes == [upgrade] else _FIRST_RUNGS:
        yield _numbered(Step(target, function, who, gas=_SWITCH_GAS, changing=True), caller, rung)


def _numbered(step: Step, caller: str | None, rung: int) -> Attempt:
    function = step.data[:4]
    numbered = replace(step, data=function + rung.to_bytes(32, "big") * 5)
    return Attempt(numbered, caller, f"0x{function.hex()}({rung})", rung)


def climb(first: Sequence[Attempt]) -> list[Attempt]:
    """More numbers for every function that took one from its caller: its bounds are somewhere between."""
    taken = {
        (attempt.step.target, attempt.step.data[:4], attempt.step.actor): attempt
        for attempt in first
        if attempt.rung is not None or attempt.text.endswith(_NUMBERS)
    }
    rest = [rung for rung in _LADDER if rung not in _FIRST_RUNGS]
    return [_numbered(attempt.step, attempt.caller, rung) for attempt in taken.values() for rung in rest]


def _words(words: Sequence[int | str]) -> bytes:
    return b"".join(address(word) if isinstance(word, str) else word.to_bytes(32, "big") for word in words)


def worth_measuring(taken: Sequence[Attempt]) -> list[Attempt]:
    """Of the calls that succeed: all shapes, and of the numbers of each function the lowest and the highest ones."""
    kept: list[Attempt] = []
    rungs: dict[tuple[str, bytes, str], list[Attempt]] = {}
    for attempt in taken:
        if attempt.rung is None:
            kept.append(attempt)
        else:
            key = (attempt.step.target, attempt.step.data[:4], attempt.step.actor)
            rungs.setdefault(key, []).append(attempt)
    for found in rungs.values():
        highest = [max((each for each in found if (each.rung or 0) <= top), key=_rung, default=None) for top in _TOPS]
        found.sort(key=_rung)
        chosen = [found[0], *highest, *found[-2:]]
        kept += list(dict.fromkeys(each for each in chosen if each is not None))
    return kept


_TOPS = (100, 10_000, 10**6, 10**18)


def _rung(attempt: Attempt) -> int:
    return attempt.rung or 0


def overrides(script: Script, played: Cast) -> dict[str, dict[str, str]]:
    """The state of an exploration: probe, puppets and trap."""
    contracts = script.subject.contracts
    found = {
        who: {"code": codes()["Deputy" if who in contracts else "Puppet"]}
        for who in (played.named, played.other, *_gainers(script, played))
    }
    found[played.trap] = {"code": codes()["Trap"]}
    purse_wei = script.ether[played.probe] + 2 * EXPLORE_GAS * script.price_wei
    found[played.probe] = {"code": codes()["Probe"], "balance": hex(purse_wei)}
    return found


def explore_call(script: Script, played: Cast, data: bytes) -> dict[str, str]:
    """The call of an exploration: the probe calls itself, so that it is the origin its puppets obey."""
    call_ = {"from": played.probe, "to": played.probe, "data": "0x" + data.hex(), "gas": hex(EXPLORE_GAS)}
    return call_ | {"maxFeePerGas": hex(script.price_wei), "maxPriorityFeePerGas": hex(10**9)}


@dataclass(frozen=True, slots=True)
class Baseline:
    """What happens without any switch."""

    supply: int
    balances: tuple[int, ...]
    named: tuple[Told, ...]
    other: tuple[Told, ...]

    @property
    def sells(self) -> bool:
        """Whether the first holder can sell. The other one may have to wait for another block, or for another
        origin."""
        return self.named[2].ok


def baseline(told: Sequence[Told], gainers: int) -> Baseline:
    """Read the results of ``measuring``."""
    sales = 1 + 3 + gainers
    balances = tuple(each.value or 0 for each in told[1:sales])
    return Baseline(told[0].value or 0, balances, tuple(told[sales : sales + 4]), tuple(told[sales + 4 : sales + 8]))


def effect(attempt: Attempt, told: Sequence[Told], usual: Baseline, delays: dict[str, int | None]) -> Switch:
    """What a call changed, compared with the baseline."""
    now = baseline(told, len(usual.balances) - 3)
    gained = max(
        (after - before for before, after in zip(usual.balances[3:], now.balances[3:], strict=True)), default=0
    )
    lost = max(before - after for before, after in zip(usual.balances[:3], now.balances[:3], strict=True))
    grown = now.supply - usual.supply
    taken = max(0, lost)
    return Switch(
        call=attempt.text,
        caller=attempt.caller,
        delay_s=None if attempt.caller is None else delays.get(attempt.caller),
        named_sells=now.named[2].ok,
        other_sells=now.other[2].ok if usual.other[2].ok else now.named[2].ok,
        named_tax_bps=_loss_bps(usual.named, now.named),
        other_tax_bps=_loss_bps(usual.other, now.other),
        made=max(grown, gained - taken, 0),
        taken=taken,
        upgrade=attempt.may_upgrade and (told[0].value is None or told[0].value > _NO_SUPPLY),
    )


def _loss_bps(before: Sequence[Told], after: Sequence[Told]) -> int:
    """How much less of the input reaches the pool than its quote says, beyond what the baseline loses already."""
    return max(0, _kept_bps(before) - _kept_bps(after))


def _kept_bps(sale: Sequence[Told]) -> int:
    """By the same formula as the tax of a sale (``token_verdict``)."""
    expected, reserve, received = sale[0].value or 0, sale[1].value or 0, sale[3].value or 0
    if not sale[2].ok or not 0 < expected < reserve:
        return 0
    if received >= expected:
        return BPS_DENOMINATOR
    return BPS_DENOMINATOR * received * (reserve - expected) // (expected * (reserve - received))
