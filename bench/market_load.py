"""A made-up market for throughput figures: pools, and blocks of their logs as orjson reads them from a node.

Shares of the logs: V2 Sync 45 %, V3 Swap 45 %, Mint 5 %, Burn 5 %; only logs that change a pool: the worst case.
Half of the pools are V2. A V3 pool has 24 initialised ticks, every fiftieth has 1,000. Same seed, same market.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, PoolKey, Protocol, Tick
from dexlane.values.tokens import Token

SYNC = "0x1c411e9a96e071241c2f21f7726b17ae89e3cab4c78be50e062b03a9fffbbad1"
SWAP = "0xc42079f94a6350d7e6235f29174924f928cc2ac818eb64fed8004e115fbcca67"
MINT = "0x7a53080ba414158be7ec69b987b5fb7d07dee101fe85488f0853ae16239d0bde"
BURN = "0x0c396cd989a39f4459b5fa1aed6a9a8dcdbc45908acfd67e028cd568da98982c"
SOMEBODY = "0x" + "0" * 24 + "e592427a0aece92de3edee1f18e0157c05861564"
SPACING = 60
SHARES = (("sync", 45), ("swap", 45), ("mint", 5), ("burn", 5))


def _address(number: int) -> str:
    return f"0x{number:040x}"


def block_hash(number: int) -> str:
    """The hash of a block of this market."""
    return f"0x{number:064x}"


def _words(*values: int) -> str:
    return "0x" + "".join(f"{value % 2**256:064x}" for value in values)


def _v2(number: int, draw: random.Random) -> Pool:
    key = PoolKey(address=_address(number), protocol=Protocol.UNISWAP_V2, fee_pips=3000, **_tokens(number))
    state = ConstantProductState(reserve0=draw.randrange(10**20, 10**24), reserve1=draw.randrange(10**20, 10**24))
    return Pool(key=key, state=state)


def _v3(number: int, draw: random.Random) -> Pool:
    key = PoolKey(
        address=_address(number), protocol=Protocol.UNISWAP_V3, fee_pips=3000, tick_spacing=SPACING, **_tokens(number)
    )
    half = 500 if number % 100 == 1 else 12
    shares = [draw.randrange(10**15, 10**19) for _ in range(half)]
    below = [Tick(-SPACING * (half - at), share, share) for at, share in enumerate(shares)]
    above = [Tick(SPACING * (at + 1), share, -share) for at, share in enumerate(shares)]
    ticks = tuple(below + above)
    return Pool(key=key, state=ConcentratedState(sqrt_price_x96=2**96, tick=0, liquidity=sum(shares), ticks=ticks))


def _tokens(number: int) -> dict[str, Token]:
    return {
        "token0": Token(address=_address(2**80 + number), symbol=f"T{number}", decimals=18),
        "token1": Token(address=_address(2**90), symbol="WETH", decimals=18),
    }


@dataclass
class Market:
    """Pools and what was minted in them, so that a burn takes what is there."""

    pools: Sequence[Pool]
    draw: random.Random
    minted: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, count: int, seed: int = 1) -> Market:
        """So many pools, odd numbers are V3."""
        draw = random.Random(seed)  # noqa: S311  a load that is the same every time
        return cls([(_v3 if number % 2 else _v2)(number, draw) for number in range(1, count + 1)], draw)

    def blocks(self, count: int, logs: int, pools: int, first: int = 1) -> Iterator[list[dict[str, Any]]]:
        """Blocks of so many logs over so many pools each (drawn anew for each block), as a node's JSON reads."""
        for number in range(first, first + count):
            touched = self.draw.sample(self.pools, min(pools, len(self.pools)))
            v2 = [pool for pool in touched if isinstance(pool.state, ConstantProductState)] or touched[:0]
            v3 = [pool for pool in touched if isinstance(pool.state, ConcentratedState)]
            made = [self._log(self._kind(v2, v3), v2, v3) for _ in range(logs)]
            yield orjson.loads(orjson.dumps([_framed(log, at, number) for at, log in enumerate(made)]))

    def _kind(self, v2: Sequence[Pool], v3: Sequence[Pool]) -> str:
        kind = self.draw.choices([name for name, _ in SHARES], [share for _, share in SHARES])[0]
        return "swap" if not v2 else "sync" if not v3 else kind

    def _log(self, kind: str, v2: Sequence[Pool], v3: Sequence[Pool]) -> tuple[str, list[str], str]:
        draw = self.draw
        if kind == "sync":
            reserves = draw.randrange(10**20, 10**24), draw.randrange(10**20, 10**24)
            return draw.choice(v2).key.address, [SYNC], _words(*reserves)
        pool = draw.choice(v3)
        address = pool.key.address
        if kind == "swap":
            amount = draw.randrange(10**15, 10**21)
            words = _words(amount, -amount, draw.randrange(2**95, 2**97), 10**30, draw.randrange(-60_000, 60_000))
            return address, [SWAP, SOMEBODY, SOMEBODY], words
        held = self.minted.setdefault(address, [])
        if kind == "burn" and held:
            lower, upper, amount = held.pop()
            return address, [BURN, SOMEBODY, _words(lower), _words(upper)], _words(amount, 1, 1)
        lower = SPACING * draw.randrange(-20, 0)
        upper, amount = lower + SPACING * draw.randrange(1, 30), draw.randrange(10**12, 10**18)
        held.append((lower, upper, amount))
        return address, [MINT, SOMEBODY, _words(lower), _words(upper)], _words(1, amount, 1, 1)


def _framed(log: tuple[str, list[str], str], at: int, number: int) -> dict[str, Any]:
    address, topics, data = log
    return {
        "address": address,
        "topics": topics,
        "data": data,
        "blockHash": block_hash(number),
        "blockNumber": hex(number),
        "transactionHash": f"0x{(number << 20) + at // 3:064x}",
        "transactionIndex": hex(at // 3),
        "logIndex": hex(at),
        "removed": False,
    }
