"""What makes a trial safe, unsafe or unknown: what is missing never passes, and more of a bad thing never helps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dexlane.domain.risk.evidence import Flag
from dexlane.domain.risk.token_changes import turned
from dexlane.domain.risk.token_trial import Kind, Loss, Move, Switch, TokenTrial, Trade
from dexlane.domain.risk.token_verdict import TokenVerdict, TrialLimits, judge, trial_facts

TOKEN, KEEPER = "0x" + "7" * 40, "0x" + "8" * 40
POOL = "0x" + "9" * 40
LIMITS = TrialLimits()
RESERVE = 10**24
GOOD = 10**20


def trade(kind: Kind, *, buys: bool = False, trader: str = "size 1", **fields: object) -> Trade:
    values = {"amount": GOOD, "expected": GOOD, "received": GOOD, "reserve_out": RESERVE, "ok": True, "gas": 100_000}
    return Trade(kind=kind, buys=buys, trader=trader, **(values | fields))  # type: ignore[arg-type]


def switch(**fields: object) -> Switch:
    values = {"call": "0x12345678(1)", "caller": KEEPER, "delay_s": None, "named_sells": True, "other_sells": True}
    return Switch(**(values | {"named_tax_bps": 0, "other_tax_bps": 0} | fields))  # type: ignore[arg-type]


SAFE = TokenTrial(
    token=TOKEN,
    block=100,
    method="eth_simulateV1",
    supply=10**27,
    decimals=frozenset({18}),
    buys=(trade(Kind.SIZE, buys=True),),
    sales=(trade(Kind.SIZE), trade(Kind.WAIT, trader="wait day"), trade(Kind.FAR, trader="far")),
    moves=(Move(kind=Kind.GIVEN, sent=GOOD, left=GOOD, arrived=GOOD, ok=True),),
    switches=(),
)


def verdict(trial: TokenTrial, **options: bool) -> TokenVerdict:
    return judge(trial, LIMITS, **options)


def test_a_token_that_shows_everything_is_safe() -> None:
    found = verdict(SAFE)
    assert (found.verdict, found.flags) == ("safe", ())
    assert (found.buy_tax_bps, found.sell_tax_bps, found.transfer_tax_bps) == (0, 0, 0)
    assert [(size.amount, size.ok) for size in found.can_sell] == [(GOOD, True)]


@pytest.mark.parametrize(
    "gone",
    [
        {"buys": ()},
        {"sales": ()},
        {"sales": SAFE.sales[:2]},
        {"sales": SAFE.sales[1:]},
        {"switches": None},
        {"decimals": frozenset()},
        {"decimals": frozenset({None})},
        {"missing": ("the node went away",)},
        {"strange_proxy": True},
        {"method": "eth_call"},
    ],
    ids=lambda gone: next(iter(gone)),
)
def test_what_was_not_seen_is_unknown_and_never_safe(gone: dict[str, object]) -> None:
    assert verdict(replace(SAFE, **gone)).verdict == "unknown"  # type: ignore[arg-type]


DUST = {"expected": 9_000, "received": 900}
"""In a pool of dust a sale that loses nine tenths is too small to measure its tax."""


@pytest.mark.parametrize(
    ("unmeasured", "name"),
    [
        ({"buys": (trade(Kind.SIZE, buys=True, **DUST),)}, "purchase"),
        ({"sales": tuple(trade(kind, **DUST) for kind in (Kind.SIZE, Kind.WAIT, Kind.FAR))}, "sale"),
        ({"moves": ()}, "transfer"),
        ({"moves": (replace(SAFE.moves[0], sent=9_000, left=9_000, arrived=900),)}, "transfer"),
    ],
    ids=["purchase", "sale", "no transfer", "transfer"],
)
def test_a_tax_that_was_not_measured_is_unknown_and_never_safe(unmeasured: dict[str, object], name: str) -> None:
    found = verdict(replace(SAFE, **unmeasured))  # type: ignore[arg-type]
    assert found.verdict == "unknown"
    assert [finding.reason for finding in found.findings] == [f"the tax of a {name} was not measured"]


def test_no_contract_is_unsafe() -> None:
    found = verdict(TokenTrial(token=TOKEN, block=1, is_token=False, missing=("there is no contract",)))
    assert (found.verdict, found.flags) == ("unsafe", ("no_token",))
    assert (found.buy_tax_bps, found.sell_tax_bps, found.can_sell) == (None, None, ())


@pytest.mark.parametrize(
    ("kind", "flag"),
    [
        (Kind.WAIT, "sell_stops"),
        (Kind.FAR, "sell_stops"),
        (Kind.HALF, "sell_limit"),
        (Kind.REST, "sell_once"),
        (Kind.AGAIN, "sell_once"),
        (Kind.GIVEN, "gift_trap"),
        (Kind.PULLED, "gift_trap"),
        (Kind.LATE, "first_buyers"),
    ],
)
def test_each_sale_that_fails_has_its_flag(kind: Kind, flag: str) -> None:
    found = verdict(replace(SAFE, sales=(*SAFE.sales, trade(kind, ok=False, reason="no"))))
    assert (found.verdict, found.flags) == ("unsafe", (flag,))


def test_sales_of_some_sizes_alone_are_a_limit_and_of_none_a_trap() -> None:
    large = trade(Kind.SIZE, trader="size 2", amount=2 * GOOD, ok=False, reason="too much")
    assert verdict(replace(SAFE, sales=(*SAFE.sales, large))).flags == ("sell_limit",)
    none = (trade(Kind.SIZE, ok=False, reason="no"), *SAFE.sales[1:])
    assert verdict(replace(SAFE, sales=none)).flags == ("cannot_sell",)


def test_a_short_pause_after_a_purchase_is_told_and_a_long_one_is_unsafe() -> None:
    first = trade(Kind.SIZE, ok=False, reason="wait")
    for waited, expected in ((372, "safe"), (LIMITS.max_cool_down_s + 1, "unsafe")):
        sales = (first, trade(Kind.RETRY, waited_s=waited), *SAFE.sales[1:])
        found = verdict(replace(SAFE, sales=sales))
        assert (found.verdict, found.flags) == (expected, ("cool_down",))
        assert found.can_sell[0].ok is True


def test_a_refused_purchase_of_one_size_is_only_told() -> None:
    refused = trade(Kind.SIZE, buys=True, trader="size 2", ok=False, received=0, reason="max wallet")
    found = verdict(replace(SAFE, buys=(*SAFE.buys, refused)))
    assert (found.verdict, found.flags) == ("safe", ("buy_limit",))
    assert {size.ok for size in found.can_sell} == {True, None}


@pytest.mark.parametrize(
    ("found", "flag"),
    [
        ({"losses": (Loss(holder="idle", before=GOOD, after=GOOD * 9 // 10, within_s=60),)}, "balance_leak"),
        ({"foreign_allowances": (KEEPER,)}, "approve_trap"),
        ({"lies": ("it tells two numbers",)}, "lying_balance"),
        ({"decimals": frozenset({18, 6})}, "lying_decimals"),
        ({"sales": (*SAFE.sales, trade(Kind.LATE, made=10**24))}, "hidden_mint"),
        ({"sales": (*SAFE.sales, trade(Kind.LATE, gas=LIMITS.max_trade_gas + 1))}, "gas_heavy"),
        ({"moves": (*SAFE.moves, replace(SAFE.moves[0], ok=False))}, "no_transfer"),
        ({"moves": (replace(SAFE.moves[0], arrived=GOOD // 2),)}, "transfer_tax"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_each_harm_has_its_flag(found: dict[str, object], flag: str) -> None:
    judged = verdict(replace(SAFE, **found))  # type: ignore[arg-type]
    assert (judged.verdict, judged.flags) == ("unsafe", (flag,))


def test_dust_that_rounding_takes_is_no_leak() -> None:
    assert verdict(replace(SAFE, losses=(Loss(holder="idle", before=3, after=1, within_s=60),))).verdict == "safe"


@pytest.mark.parametrize(
    ("effect", "flag"),
    [
        ({"named_sells": False}, "blacklist"),
        ({"named_sells": False, "other_sells": False}, "pausable"),
        ({"named_tax_bps": 5_000}, "fee_setter"),
        ({"made": 10**26}, "hidden_mint"),
        ({"taken": 10**18}, "balance_leak"),
        ({"upgrade": True}, "proxy"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_switch_of_one_key_is_unsafe_unless_a_timelock_or_a_known_issuer_holds_it(
    effect: dict[str, object], flag: str
) -> None:
    for delay, known, expected in (
        (None, False, "unsafe"),
        (3_600, False, "unsafe"),
        (86_400, False, "safe"),
        (None, True, "safe"),
    ):
        found = verdict(replace(SAFE, switches=(switch(delay_s=delay, **effect),)), known_issuer=known)
        assert (found.verdict, found.flags) == (expected, (flag,))
    anybody = replace(SAFE, switches=(switch(caller=None, delay_s=86_400, **effect),))
    assert verdict(anybody, known_issuer=True).verdict == "unsafe"


def test_a_switch_without_much_effect_is_nothing() -> None:
    harmless = switch(named_tax_bps=500, made=10**20)
    assert verdict(replace(SAFE, switches=(harmless,))).flags == ()


@given(
    expected=st.integers(10**4, 10**23), kept=st.integers(0, 10_000), more=st.integers(0, 10_000), buys=st.booleans()
)
def test_a_higher_tax_never_makes_a_token_safer(expected: int, kept: int, more: int, *, buys: bool) -> None:
    def taxed(share: int) -> tuple[int, int]:
        one = trade(Kind.AGAIN, buys=buys, expected=expected, received=expected * share // 10_000)
        trial = replace(SAFE, buys=(*SAFE.buys, one)) if buys else replace(SAFE, sales=(*SAFE.sales, one))
        found = verdict(trial)
        tax = found.buy_tax_bps if buys else found.sell_tax_bps
        assert tax is not None
        return tax, {"safe": 0, "unsafe": 1}[found.verdict]

    low, high = sorted((kept, more))
    assert taxed(high) <= taxed(low)


@given(
    amount=st.integers(10**12, 10**21),
    reserves=st.tuples(st.integers(10**20, 10**26), st.integers(10**20, 10**26)),
    tax=st.integers(0, 9_900),
)
def test_the_tax_of_a_sale_is_what_never_reached_the_pool(amount: int, reserves: tuple[int, int], tax: int) -> None:
    def out(sold: int) -> int:
        return sold * 997 * reserves[1] // (reserves[0] * 1_000 + sold * 997)

    arrived = amount * (10_000 - tax) // 10_000
    if not 10**6 < out(amount) < reserves[1] or out(arrived) < 10**6:
        return
    one = trade(Kind.AGAIN, expected=out(amount), received=out(arrived), reserve_out=reserves[1])
    measured = verdict(replace(SAFE, sales=(*SAFE.sales, one))).sell_tax_bps
    assert measured is not None
    assert abs(measured - tax) <= 1


def test_facts_carry_what_decided_and_tell_when_a_token_turns() -> None:
    safe = trial_facts(TOKEN, verdict(replace(SAFE, pool=POOL)))
    assert safe.pool == POOL
    taxed = (*SAFE.sales, trade(Kind.AGAIN, received=GOOD * 93 // 100))
    dearer = trial_facts(TOKEN, verdict(replace(SAFE, sales=taxed)))
    bad = trial_facts(TOKEN, verdict(replace(SAFE, sales=(*SAFE.sales, trade(Kind.LATE, ok=False, reason="no")))))
    assert safe.reasons == ()
    assert bad.reasons
    assert [each.flag for each in turned(safe, dearer)] == [Flag.TAX_RAISED]
    assert [each.flag for each in turned(safe, bad)] == [Flag.FAILED_TRIAL]
    assert [each.flag for each in turned(None, bad)] == [Flag.FAILED_TRIAL]
    assert turned(bad, bad) == ()
    assert turned(None, safe) == ()
