"""Pools of the real contracts on the devnet, in random states, and what those contracts answer."""

from __future__ import annotations

import random
from typing import Any

import httpx
from eth_abi.abi import decode

from contracts import TAX_SLOT, caller_code, token_code
from dexlane.domain.amm.tick_math import MAX_SQRT_RATIO, MAX_TICK, MIN_SQRT_RATIO, sqrt_ratio_at_tick
from dexlane_devnet import ADDRESSES, Devnet, account
from dexlane_devnet.contracts import calldata

CALLER = "0x00000000000000000000000000000000ca11e400"
RECEIVER = "0x00000000000000000000000000000000000bee00"
RICH = 1 << 220
FOREVER = (1 << 256) - 1
V3_KINDS = {500: 10, 3_000: 60, 10_000: 200, 100: 1, 0: 7, 1: 16_383, 30_000: 1_000, 999_999: 100}
"""Spacing by fee; the factory is made to allow those that it does not know."""
_KIND_WEIGHTS = (6, 6, 4, 1, 2, 2, 2, 1)
"""Few of spacing 1: there, an order larger than the pool reads seven thousand words of the bitmap."""
_GAS = 1_000_000_000
_CALLS_AT_ONCE = 25
_PATIENCE_S = 120
_ATTEMPTS = 3


