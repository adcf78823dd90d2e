"""Exact quotes: how many a second, beside the contract's plain walk and npm's v3-sdk, and what keeping tables costs.

Rates are the best of several rounds by processor time, taken in turns, so that other work on the machine tells less.
"""

from __future__ import annotations

import gc
import gzip
import json
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dexlane.domain.amm import concentrated, constant_product
from dexlane.domain.amm.concentrated import Order, TickSwap
from dexlane.domain.amm.deltas import apply_burn, apply_mint
from dexlane.domain.amm.quoting import quote_exact_in
from dexlane.domain.amm.tick_tables import TABLES
from dexlane.testing.builders import USDC, a_pool_v2, a_pool_v3
from dexlane.testing.plain_walk import PlainPool, walk
from dexlane.values.pools import ConcentratedState, Pool, Tick

RECORDED = Path(__file__).parents[1] / "libs/common/tests/golden/uniswap_v3_quotes.json.gz"
SDK = "@uniswap/v3-sdk@3.31.5"
DEVNET_LIKE = "0x88e6a0c2ddd26feeb64f039a2c41296fcb3f5640"
ROUNDS = 20

Quoted = tuple[PlainPool, Order, int]


def run(cache: Path = Path(".dexlane/cache/bench")) -> None:
    """Measure and print."""
    print(_v2())
    recorded = recorded_quotes()
    _sdk(cache, _v3(recorded))
    _typical()
    _upkeep()


def recorded_quotes() -> list[Quoted]:
    """Pool, order and the recorded other amount, 1,200 times."""
    work: list[Quoted] = []
    for pool in json.loads(gzip.decompress(RECORDED.read_bytes())):
        ticks = tuple(Tick(index, int(gross), int(net)) for index, gross, net in pool["ticks"])
        for direction in pool["directions"]:
            state = ConcentratedState(
                sqrt_price_x96=direction["sqrt_price_x96"], tick=pool["tick"], liquidity=pool["liquidity"], ticks=ticks
            )
            plain = PlainPool(state, pool["fee_pips"], pool["tick_spacing"])
            down = direction["token_in"] == pool["token0"]
            work += [
                (plain, Order(down, exact_in, int(specified)), int(calculated))
                for exact_in, specified, calculated in direction["quotes"]
            ]
    return work


def by_tables(pool: PlainPool, order: Order) -> TickSwap:
    """The product's swap."""
    return concentrated.swap(pool.state, pool.fee_pips, pool.spacing, order)


def _v3(work: list[Quoted]) -> float:
    exact = same = 0
    for pool, order, calculated in work:
        swap = by_tables(pool, order)
        exact += (swap.amount_out if order.exact_in else swap.amount_in) == calculated
        same += swap == walk(pool, order)
    partial = sum(by_tables(pool, order).remaining > 0 for pool, order, _ in work)
    print(f"V3, recorded quotes: {exact} of {len(work)} exact, {partial} drain their pool;")
    print(f"  next state, fee, ticks and words as in the contract's walk: {same} of {len(work)}")
    TABLES.clear()
    cold = _processor_s(lambda: _all(by_tables, work))
    plain, tables = [], []
    for _ in range(ROUNDS):
        tables.append(_processor_s(lambda: _all(by_tables, work)))
        if len(plain) < 3:
            plain.append(_processor_s(lambda: _all(walk, work)))
    rate, plain_rate = len(work) / min(tables), len(work) / min(plain)
    print(
        f"  {rate:,.0f}/s with next price, tick and liquidity: {rate / plain_rate:.0f} times the plain walk (aim 60),"
    )
    print(f"  which does {plain_rate:,.0f}/s; {len(work) / cold:,.0f}/s when every table has to be made first")
    return rate


def _all(quote: Callable[[PlainPool, Order], TickSwap], work: list[Quoted]) -> None:
    for pool, order, _ in work:
        quote(pool, order)


