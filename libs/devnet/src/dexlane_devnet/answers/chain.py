"""An empty chain with tokens of all kinds, where pools are made and asked."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from eth_abi.abi import encode

from dexlane_devnet.accounts import account
from dexlane_devnet.anvil import find_anvil, free_port, start_anvil
from dexlane_devnet.contracts import calldata
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.packages import Report
from dexlane_devnet.rpc import Rpc

Json = dict[str, Any]
AskRow = Callable[[], Awaitable[Json]]
"""Asks one pool a row of random swaps, always from the state it was made with."""

BLOCK_GAS = 3_000_000_000
CALL_GAS = 3_000_000
PLENTY = 1 << 200
DECIMALS = (18, 6, 18, 8, 18, 6)
"""Of the tokens that every chain of answers has; pools draw from them."""
_VYPER = Path(__file__).parents[1] / "vyper"


@dataclass(frozen=True)
class ListedToken:
    """A token of this chain. ``rate`` is what its ``getRate`` says, with eighteen decimals."""

    address: str
    decimals: int
    rate: int

    @property
    def scaling(self) -> int:
        """What turns its smallest unit into eighteen decimals, without its rate."""
        scaling: int = 10 ** (36 - self.decimals)
        return scaling


@dataclass(frozen=True)
class Ask:
    """One swap to try: indexes of the tokens, ``in`` or ``out`` for which amount is exact, and that amount."""

    paid: int
    bought: int
    exact: str
    amount: int


class Reverted(DevnetError):  # noqa: N818 - named for what the contract did
    """A transaction was mined, and the contract refused it."""


def vyper_code(name: str) -> bytes:
    """Creation code of one of our own contracts."""
    code: str = orjson.loads((_VYPER / f"{name}.json").read_bytes())["bytecode"]
    return bytes.fromhex(code.removeprefix("0x"))


class AnswerChain:
    """A running chain: deploys, sends, and tries rows of calls without mining them."""

    def __init__(self, rpc: Rpc, url: str) -> None:
        self._rpc = rpc
        self.url = url
        self.trader = account("deployer").address
        self.tokens: tuple[ListedToken, ...] = ()

    async def deploy(self, code: bytes, types: Sequence[str] = (), arguments: Sequence[object] = ()) -> str:
        """Address of a new contract."""
        data = "0x" + (code + encode(types, arguments)).hex()
        address: str = (await self._send({"data": data}))["contractAddress"]
        return address

    async def send(self, to: str, signature: str, *arguments: object) -> Json:
        """Receipt of a call that was mined."""
        return await self._send({"to": to, "data": calldata(signature, *arguments)})

    async def mine_call(self, to: str, data: str) -> Json:
        """Receipt of an encoded call that was mined."""
        return await self._send({"to": to, "data": data})

    async def give_ether(self, owner: str, amount_wei: int) -> None:
        """Let an account hold that much of the native coin."""
        await self._rpc.call("anvil_setBalance", owner, hex(amount_wei))

    async def try_in_order(self, calls: Sequence[tuple[str, str]], gas: int = CALL_GAS) -> list[bytes | None]:
        """What calls answer, each on the state the one before left; None where it reverted. Nothing is kept."""
        request = [{"from": self.trader, "to": to, "data": data, "gas": hex(gas)} for to, data in calls]
        [block] = await self._rpc.call("eth_simulateV1", {"blockStateCalls": [{"calls": request}]}, "latest")
        return [
            bytes.fromhex(answer["returnData"][2:]) if answer["status"] == "0x1" else None for answer in block["calls"]
        ]

    async def list_tokens(self, chance: random.Random) -> None:
        """Deploy the tokens, all of them in the trader's hands; half of them are worth more than one."""
        code = vyper_code("token")
        listed = []
        for number, decimals in enumerate(DECIMALS):
            rate = 10**18 if number % 2 else chance.randrange(10**18, 2 * 10**18)
            address = await self.deploy(code, ["string", "uint8", "uint256"], [f"T{number}", decimals, rate])
            await self.send(address, "mint(address,uint256)", self.trader, PLENTY)
            listed.append(ListedToken(address, decimals, rate))
        self.tokens = tuple(sorted(listed, key=lambda token: int(token.address, 16)))

    async def approve(self, spender: str) -> None:
        """Let a contract take all tokens of the trader."""
        for token in self.tokens:
            await self.send(token.address, "approve(address,uint256)", spender, (1 << 256) - 1)

    async def _send(self, fields: Json) -> Json:
        request = {"from": self.trader, "gas": hex(30_000_000), **fields}
        receipt: Json = await self._rpc.call("eth_sendTransactionSync", request)
        if receipt["status"] != "0x1":
            raise Reverted(f"a transaction to {fields.get('to', 'make a contract')} failed.")
        return receipt


@asynccontextmanager
async def answer_chain(cache: Path, chance: random.Random, report: Report) -> AsyncIterator[AnswerChain]:
    """An empty chain with its tokens; it ends with the context."""
    extra = ["--gas-limit", str(BLOCK_GAS), "--prune-history", "8"]
    anvil = await start_anvil(find_anvil(cache, report), free_port(), extra)
    try:
        async with await Rpc.connect(anvil.ws_url) as rpc:
            chain = AnswerChain(rpc, anvil.ws_url)
            await chain.list_tokens(chance)
            yield chain
    finally:
        await anvil.stop()


def random_balances(chance: random.Random, tokens: Sequence[ListedToken], spread: float) -> list[int]:
    """Balances of like worth: a size of 1 to 10 ** 9 tokens, each off it by up to a factor of ``10 ** spread``."""
    size = 10 ** chance.uniform(0.5, 9)
    return [max(1_000, int(size * 10 ** chance.uniform(-spread, spread) * 10**token.decimals)) for token in tokens]


class Reach(NamedTuple):
    """How far asks go: the largest amount as a share of the balance, and which amounts may be exact."""

    largest: float
    exact: tuple[str, ...]


def random_asks(chance: random.Random, balances: Sequence[int], count: int, reach: Reach) -> list[Ask]:
    """Swaps from dust to more than the pool can carry."""
    asks = []
    for _ in range(count):
        paid, bought = chance.sample(range(len(balances)), 2)
        exact = chance.choice(reach.exact)
        balance = balances[paid if exact == "in" else bought]
        usual, dust, large = 10 ** chance.uniform(-4, -0.5), 10 ** chance.uniform(-15, 0), chance.uniform(0, 1)
        share = chance.choice((usual,) * 6 + (dust,) * 3 + (large,))
        asks.append(Ask(paid, bought, exact, max(chance.randrange(1, 4), int(balance * share * reach.largest))))
    return asks
