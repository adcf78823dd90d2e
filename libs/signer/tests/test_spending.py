"""Spending caps: within any hour and any day, across restarts, threads and processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from dexlane_signer import (
    DenialReason,
    EntryCap,
    LocalSigner,
    NonceGuard,
    Policy,
    SigningDenied,
    SignRequest,
    SpendingCaps,
    TokenLimit,
    Worth,
)
from dexlane_signer.effects import NATIVE
from dexlane_signer.spending import DAY_S, HOUR_S, Charge, Spending

from .conftest import KEY, NOW_S, ROUTER_ITSELF, US, USDC, WETH, program, transaction, v3

R = DenialReason
GAS_COST = 300_000 * 20 * 10**9
MakePolicy = Callable[..., Policy]


class Desk:
    """A signer whose clock the test moves."""

    def __init__(self, path: Path, policy: Policy) -> None:
        self.now_s = NOW_S
        self.path, self.policy = path, policy
        self.open()

    def open(self) -> None:
        """As after a restart: the same file, an empty memory."""
        self.signer = LocalSigner([KEY], [self.policy], NonceGuard(self.path), clock_s=lambda: self.now_s)

    def trade(self, nonce: int, amount: int = 100, *, path: str = "buy", **changes: Any) -> DenialReason | None:
        data = program(v3(US, amount, 1, path=path), deadline_s=self.now_s + 60)
        fields = {"nonce": nonce, "data": data} | changes
        return self.ask("trade", nonce, **fields)

    def sale(self, nonce: int, amount: int) -> DenialReason | None:
        data = program(v3(US, amount, 1, path="sell"), deadline_s=self.now_s + 60)
        return self.ask("trade", nonce, purpose="exit", nonce=nonce, data=data)

    def cancel(self, nonce: int, **changes: Any) -> DenialReason | None:
        return self.ask(
            "cancel", nonce, **({"nonce": nonce, "to": KEY.address, "data": b"", "gas_limit": 21_000} | changes)
        )

    def ask(self, kind: Any, intent: int, /, purpose: Any = "entry", **fields: Any) -> DenialReason | None:
        request = SignRequest(
            sender=KEY.address,
            intent_id=f"intent {intent}",
            kind=kind,
            transaction=transaction(**fields),
            purpose=purpose,
        )
        try:
            self.signer.sign_transaction(request)
        except SigningDenied as denied:
            return denied.reason
        return None


@pytest.fixture
def desk(tmp_path: Path, make_policy: MakePolicy) -> Callable[..., Desk]:
    def make(*, usdc: dict[str, Any] | None = None, **caps: int) -> Desk:
        limit = TokenLimit(max_allowance=10**6, max_trade=1_000, **(usdc or {}))
        other = TokenLimit(max_allowance=10**6, max_trade=10**6)
        policy = make_policy(tokens={USDC: limit, WETH: other}, caps=SpendingCaps(**caps))
        return Desk(tmp_path / "guard.db", policy)

    return make


@pytest.mark.parametrize(
    ("window_s", "limits", "expected"),
    [(HOUR_S, {"max_hour": 250}, R.HOUR_CAP_TOKEN), (DAY_S, {"max_day": 250}, R.DAY_CAP_TOKEN)],
)
def test_a_token_is_capped_within_any_window(
    desk: Callable[..., Desk], window_s: int, limits: Any, expected: DenialReason
) -> None:
    our = desk(usdc=limits)
    assert our.trade(1) is None
    our.now_s += window_s // 2
    assert our.trade(2) is None
    assert our.trade(3, 51) is expected
    assert our.trade(3, 50) is None, "the cap itself may be reached"
    our.now_s += window_s // 2 - 1
    assert our.trade(4, 1) is expected, "the first is not older than the window yet"
    our.now_s += 1
    assert our.trade(4, 100) is None
    assert our.trade(5, 1) is expected


@pytest.mark.parametrize(
    ("caps", "expected"),
    [
        ({"trades_per_hour": 2}, R.HOUR_CAP_TRADES),
        ({"trades_per_day": 2}, R.DAY_CAP_TRADES),
        ({"gas_wei_per_hour": 2 * GAS_COST}, R.HOUR_CAP_GAS),
        ({"gas_wei_per_day": 2 * GAS_COST}, R.DAY_CAP_GAS),
        ({"value_per_hour": 100}, R.HOUR_CAP_VALUE),
        ({"value_per_day": 100}, R.DAY_CAP_VALUE),
    ],
)
def test_every_cap_has_its_reason_and_outlives_a_restart(
    desk: Callable[..., Desk], caps: Any, expected: DenialReason
) -> None:
    our = desk(usdc={"worth": Worth(1, 2)}, **caps)
    assert our.trade(1) is None
    our.open()
    assert our.trade(2) is None
    assert our.trade(3) is expected
    our.open()
    assert our.trade(3) is expected


def test_one_trade_may_not_be_worth_too_much(desk: Callable[..., Desk]) -> None:
    our = desk(usdc={"worth": Worth(1, 3)}, value_per_trade=100)
    assert our.trade(1, 300) is None
    assert our.trade(2, 301) is R.TRADE_VALUE_CAP, "the value is rounded up"
    assert our.sale(3, 10**6) is None, "a token without a worth counts nothing"


def test_a_replacement_counts_once_with_the_larger_amounts(desk: Callable[..., Desk]) -> None:
    our = desk(usdc={"max_hour": 300}, trades_per_hour=2, gas_wei_per_hour=4 * GAS_COST)
    assert our.trade(1, 100) is None
    assert our.trade(1, 100) is None, "a repetition"
    assert our.trade(1, 100, max_fee_per_gas_wei=40 * 10**9) is None, "gas counts twice as much now"
    assert our.trade(1, 50, max_fee_per_gas_wei=41 * 10**9, gas_limit=200_000) is None, "less, so it counts nothing"
    assert our.trade(1, 200, max_fee_per_gas_wei=40 * 10**9) is None
    assert our.trade(2, 101) is R.HOUR_CAP_TOKEN
    assert our.trade(2, 100) is None
    assert our.trade(3, 1) is R.HOUR_CAP_TOKEN


def test_a_cancel_counts_its_gas_alone_and_has_a_quarter_of_the_cap_for_itself(desk: Callable[..., Desk]) -> None:
    our = desk(gas_wei_per_hour=GAS_COST, trades_per_hour=2)
    assert our.trade(1) is None
    assert our.trade(2) is R.HOUR_CAP_GAS
    assert our.cancel(2) is None
    assert our.cancel(3, gas_limit=54_000) is None, "125 % of the cap to the wei"
    assert our.cancel(4) is R.HOUR_CAP_GAS


@pytest.mark.parametrize(
    ("window_s", "limits", "expected"),
    [(HOUR_S, {"max_hour": 100}, R.HOUR_CAP_TOKEN), (DAY_S, {"max_day": 100}, R.DAY_CAP_TOKEN)],
)
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_trade_that_is_signed_anew_is_within_the_caps_of_that_time(
    desk: Callable[..., Desk], window_s: int, limits: Any, expected: DenialReason, is_restarted: bool
) -> None:
    """Slots that are kept open would else be filled hour by hour, and mined together."""
    our = desk(usdc=limits)
    assert our.trade(1, 100) is None
    our.now_s += window_s
    assert our.trade(2, 100) is None
    if is_restarted:
        our.open()
    assert our.trade(1, 100) is expected
    our.now_s += window_s
    assert our.trade(1, 100) is None
    our.now_s += window_s // 2
    assert our.trade(1, 100) is None, "a replacement counts once"
    our.now_s += window_s // 2
    if is_restarted:
        our.open()
    assert our.trade(3, 1) is expected, "and from its last signature on"
    our.now_s += window_s // 2
    assert our.trade(3, 100) is None


def test_a_larger_replacement_counts_whole_from_then_on(desk: Callable[..., Desk]) -> None:
    our = desk(usdc={"max_hour": 100})
    assert our.trade(1, 60) is None
    our.now_s += HOUR_S // 2
    assert our.trade(1, 100) is None
    our.now_s += HOUR_S // 2
    assert our.trade(2, 1) is R.HOUR_CAP_TOKEN, "the first signature is an hour old, and the second is not"


def test_a_look_with_a_clock_that_is_ahead_forgets_nothing(desk: Callable[..., Desk]) -> None:
    our = desk(usdc={"max_hour": 100})
    assert our.trade(1, 100) is None
    our.now_s += 2 * HOUR_S
    assert our.trade(2, 101) is R.HOUR_CAP_TOKEN
    our.now_s -= 2 * HOUR_S
    assert our.trade(2, 1) is R.HOUR_CAP_TOKEN


def test_what_is_denied_counts_nothing(desk: Callable[..., Desk]) -> None:
    our = desk(usdc={"max_hour": 150})
    assert our.trade(1, 100) is None
    for _ in range(5):
        assert our.trade(2, 51) is R.HOUR_CAP_TOKEN
        assert our.ask("trade", 9, nonce=1, data=program(v3(US, 20, 1))) is R.SLOT_TAKEN
    assert our.trade(2, 50) is None


def test_a_clock_that_goes_back_opens_no_window(desk: Callable[..., Desk]) -> None:
    our = desk(usdc={"max_hour": 100})
    assert our.trade(1, 100) is None
    our.now_s -= 2 * HOUR_S
    assert our.trade(2, 1) is R.HOUR_CAP_TOKEN


def test_wrapped_native_coin_counts_as_native_coin(desk: Callable[..., Desk]) -> None:
    our = desk(trades_per_hour=1)
    wrap = {"to": WETH, "data": bytes.fromhex("d0e30db0"), "value_wei": 5}
    assert our.ask("trade", 1, nonce=1, **wrap) is None
    assert our.ask("trade", 2, nonce=2, **wrap) is R.HOUR_CAP_TRADES


@pytest.mark.parametrize(
    ("limits", "caps", "expected"),
    [
        ({"max_hour": 150}, {}, R.HOUR_CAP_TOKEN),
        ({"max_day": 150}, {}, R.DAY_CAP_TOKEN),
        ({"worth": Worth(1, 1)}, {"value_per_hour": 150}, R.HOUR_CAP_VALUE),
    ],
)
@pytest.mark.parametrize("is_wrapped_on_the_way", [True, False])
def test_the_limit_of_native_coin_is_one_of_its_wrapped_form(
    tmp_path: Path,
    make_policy: MakePolicy,
    *,
    limits: Any,
    caps: Any,
    expected: DenialReason,
    is_wrapped_on_the_way: bool,
) -> None:
    """A book whose quote is the native coin pays with the wrapped one, for which its policy has no entry."""
    largest = TokenLimit(max_allowance=10**30, max_trade=10**30)
    policy = make_policy(
        tokens={NATIVE: replace(largest, **limits)},
        unlisted_token_limit=largest,
        entry_caps={KEY.address: EntryCap(level=10, lane="fast", token=NATIVE, capital=10_000)},
        caps=SpendingCaps(**caps),
    )
    our = Desk(tmp_path / "guard.db", policy)
    wrap = (0x0B, encode(["address", "uint256"], [ROUTER_ITSELF, 100]))
    sale = v3(US, 100, 1, path="sell", user=not is_wrapped_on_the_way)
    paid = {"data": program(wrap, sale), "value_wei": 100} if is_wrapped_on_the_way else {"data": program(sale)}
    assert our.trade(1, **paid) is None
    assert our.trade(2, **paid) is expected


steps = st.lists(st.tuples(st.integers(0, HOUR_S), st.integers(1, 3), st.integers(1, 60)), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_no_hour_ever_holds_more_than_the_cap(tmp_path_factory: pytest.TempPathFactory, made: list[Any]) -> None:
    """Against a list of everything that was admitted, for slots that are used again and again. Of a slot one is mined
    at most, so it counts its largest of a day, for an hour after its last."""
    guard = NonceGuard(tmp_path_factory.mktemp("guard") / "guard.db")
    policy = _policy(100)
    spending, now_s = Spending(), NOW_S
    admitted: dict[int, list[tuple[int, int]]] = {}
    for pause_s, nonce, amount in made:
        now_s += pause_s

        def largest(slot: int, now_s: int = now_s) -> int:
            """Of the signatures up to the first pause of a day."""
            found, later_s = 0, now_s
            for at_s, size in reversed(admitted.get(slot, [])):
                if at_s <= later_s - DAY_S:
                    break
                found, later_s = max(found, size), at_s
            return found

        others = sum(
            largest(slot) for slot, signed in admitted.items() if slot != nonce and signed[-1][0] > now_s - HOUR_S
        )
        own = largest(nonce) if nonce in admitted and admitted[nonce][-1][0] > now_s - HOUR_S else 0
        wanted = max(amount, largest(nonce))
        charge = Charge(chain_id=1, address=KEY.address, nonce=nonce, at_s=now_s, amounts={USDC: amount})
        with guard._transaction() as db:
            denial = spending.charge(db, policy, charge)
        assert (denial is None) == (wanted == own or others + wanted <= 100)
        if denial is None:
            admitted.setdefault(nonce, []).append((now_s, amount))
            signed_s = now_s - HOUR_S
            at_risk = (max([size for at_s, size in slot if at_s > signed_s], default=0) for slot in admitted.values())
            assert sum(at_risk) <= 100


def _policy(max_hour: int) -> Policy:
    return Policy(
        chain_ids=frozenset({1}),
        own_addresses=frozenset({KEY.address}),
        routers={transaction().to: frozenset({"0x3593564c"})},
        permit_spenders=frozenset(),
        tokens={USDC: TokenLimit(max_allowance=0, max_trade=1_000, max_hour=max_hour)},
        entry_caps={KEY.address: EntryCap(level=10, lane="fast", token=USDC, capital=10_000)},
        max_fee_per_gas_wei=100 * 10**9,
        max_gas_limit=1_000_000,
    )


def test_threads_that_race_cannot_exceed_a_cap_together(tmp_path: Path) -> None:
    our = Desk(tmp_path / "guard.db", _policy(1_000))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda nonce: our.trade(nonce, 100), range(1, 17)))
    assert found.count(None) == 10
    assert found.count(R.HOUR_CAP_TOKEN) == 6


def _spend(path: str, first: int, answers: Any) -> None:
    our = Desk(Path(path), _policy(1_000))
    answers.put([our.trade(nonce, 100) for nonce in range(first, first + 8)])


def test_processes_that_race_on_one_file_cannot_exceed_a_cap_together(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    NonceGuard(tmp_path / "guard.db").close()
    racing = [context.Process(target=_spend, args=(str(tmp_path / "guard.db"), 1 + 8 * i, answers)) for i in range(2)]
    for process in racing:
        process.start()
    found = [answer for _ in racing for answer in answers.get(timeout=120)]
    for process in racing:
        process.join(30)
    assert found.count(None) == 10
    assert found.count(R.HOUR_CAP_TOKEN) == 6
