"""Ranking of two-pool cycles beside a bare numpy pass, and best routes beside npm's v2-sdk, each pair in one run.

All of it computes and waits for nothing, so what is measured is processor time: on a shared machine the wall clock
would show the neighbours.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from bench.floor import spread
from dexlane.domain.amm.quoting import optimal_cycle_size
from dexlane.domain.routing import Errand, GasTerms, PoolGraph, best_on, best_split
from dexlane.domain.routing.ranking import Column, PairColumns, Rows, most_profitable
from dexlane.testing.random_pools import MarketShape, numbered_token, random_pools, seeded
from dexlane.values.pools import ConstantProductState, Pool, PoolKey, Protocol
from dexlane.values.routes import Leg, Route

CANDIDATES = 1_000_000
BEST = 50
REPEATS = 9
MARKET = MarketShape(tokens=60, pools=200, hubs=4)
QUESTIONS = 1_000
SDK_QUESTIONS = 40
SDK = ("@uniswap/v2-sdk@4.21.4", "@uniswap/sdk-core@7.19.4")
Question = tuple[str, str, int]


def report() -> Iterator[str]:
    """One line for each figure."""
    yield "processor time throughout"
    yield from _ranking()
    mixed = random_pools(seeded(1), MARKET)
    yield from _routes("200 pools, half of them V3, 60 tokens, 4 hubs", mixed)
    yield from _beside_the_sdk()


def _ranking() -> Iterator[str]:
    pairs = synthetic_pairs(CANDIDATES)
    pools = {int(row): _pools(pairs, row) for row in most_profitable(pairs, BEST).rows}
    bare, ranked, exact = _medians(
        partial(bare_pass, pairs), partial(most_profitable, pairs, BEST), partial(best_exactly, pairs, pools)
    )
    same = set(bare_pass(pairs).tolist()) == set(most_profitable(pairs, BEST).rows.tolist())
    yield f"{CANDIDATES:,} two-pool cycles, bare chunked numpy pass: {bare:.1f} ms"
    yield f"  ranked, the same best {BEST}: {same}: {ranked:.1f} ms, {ranked / bare:.2f} times the bare pass"
    yield f"  ranked, then the best {BEST} exact: {exact:.1f} ms, {exact / bare:.2f} times (promised 1.3)"


def _medians(*passes: Callable[[], object]) -> list[float]:
    """Median milliseconds of each, taken in turns so that a busy moment meets all of them."""
    taken: list[list[float]] = [[] for _ in passes]
    for _ in range(REPEATS):
        for one, samples in zip(passes, taken, strict=True):
            began = time.thread_time_ns()
            one()
            samples.append((time.thread_time_ns() - began) / 1e6)
    return [median(samples) for samples in taken]


def synthetic_pairs(count: int) -> PairColumns:
    """Pairs of pools of 10 ** 20 to 10 ** 24 units whose prices differ by about 1 %, at a fee of 0.3 %."""
    rng = np.random.default_rng(7)
    price = 10 ** rng.uniform(-3, 3, count)
    quote1, quote2 = 10 ** rng.uniform(20, 24, count), 10 ** rng.uniform(20, 24, count)
    keep = np.full(count, 0.997)
    base2 = quote2 * price * np.exp(rng.normal(0, 0.01, count))
    return PairColumns(quote1, quote1 * price, keep, quote2, base2, keep.copy())


def bare_pass(pairs: PairColumns, chunk: int = 65_536) -> Rows:
    """The formula in both directions over chunks and nothing else: the baseline of the ranking."""
    rows: list[Rows] = []
    values: list[Column] = []
    for start in range(0, len(pairs.quote1), chunk):
        quote1, base1, keep1, quote2, base2, keep2 = pairs.between(start, start + chunk)
        keep = keep1 * keep2
        forward = np.sqrt(keep * base1 * quote2) - np.sqrt(quote1 * base2)
        backward = np.sqrt(keep * base2 * quote1) - np.sqrt(quote2 * base1)
        profit = np.maximum(
            np.where(forward > 0, forward * forward / (keep1 * (base2 + keep2 * base1)), 0),
            np.where(backward > 0, backward * backward / (keep2 * (base1 + keep1 * base2)), 0),
        )
        best = np.argpartition(profit, -BEST)[-BEST:]
        rows.append(best + start)
        values.append(profit[best])
    order = np.argsort(-np.concatenate(values))[:BEST]
    return np.concatenate(rows)[order]


def best_exactly(pairs: PairColumns, pools: dict[int, tuple[Pool, Pool]]) -> list[tuple[int, int]]:
    """The best rows as cycles, sized and valued by exact quotes."""
    found = []
    for row in most_profitable(pairs, BEST).rows:
        one, other = pools[int(row)]
        route = Route(legs=(_leg(one, forward=True), _leg(other, forward=False)))
        best = optimal_cycle_size({pool.key.address: pool for pool in (one, other)}, route, 10**30)
        if best is not None:
            found.append(best)
    return sorted(found, key=lambda item: -item[1])


def _pools(pairs: PairColumns, row: int) -> tuple[Pool, Pool]:
    """The pools of a row, the one that is bought from first."""
    one, other = _pool(1, pairs.quote1[row], pairs.base1[row]), _pool(2, pairs.quote2[row], pairs.base2[row])
    return (one, other) if pairs.base1[row] * pairs.quote2[row] > pairs.base2[row] * pairs.quote1[row] else (other, one)


def _pool(number: int, quote: float, base: float) -> Pool:
    key = PoolKey(
        address=f"0x{number:040x}",
        protocol=Protocol.UNISWAP_V2,
        token0=numbered_token(0),
        token1=numbered_token(1),
        fee_pips=3000,
    )
    return Pool(key=key, state=ConstantProductState(reserve0=int(quote), reserve1=int(base)))


def _leg(pool: Pool, *, forward: bool) -> Leg:
    key = pool.key
    ends = (key.token0.address, key.token1.address)
    return Leg(
        pool=key.address,
        protocol=key.protocol,
        fee_pips=key.fee_pips,
        token_in=ends[not forward],
        token_out=ends[forward],
    )


def _questions(count: int) -> list[Question]:
    rng = seeded(2)
    asked = []
    for _ in range(count):
        one, other = rng.sample(range(MARKET.tokens), 2)
        asked.append((numbered_token(one).address, numbered_token(other).address, int(10 ** rng.uniform(18, 20.5))))
    return asked


def _timed(graph: PoolGraph, asked: Sequence[Question], legs: int, gas: GasTerms | None = None) -> list[float]:
    samples = []
    for token_in, token_out, amount in asked:
        began = time.thread_time_ns()
        best_on(graph, Errand(token_in, token_out, amount, legs), gas)
        samples.append((time.thread_time_ns() - began) / 1e6)
    return samples


def _routes(market: str, pools: list[Pool]) -> Iterator[str]:
    began = time.thread_time_ns()
    graph = PoolGraph(pools)
    built = (time.thread_time_ns() - began) / 1e6
    asked = _questions(QUESTIONS)
    yield f"best route, {market}: index built in {built:.1f} ms"
    yield f"  3 hops, nothing built yet: {spread(_timed(graph, asked, 3))}"
    for legs in (2, 3, 4):
        promised = " (promised p99 2 ms)" if legs == 3 else ""
        yield f"  {legs} hops: {spread(_timed(graph, asked, legs))}{promised}"
    gas = GasTerms(10**9, (1, 1))
    yield f"  3 hops, net of gas: {spread(_timed(graph, asked, 3, gas))}"
    samples = []
    for token_in, token_out, amount in asked[:SDK_QUESTIONS]:
        began = time.thread_time_ns()
        best_split(graph, Errand(token_in, token_out, amount, 3), gas=gas)
        samples.append((time.thread_time_ns() - began) / 1e6)
    yield f"  3 hops, split over at most 4 paths, net of gas: {spread(samples)}"


def _beside_the_sdk() -> Iterator[str]:
    pools = random_pools(seeded(3), MarketShape(tokens=60, pools=200, hubs=4, v3_share=0))
    asked = _questions(SDK_QUESTIONS)
    graph = PoolGraph(pools)
    _timed(graph, asked, 3)
    ours = spread(_timed(graph, asked, 3))
    yield f"best route, 200 V2 pools of 0.3 %, 3 hops: {ours}"
    answer = _sdk(pools, asked)
    if answer is None:
        yield f"  npm's {SDK[0]}: no data (it did not install)"
        return
    theirs = spread(answer["milliseconds"])
    gained = [
        (0 if (found := best_on(graph, Errand(*question, 3))) is None else found.quote.amount_out) - int(amount)
        for question, amount in zip(asked, answer["amounts"], strict=True)
    ]
    yield f"  npm's {SDK[0]}: {theirs}; {theirs.p50 / ours.p50:.0f} times by p50"
    better, worse = sum(gain > 0 for gain in gained), sum(gain < 0 for gain in gained)
    yield f"  answers: {gained.count(0)} equal, {better} of ours better, {worse} worse"


def _sdk(pools: Sequence[Pool], asked: Sequence[Question]) -> dict[str, list[float]] | None:
    folder = Path(".dexlane") / "bench-v2-sdk"
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "v2_sdk.js"
    script.write_text(Path(__file__).with_name("v2_sdk.js").read_text(encoding="utf-8"), encoding="utf-8")
    task = {
        "pools": [_plain(pool) for pool in pools],
        "questions": [[token_in, token_out, str(amount)] for token_in, token_out, amount in asked],
        "hops": 3,
    }
    try:
        if not (folder / "node_modules" / "@uniswap" / "v2-sdk").is_dir():
            install = ["npm", "install", "--silent", "--no-audit", "--no-fund", *SDK]
            subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=300)
        done = subprocess.run(
            ["node", script.name],
            cwd=folder,
            input=json.dumps(task),
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    answer: dict[str, list[float]] = json.loads(done.stdout)
    return answer


def _plain(pool: Pool) -> dict[str, str]:
    state = pool.state
    assert isinstance(state, ConstantProductState)
    ends = {"token0": pool.key.token0.address, "token1": pool.key.token1.address}
    return ends | {"reserve0": str(state.reserve0), "reserve1": str(state.reserve1)}
