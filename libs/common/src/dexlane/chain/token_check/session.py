"""Trading days that never happened: accounts without code buy, give, wait and sell in simulated blocks.

Everything is one ``eth_simulateV1`` request of several blocks, validated as real ones are, so that a token sees what
it sees in a real transaction: an origin that is the caller, a gas price, a base fee, a block's producer, accounts with
little ether. It is made twice, because a sale must name an amount: first without sales, to see what everybody holds,
then with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dexlane.chain.keccak import keccak256
from dexlane.chain.token_check.probe import Step, Told, call, codes, exploration, read_exploration
from dexlane.chain.token_check.subject import Subject
from dexlane.chain.token_check.venues import PURSE_WEI

SIZES_BPS = (1, 10, 100, 500, 2_000)
"""Purchases, in bps of what the pool holds of the quote."""
USUAL_BPS = 10
CROWD = 24
TRADE_GAS, CALL_GAS, LOOK_GAS = 3_000_000, 1_000_000, 5_000_000
_PRODUCER = "0x4838b106fce9647bdf1e7877bf73ce8b0bad5f97"
"""Who makes the simulated blocks where the real one names nobody: a well-known builder of Ethereum."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A simulated block: how far it lies after the block that is stood on. Nodes allow gaps of 256 blocks in all."""

    blocks: int
    seconds: int


MOMENTS: Mapping[str, Moment] = {
    "buy": Moment(1, 12),
    "next": Moment(2, 24),
    "minute": Moment(7, 84),
    "minutes": Moment(30, 372),
    "hour": Moment(200, 3_612),
    "day": Moment(201, 86_412),
    "month": Moment(202, 2_592_012),
}


@dataclass(frozen=True, slots=True)
class Called:
    """What became of a simulated transaction."""

    ok: bool
    gas: int
    data: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction."""

    sender: str
    to: str
    data: bytes
    gas: int = CALL_GAS
    wei: int = 0


@dataclass
class Script:
    """Blocks of transactions under construction, each with a key to find its result by."""

    subject: Subject
    ether: dict[str, int] = field(default_factory=dict)
    blocks: dict[str, list[tuple[str, dict[str, str]]]] = field(default_factory=lambda: {name: [] for name in MOMENTS})
    looks: dict[str, int] = field(default_factory=dict)
    accounts: dict[str, str] = field(default_factory=dict)

    def who(self, name: str) -> str:
        """A fresh account: nobody can know it before the block it follows from."""
        found = self.accounts.get(name)
        if found is None:
            seed = f"{self.subject.head.hash} {self.subject.token} {name}".encode()
            found = self.accounts[name] = "0x" + keccak256(seed)[12:].hex()
            self.ether[found] = self.purse_wei
        return found

    @property
    def price_wei(self) -> int:
        """What a unit of gas may cost; the base fee may rise within the simulated blocks."""
        return self.subject.head.base_fee_wei * 2 + 10**9

    @property
    def purse_wei(self) -> int:
        """Ether of an ordinary account: enough gas for a few trades."""
        return 10**17 + 8 * TRADE_GAS * self.price_wei

    def send(self, moment: str, key: str, sent: Sent) -> None:
        """Add a transaction."""
        transaction = {
            "from": sent.sender,
            "to": sent.to,
            "data": "0x" + sent.data.hex(),
            "gas": hex(sent.gas),
            "maxFeePerGas": hex(self.price_wei),
            "maxPriorityFeePerGas": hex(10**9),
        }
        if sent.wei:
            transaction["value"] = hex(sent.wei)
            self.ether[sent.sender] = self.ether.get(sent.sender, self.purse_wei) + sent.wei
        self.blocks[moment].append((key, transaction))

    def look(self, moment: str, key: str, steps: Sequence[Step]) -> None:
        """Add a look at the state, which changes nothing."""
        self.looks[key] = len(steps)
        seen = exploration(self.subject.token, steps)
        self.send(moment, key, Sent(self.who("observer"), self.who("probe"), seen, LOOK_GAS))

    def request(self) -> dict[str, Any]:
        """The parameter of ``eth_simulateV1``."""
        overrides: dict[str, dict[str, str]] = {who: {"balance": hex(wei)} for who, wei in self.ether.items()}
        overrides[self.who("probe")] = {"code": codes()["Probe"]}
        made = [self._block(name, overrides if at == 0 else {}) for at, name in enumerate(MOMENTS)]
        return {"blockStateCalls": made, "validation": True, "traceTransfers": False}

    def _block(self, name: str, overrides: dict[str, dict[str, str]]) -> dict[str, Any]:
        head, moment = self.subject.head, MOMENTS[name]
        return {
            "blockOverrides": {
                "number": hex(head.number + moment.blocks),
                "time": hex(head.timestamp_s + moment.seconds),
                "baseFeePerGas": hex(head.base_fee_wei),
                "feeRecipient": head.miner if int(head.miner, 16) else _PRODUCER,
                "prevRandao": head.randomness,
                "gasLimit": hex(max(head.gas_limit, 60_000_000)),
            },
            "stateOverrides": overrides,
            "calls": [transaction for _, transaction in self.blocks[name]],
        }

    def results(self, answer: Any) -> dict[str, Called]:
        """Results by key. Nodes that fill gaps tell of empty blocks too: ours are found by their numbers.

        Raises ``KeyError``, ``TypeError`` or ``ValueError`` for an answer that is none.
        """
        by_number = {int(block["number"], 16): block["calls"] for block in answer}
        found: dict[str, Called] = {}
        for name, moment in MOMENTS.items():
            calls = by_number[self.subject.head.number + moment.blocks]
            if len(calls) != len(self.blocks[name]):
                raise ValueError("the node left out simulated calls")
            found |= {key: _called(each) for (key, _), each in zip(self.blocks[name], calls, strict=True)}
        return found

    def seen(self, results: Mapping[str, Called], key: str) -> tuple[Told, ...]:
        """What a look saw. Raises ``ProbeError`` when it was cut off."""
        return read_exploration(results[key].data, self.looks[key], 0, 0).steps


def _called(raw: Mapping[str, Any]) -> Called:
    data = bytes.fromhex(str(raw.get("returnData") or "0x")[2:])
    ok = raw.get("status") == "0x1"
    error = raw.get("error") or {}
    return Called(ok, int(raw.get("gasUsed") or "0x0", 16), data, "" if ok else reason_of(data, error.get("message")))


def reason_of(data: bytes, message: object) -> str:
    """Why a call failed, in at most 100 printable characters: ``Error(string)`` if it is one, else the node's words."""
    text = str(message or "")
    if data[:4] == bytes.fromhex("08c379a0") and len(data) >= 68:
        length = int.from_bytes(data[36:68], "big")
        text = data[68 : 68 + min(length, 100)].decode("utf-8", errors="replace")
    printable = "".join(letter for letter in text if letter.isprintable())[:100]
    return printable or "it reverts without a reason"