def _v2() -> str:
    dice = random.Random(1)  # noqa: S311 - the same orders each time
    reserve, size = (lambda: dice.randrange(1 << 60, 1 << 90)), (lambda: dice.randrange(1 << 20, 1 << 70))
    orders = [(reserve(), reserve(), 3_000, size()) for _ in range(100_000)]
    sell, buy = constant_product.sell, constant_product.buy

    def sold() -> None:
        for one, other, fee, amount in orders:
            sell(one, other, fee, amount)

    bought_orders = [(one, other, fee, min(amount, other // 2)) for one, other, fee, amount in orders]

    def bought() -> None:
        for one, other, fee, amount in bought_orders:
            buy(one, other, fee, amount)

    rates = [len(orders) / min(_processor_s(trade) for _ in range(ROUNDS)) for trade in (sold, bought)]
    pool = a_pool_v2()
    whole = _best_us(lambda: quote_exact_in(pool, USDC.address, 10**9))
    return (
        f"V2 with next reserves: exact in {rates[0]:,.0f}/s, exact out {rates[1]:,.0f}/s (promised 1,000,000);\n"
        f"  as a quote of a pool with gas and next state: {whole:.1f} us"
    )


def _sdk(cache: Path, own_per_s: float) -> None:
    folder = cache / "v3-sdk"
    why = _install(folder)
    if why:
        print(f"  npm's v3-sdk: no data ({why})")
        return
    with tempfile.TemporaryDirectory() as scratch:
        pools = Path(scratch) / "pools.json"
        pools.write_bytes(gzip.decompress(RECORDED.read_bytes()))
        script = Path(__file__).with_name("v3_sdk.mjs")
        command = ["node", str(script), str(folder.resolve()), str(pools), "3"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        print(f"  npm's v3-sdk: no data ({done.stderr.strip().splitlines()[-1:]})")
        return
    found: dict[str, Any] = json.loads(done.stdout)
    rate = found["per_s"]
    print(f"  npm {SDK}: {found['equal']} of {found['quotes']} equal, {rate:,.0f}/s;")
    print(f"  dexlane's rate is {own_per_s / rate:.0f} times that (promised 100)")


def _install(folder: Path) -> str:
    """Why the sdk is not there; empty when it is."""
    if (folder / "node_modules/@uniswap/v3-sdk").exists():
        return ""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return "node and npm are not installed"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text('{"private": true}')
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error", SDK]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    return "" if done.returncode == 0 else f"npm could not install it: {done.stderr.strip()[:200]}"


def _busy_pool() -> Pool:
    """The recorded 0.05 % USDC/WETH pool: 1,219 ticks, as on the devnet."""
    recorded = next(p for p in json.loads(gzip.decompress(RECORDED.read_bytes())) if p["address"] == DEVNET_LIKE)
    ticks = tuple(Tick(index, int(gross), int(net)) for index, gross, net in recorded["ticks"])
    price = int(recorded["directions"][0]["sqrt_price_x96"])
    return a_pool_v3(tick=recorded["tick"], sqrt_price_x96=price, liquidity=int(recorded["liquidity"]), ticks=ticks)


def _typical() -> None:
    pool = _busy_pool()
    state = pool.state
    assert isinstance(state, ConcentratedState)
    plain = PlainPool(state, 500, 10)
    print(f"a quote in the 0.05 % pool with {len(state.ticks):,} ticks (in brackets the plain walk alone):")
    for usdc in (1_000, 50_000, 1_000_000, 20_000_000):
        amount = usdc * 10**6
        crossed = by_tables(plain, Order(True, True, amount)).ticks_crossed
        whole = _best_us(lambda amount=amount: quote_exact_in(pool, USDC.address, amount))  # type: ignore[misc]
        walked = _best_us(lambda amount=amount: walk(plain, Order(True, True, amount)), 100)  # type: ignore[misc]
        print(f"  sell {usdc:>10,} USDC, {crossed:>3} ticks crossed: {whole:5.1f} us ({walked:.1f})")


def _upkeep() -> None:
    """The first quote after a change, less the same quote again: what the change costs."""
    print("keeping tables current: the first swap after a change less the same swap again, p50/p95/p99 us of processor")
    orders = {"200,000 USDC": (200_000 * 10**6, 1_000), "draining the pool": (1 << 200, 150)}
    for name, (amount, count) in orders.items():
        for change in ("mint", "burn", "swap"):
            samples = sorted(_changes(change, amount, count))
            marks = [samples[min(len(samples) - 1, len(samples) * part // 100)] for part in (50, 95, 99)]
            print(f"  {change}, then {name}: " + " / ".join(f"{mark:.1f}" for mark in marks))


def _changes(change: str, amount: int, count: int) -> list[float]:
    gc.collect()
    gc.disable()  # a collection of the whole heap in one of the samples would say nothing about tables
    dice = random.Random(3)  # noqa: S311 - the same changes each time
    pool = _busy_pool()
    state = pool.state
    assert isinstance(state, ConcentratedState)
    order, samples = Order(True, True, amount), []
    concentrated.swap(state, 500, 10, order)
    for turn in range(count):
        lower = (state.tick // 10 + dice.randrange(-200, 200)) * 10
        edges = (lower, lower + 10 * dice.randrange(1, 200))
        if change == "swap":
            moving = Order(bool(turn % 2), True, 10**19 if turn % 2 == 0 else 30_000 * 10**6)
            state = concentrated.swap(state, 500, 10, moving).state
        else:
            grown = apply_mint(state, *edges, 10**15)
            state = apply_burn(grown, *edges, 10**15) if change == "burn" else grown
        times = []
        for _ in range(2):
            began = time.process_time_ns()
            concentrated.swap(state, 500, 10, order)
            times.append(time.process_time_ns() - began)
        samples.append((times[0] - times[1]) / 1_000)
    gc.enable()
    return samples


def _processor_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _best_us(work: Callable[[], object], count: int = 1_000) -> float:
    def several() -> None:
        for _ in range(count):
            work()

    return min(_processor_s(several) for _ in range(10)) / count * 1e6
