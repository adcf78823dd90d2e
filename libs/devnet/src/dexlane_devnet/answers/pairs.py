"""Uniswap V2's own factory, pairs and router, made and asked. Their code comes from npm and is never kept here."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import orjson

from dexlane_devnet.answers.chain import PLENTY, AnswerChain, Json, vyper_code
from dexlane_devnet.contracts import calldata
from dexlane_devnet.packages import V2_CORE, V2_PERIPHERY, Report, fetch

_FOREVER = 1 << 40
_MAX_RESERVE = (1 << 112) - 1
_IN = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)"
_OUT = "swapTokensForExactTokens(uint256,uint256,address[],address,uint256)"


@dataclass(frozen=True)
class PairExchange:
    """Factory and router."""

    factory: str
    router: str


async def deploy_exchange(chain: AnswerChain, cache: Path, report: Report) -> PairExchange:
    """Factory and router as the packages have them."""
    core, periphery = fetch(V2_CORE, cache, report), fetch(V2_PERIPHERY, cache, report)
    factory = await chain.deploy(_code(core / "build/UniswapV2Factory.json"), ["address"], [chain.trader])
    router_code = _code(periphery / "build/UniswapV2Router02.json")
    return PairExchange(factory, await chain.deploy(router_code, ["address", "address"], [factory, factory]))


async def make_and_ask(chain: AnswerChain, exchange: PairExchange, chance: random.Random, count: int) -> Json:
    """A random pair, and what router and pair say to a row of swaps.

    Rows are ``[zero_for_one, "in" or "out", amount]``, then, unless the router reverted, the other amount and both
    reserves afterwards.
    """
    tokens = sorted([await _new_token(chain, exchange), await _new_token(chain, exchange)])
    made = await chain.send(exchange.factory, "createPair(address,address)", *tokens)
    pair = "0x" + made["logs"][-1]["data"][26:66]
    reserves = [min(int(10 ** chance.uniform(4, 33)), _MAX_RESERVE - 1) for _ in tokens]
    for token, reserve in zip(tokens, reserves, strict=True):
        await chain.send(token, "transfer(address,uint256)", pair, reserve)
    await chain.send(pair, "sync()")
    asks, calls = [], []
    for _ in range(count):
        zero_for_one, exact = chance.random() < 0.5, chance.choice(("in", "out"))
        reserve = reserves[0 if zero_for_one == (exact == "in") else 1]
        usual, dust, large = 10 ** chance.uniform(-5, 0), 10 ** chance.uniform(-20, 0), 10 ** chance.uniform(0, 2)
        amount = max(chance.randrange(1, 4), int(reserve * chance.choice((usual,) * 6 + (dust,) * 3 + (large,))))
        path = tokens if zero_for_one else tokens[::-1]
        bound = (amount, 0) if exact == "in" else (amount, PLENTY)
        data = calldata(_IN if exact == "in" else _OUT, *bound, path, chain.trader, _FOREVER)
        asks.append((zero_for_one, exact, amount))
        calls += [(exchange.router, data), (pair, calldata("getReserves()"))]
    answers = await chain.try_in_order(calls)
    rows = []
    for number, ask in enumerate(asks):
        swapped, held = answers[2 * number : 2 * number + 2]
        row: list[object] = [*ask]
        if swapped is not None and held is not None:
            # ``amounts``: offset, length, paid, bought.
            other = swapped[96:128] if ask[1] == "in" else swapped[64:96]
            row += [int.from_bytes(word, "big") for word in (other, held[:32], held[32:64])]
        rows.append(row)
    return {"decimals": [18, 18], "fee_bps": 30, "reserves": reserves, "swaps": rows}


async def _new_token(chain: AnswerChain, exchange: PairExchange) -> str:
    token = await chain.deploy(vyper_code("token"), ["string", "uint8", "uint256"], ["T", 18, 10**18])
    await chain.send(token, "mint(address,uint256)", chain.trader, PLENTY)
    await chain.send(token, "approve(address,uint256)", exchange.router, (1 << 256) - 1)
    return token.lower()


def _code(artifact: Path) -> bytes:
    content = orjson.loads(artifact.read_bytes())
    text: str = content.get("bytecode") or content["evm"]["bytecode"]["object"]
    return bytes.fromhex(text.removeprefix("0x"))