@dataclass(frozen=True, slots=True)
class Buyer:
    """Who buys at first, how much of the quote he pays, when he sells all of it (never: ""), and why."""

    name: str
    paid: int
    sells: str
    kind: str


def buyers(subject: Subject) -> Iterator[Buyer]:
    """The accounts that buy in the first block."""
    reserve = subject.pool.reserve_quote
    usual = max(1, reserve * USUAL_BPS // 10_000)
    for bps in SIZES_BPS:
        yield Buyer(f"size {bps}", max(1, reserve * bps // 10_000), "next", "size")
    for moment in ("minute", "hour", "day", "month"):
        yield Buyer(f"wait {moment}", usual, moment, "wait")
    for name in ("giver", "lender", "repeat", "idle"):
        yield Buyer(name, usual, "", name)


def acquire(script: Script, moment: str, amount: int) -> str:
    """A bank that owns so much of the quote."""
    pool, bank = script.subject.pool, script.who("bank")
    if pool.quote == pool.wrapped:
        script.send(moment, "acquire", Sent(bank, pool.wrapped, call("deposit()"), wei=amount))
    else:
        data = pool.venue.acquire(pool.wrapped, pool.quote, amount, bank)
        script.send(moment, "acquire", Sent(bank, pool.venue.allowed, data, TRADE_GAS, PURSE_WEI))
    return bank


@dataclass(frozen=True, slots=True)
class Sale:
    """A sale of the second run."""

    key: str
    trader: str
    kind: str
    moment: str
    amount: int


def watched(script: Script) -> tuple[str, ...]:
    """Accounts besides the traders whose balances must explain where tokens went."""
    subject = script.subject
    return (subject.pool.pair, subject.token, *subject.callers)


def before_look(script: Script, trader: str, amount: int, path: tuple[str, str]) -> list[Step]:
    """Before a trade: what the pool would give, and what ``after_look`` looks at."""
    return [script.subject.pool.venue.quote(max(1, amount), path), *after_look(script, trader, path)]


def after_look(script: Script, trader: str, path: tuple[str, str]) -> list[Step]:
    """After a trade: what the pool holds, what the trader has, and all that is watched."""
    subject = script.subject
    pool, token = subject.pool, subject.token
    return [
        Step(path[-1], call("balanceOf(address)", pool.pair)),
        Step(pool.quote, call("balanceOf(address)", trader)),
        Step(token, call("balanceOf(address)", trader)),
        Step(token, call("totalSupply()")),
        *(Step(token, call("balanceOf(address)", who)) for who in watched(script)),
    ]


def world_look(script: Script, names: Sequence[str]) -> list[Step]:
    """At the end of a block: decimals, what the idle one allows to others, everybody's balance."""
    token, idle = script.subject.token, script.who("idle")
    return [
        Step(token, call("decimals()")),
        *(Step(token, call("allowance(address,address)", idle, who)) for who in script.subject.callers),
        *(Step(token, call("balanceOf(address)", script.who(name))) for name in names),
    ]