class Market:
    """Makes pools and asks them. Each pool has tokens of its own."""

    def __init__(self, devnet: Devnet, seed: int) -> None:
        self.devnet = devnet
        self.dice = random.Random(seed)  # noqa: S311 - the same pools again for the same seed
        self._tokens = 0
        self._sender = account("deployer").address

    async def prepare(self) -> None:
        """Put the caller's code in place, allow every fee, and give calls the gas for the longest swaps."""
        await self.devnet.rpc("evm_setBlockGasLimit", hex(_GAS))
        await self.devnet.rpc("evm_mine")
        await self.devnet.rpc("anvil_setCode", CALLER, "0x" + caller_code().hex())
        for fee, spacing in V3_KINDS.items():
            known = await self._read(ADDRESSES.v3_factory, calldata("feeAmountTickSpacing(uint24)", fee))
            if known == [0]:
                await self._send(ADDRESSES.v3_factory, calldata("enableFeeAmount(uint24,int24)", fee, spacing))

    async def v3_pool(self, answers: int) -> dict[str, Any]:
        """A pool with up to ten positions, somewhere, after some swaps and burns; and what it answers."""
        (fee,) = self.dice.choices(list(V3_KINDS), _KIND_WEIGHTS)
        spacing = V3_KINDS[fee]
        token0, token1 = await self._new_tokens()
        await self._send(ADDRESSES.v3_factory, calldata("createPool(address,address,uint24)", token0, token1, fee))
        found = await self._read(ADDRESSES.v3_factory, calldata("getPool(address,address,uint24)", token0, token1, fee))
        pool = f"0x{found[0]:040x}"
        payment = bytes.fromhex(f"{int(token0, 16):064x}{int(token1, 16):064x}")
        price = self._price()
        await self._send(pool, calldata("initialize(uint160)", price))
        edges = await self._settle_positions(pool, spacing, payment)
        state = await self._v3_state(pool, edges)
        orders = [self._v3_order(state["sqrt_price_x96"], edges) for _ in range(answers)]
        outcomes = await self._outcomes([(CALLER, _through(pool, _swap_call(order, payment))) for order in orders])
        rows = []
        for (down, exact_in, amount, limit), outcome in zip(orders, outcomes, strict=True):
            shown: list[int] | str = outcome if isinstance(outcome, str) else []
            if isinstance(outcome, bytes):
                amount0, amount1, after, tick, liquidity = _words(outcome)
                paid, received = (amount0, amount1) if down else (amount1, amount0)
                shown = [paid, -_signed(received), after, _signed(tick), liquidity]
            rows.append([down, exact_in, amount, limit, shown])
        return {"fee_pips": fee, "tick_spacing": spacing, **state, "answers": rows}

    async def v2_pair(self, answers: int, *, taxed: bool = False) -> dict[str, Any]:
        """A pair with some reserves, its tokens taxed or not; and what the router gets from it."""
        token0, token1 = await self._new_tokens()
        await self._send(ADDRESSES.v2_factory, calldata("createPair(address,address)", token0, token1))
        found = await self._read(ADDRESSES.v2_factory, calldata("getPair(address,address)", token0, token1))
        pair = f"0x{found[0]:040x}"
        taxes = [self.dice.choice([0, 1, 100, 300, 1_234, 9_999]) if taxed else 0 for _ in range(2)]
        reserves = [self.dice.randrange(1, 1 << self.dice.randrange(1, 112)) for _ in range(2)]
        for token, reserve, tax in zip((token0, token1), reserves, taxes, strict=True):
            await self._store(token, int(pair, 16), reserve)
            await self._store(token, TAX_SLOT, tax)
        await self._send(pair, calldata("sync()"))
        orders = [self._v2_order(reserves, exact_in=taxed) for _ in range(answers)]
        outcomes = await self._outcomes([_router_call(order, (token0, token1), pair, taxed) for order in orders])
        rows = [[*order, _router_outcome(outcome)] for order, outcome in zip(orders, outcomes, strict=True)]
        return {"reserve0": reserves[0], "reserve1": reserves[1], "taxes_bps": taxes, "answers": rows}

    async def _settle_positions(self, pool: str, spacing: int, payment: bytes) -> list[int]:
        """Mint, swap and burn at random; returns the edges of positions."""
        widest = MAX_TICK // spacing
        centre = _signed((await self._read(pool, calldata("slot0()")))[1]) // spacing
        mint = "mint(address,int24,int24,uint128,bytes)"
        positions: list[tuple[int, int, int]] = []
        for _ in range(self.dice.randrange(11)):
            reach = self.dice.choice([2, 30, 600, widest])
            ends = sorted(
                min(max(centre + self.dice.randint(-reach, reach), -widest), widest) * spacing for _ in range(2)
            )
            if ends[0] == ends[1]:
                continue
            liquidity = self.dice.randrange(1, 10 ** self.dice.randrange(1, 31))
            if await self._try(CALLER, _through(pool, calldata(mint, CALLER, *ends, liquidity, payment))):
                positions.append((ends[0], ends[1], liquidity))
        edges = sorted({edge for position in positions for edge in position[:2]})
        price = (await self._read(pool, calldata("slot0()")))[0]
        for _ in range(self.dice.randrange(3)):
            down, exact_in, amount, _ = self._v3_order(price, edges)
            order = (down, exact_in, amount % 10**18 + 1, None)
            await self._try(CALLER, _through(pool, _swap_call(order, payment)))
        for lower, upper, liquidity in positions:
            if self.dice.random() < 0.2:
                part = self.dice.choice([liquidity, max(1, liquidity // 3)])
                await self._try(CALLER, _through(pool, calldata("burn(int24,int24,uint128)", lower, upper, part)))
        return edges

    async def _v3_state(self, pool: str, edges: list[int]) -> dict[str, Any]:
        price, tick = (await self._read(pool, calldata("slot0()")))[:2]
        (liquidity,) = await self._read(pool, calldata("liquidity()"))
        ticks = []
        for edge in edges:
            gross, net = (await self._read(pool, calldata("ticks(int24)", edge)))[:2]
            if gross:
                ticks.append([edge, gross, _signed(net)])
        return {"sqrt_price_x96": price, "tick": _signed(tick), "liquidity": liquidity, "ticks": ticks}

    def _price(self) -> int:
        """Anywhere, usually not at the ends, and often exactly on a tick."""
        reach = self.dice.choice([1_000, 100_000, 300_000, MAX_TICK - 1])
        tick = self.dice.randint(-reach, reach) // 100 * 100
        low, high = sqrt_ratio_at_tick(max(tick, -MAX_TICK)), sqrt_ratio_at_tick(max(tick, -MAX_TICK) + 1)
        return low if self.dice.random() < 0.4 else self.dice.randrange(low, high)

    def _v3_order(self, price: int, edges: list[int]) -> tuple[bool, bool, int, int | None]:
        down, exact_in = self.dice.random() < 0.5, self.dice.random() < 0.5
        amount = self.dice.choice(
            [self.dice.randrange(1, 100), self.dice.randrange(1, 10 ** self.dice.randrange(2, 40)), (1 << 255) - 1]
        )
        limit = None
        if self.dice.random() < 0.3:
            near = price * self.dice.randrange(9_000, 11_000) // 10_000
            stops = [sqrt_ratio_at_tick(edge) for edge in edges]
            limit = self.dice.choice([near, *stops])
            limit = min(max(limit, MIN_SQRT_RATIO + 1), MAX_SQRT_RATIO - 1)
            if self.dice.random() < 0.9:
                down = limit < price
        return down, exact_in, amount, limit

    def _v2_order(self, reserves: list[int], *, exact_in: bool) -> tuple[bool, bool, int]:
        exact_in = exact_in or self.dice.random() < 0.5
        reserve = self.dice.choice(reserves)
        amounts = [
            self.dice.randrange(1, 1_000),
            self.dice.randrange(1, reserve * 2 + 1),
            self.dice.randrange(1, reserve // 1_000 + 2),
            self.dice.randrange(1, 1 << self.dice.randrange(1, 256)),
            reserve,
        ]
        return self.dice.random() < 0.5, exact_in, self.dice.choice(amounts)

    async def _new_tokens(self) -> tuple[str, str]:
        pair = []
        for _ in range(2):
            self._tokens += 1
            address = f"0x70c3000000000000000000000000000000{self._tokens:06x}"
            await self.devnet.rpc("anvil_setCode", address, "0x" + token_code().hex())
            for holder in (CALLER, ADDRESSES.multicall3):
                await self._store(address, int(holder, 16), RICH)
            pair.append(address)
        return pair[0], pair[1]

    async def _store(self, address: str, slot: int, value: int) -> None:
        await self.devnet.rpc("anvil_setStorageAt", address, f"0x{slot:064x}", f"0x{value:064x}")

    async def _read(self, to: str, data: str) -> list[int]:
        return _words(bytes.fromhex((await self.devnet.rpc("eth_call", {"to": to, "data": data}, "latest"))[2:]))

    async def _send(self, to: str, data: str) -> None:
        assert await self._try(to, data), f"a set-up transaction to {to} failed"

    async def _try(self, to: str, data: str) -> bool:
        request = {"from": self._sender, "to": to, "data": data, "gas": hex(29_000_000)}
        receipt = await self.devnet.rpc("eth_sendTransactionSync", request)
        return bool(receipt["status"] == "0x1")

    async def _outcomes(self, calls: list[tuple[str, str]]) -> list[bytes | str]:
        """Each call's answer, or the reason why it reverted.

        Over HTTP and few at a time: some calls run for a tenth of a second, and a WebSocket's pings would not wait.
        """
        outcomes: list[bytes | str] = []
        requests = [
            {
                "jsonrpc": "2.0",
                "id": at,
                "method": "eth_call",
                "params": [{"to": to, "data": data, "gas": hex(_GAS)}, "latest"],
            }
            for at, (to, data) in enumerate(calls)
        ]
        async with httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False) as client:
            for start in range(0, len(requests), _CALLS_AT_ONCE):
                answers = await self._posted(client, requests[start : start + _CALLS_AT_ONCE])
                outcomes += [_outcome(answer) for answer in sorted(answers, key=lambda answer: int(answer["id"]))]
        return outcomes

    async def _posted(self, client: httpx.AsyncClient, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for attempt in range(_ATTEMPTS):
            try:
                answers: list[dict[str, Any]] = (await client.post(self.devnet.http_url, json=requests)).json()
            except httpx.TransportError:
                if attempt == _ATTEMPTS - 1:
                    raise
            else:
                return answers
        raise AssertionError("unreachable")


def _outcome(answer: dict[str, Any]) -> bytes | str:
    if "result" in answer:
        return bytes.fromhex(answer["result"][2:])
    message = answer["error"]["message"]
    _, reverted, reason = message.partition("reverted")
    assert reverted, f"the node could not run a call: {message}"
    return reason.strip(": ") or "no reason"


def _router_outcome(outcome: bytes | str) -> list[int] | str:
    """(sent, received, reserve0, reserve1), or that the router refused."""
    if isinstance(outcome, str):
        return "refused"
    _, (_, received, left, reserves) = decode(["uint256", "bytes[]"], outcome)
    return [RICH - int.from_bytes(left, "big"), int.from_bytes(received, "big"), *_words(reserves)[:2]]


def _through(pool: str, data: str) -> str:
    return f"0x{int(pool, 16):064x}{data[2:]}"


def _swap_call(order: tuple[bool, bool, int, int | None], payment: bytes) -> str:
    down, exact_in, amount, limit = order
    price = limit if limit is not None else MIN_SQRT_RATIO + 1 if down else MAX_SQRT_RATIO - 1
    specified = amount if exact_in else -amount
    return calldata("swap(address,bool,int256,uint160,bytes)", RECEIVER, down, specified, price, payment)


def _router_call(order: tuple[bool, bool, int], tokens: tuple[str, str], pair: str, taxed: bool) -> tuple[str, str]:
    """The router's swap for an account of Multicall3, what the receiver then has, and the reserves."""
    down, exact_in, amount = order
    path = list(tokens if down else tokens[::-1])
    suffix = "SupportingFeeOnTransferTokens" if taxed else ""
    if exact_in:
        name = f"swapExactTokensForTokens{suffix}(uint256,uint256,address[],address,uint256)"
        swap = calldata(name, amount, 0, path, RECEIVER, FOREVER)
    else:
        name = "swapTokensForExactTokens(uint256,uint256,address[],address,uint256)"
        swap = calldata(name, amount, FOREVER, path, RECEIVER, FOREVER)
    calls = [
        (ADDRESSES.v2_router02, swap),
        (path[1], calldata("balanceOf(address)", RECEIVER)),
        (path[0], calldata("balanceOf(address)", ADDRESSES.multicall3)),
        (pair, calldata("getReserves()")),
    ]
    targets = [(to, bytes.fromhex(data[2:])) for to, data in calls]
    return ADDRESSES.multicall3, calldata("aggregate((address,bytes)[])", targets)


def _words(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data), 32)]


def _signed(word: int) -> int:
    return word - (1 << 256) if word >> 255 else word
