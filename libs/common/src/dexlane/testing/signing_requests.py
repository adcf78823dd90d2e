"""Honest, mutated and hostile requests to a signer, by seed, and a signer to put them to."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from dexlane.testing.signing_drafts import (
    KEYS,
    OTHER,
    START_S,
    STRANGER,
    US,
    Draft,
    address,
    permit_step,
    program,
    sealed,
    swap,
    word,
)
from dexlane.testing.signing_oracle import (
    ALL,
    CALLER,
    ITSELF,
    PERMIT2,
    ROUTER,
    UNSIGNED,
    USDC,
    WETH,
    Ask,
)


class Generator:
    """Requests by seed. Time goes on by itself, so that windows roll."""

    def __init__(self, seed: int, sender: str = US) -> None:
        self.us = sender
        self.r = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self.now_s = START_S
        self.nonce = 0
        self.count = 0
        self.epoch = 1
        self.past: list[tuple[Draft, Ask]] = []

    def requests(self) -> Iterator[Ask]:
        """For ever: half of them honest, a third mutated, the rest hostile from the ground up."""
        while True:
            self.now_s += self.r.choice((0, 1, 12, 60, 300, 900))
            self.count += 1
            draft = self._honest()
            for _ in range(self.r.choice((0, 0, 0, 1, 1, 2))):
                self.r.choice(MUTATIONS)(self, draft)
            ask = self._frozen(draft)
            self.past = [*self.past[-31:], (draft, ask)]
            yield ask

    def entry(self, pause_s: int) -> Ask:
        """An honest entry without a permit, so long after the one before."""
        self.now_s += pause_s
        self.count += 1
        draft = self._entry()
        draft.permit = None
        return self._frozen(draft)

    def _honest(self) -> Draft:
        trades = [self._entry] * 6 + [self._gap] * 3 + [self._exit] * 3
        others = [self._allowance, self._wrap, self._cancel, self._replacement, self._again]
        draft = self.r.choice(trades + others)()
        draft.ask.setdefault("epoch", self.epoch)
        return draft

    def _base(self, **tx: Any) -> Draft:
        self.nonce += 1
        fees = {"fee": self.r.randint(1, 40) * 10**9, "tip": 10**9, "gas": self.r.randint(100_000, 400_000)}
        return Draft(
            tx={"nonce": self.nonce, **fees, "to": ROUTER, "value": 0, "data": b"", **tx},
            ask={"intent": f"intent {self.count}", "sender": self.us, "chain_id": 1},
            deadline_s=self.now_s + self.r.randint(0, 600),
        )

    def _approval(self, kind: int, tokens: tuple[str, ...], most: int) -> dict[str, Any]:
        who = 1 if kind < 3 else self.r.choice((2, 3))
        return {
            "who": who,
            "kind": kind,
            "id": self.count.to_bytes(16, "big"),
            "chain": 1,
            "block": self.count,
            "time": self.now_s,
            "expires": self.now_s + self.r.randint(0, 3_600),
            "most": self.r.choice((0, most)),
            "account": US if kind == 3 else "0x" + "0" * 40,
            "book": self.r.choice(("", "ours")) if kind < 3 else "",
            "tokens": tokens,
        }

    def _entry(self) -> Draft:
        draft, amount = self._base(), self.r.randint(1, 400_000)
        middle = self.r.choice(((), (OTHER,)))
        path = (USDC, *middle, WETH)
        draft.steps = [[self.r.choice((0, 8)), CALLER, amount, 1, path, True]]
        if self.r.random() < 0.2:
            draft.steps.append([0, self.us, self.r.randint(1, 400_000), 1, (USDC, WETH), True])
        total = sum(step[2] for step in draft.steps)
        draft.approval = self._approval(1, path, total)
        draft.permit = {"token": USDC, "amount": total, "expiration": 0, "spender": ROUTER}
        draft.permit["deadline"] = draft.deadline_s
        draft.permit["signature"] = self.r.choice((UNSIGNED, UNSIGNED, b"\1" * 65))
        return draft

    def _gap(self) -> Draft:
        draft, amount = self._base(), self.r.randint(1, 850_000)
        draft.steps = [[0, ITSELF, amount, 0, (USDC, OTHER, WETH), True], [8, CALLER, ALL, amount, (WETH, USDC), False]]
        draft.approval = self._approval(2, (USDC, OTHER, WETH, USDC), amount)
        return draft

    def _exit(self) -> Draft:
        draft, amount = self._base(), self.r.randint(1, 1_000_000)
        token = self.r.choice((WETH, OTHER))
        draft.steps = [[self.r.choice((0, 8)), CALLER, amount, 1, (token, USDC), True]]
        draft.approval = self._approval(3, (token, USDC), amount)
        draft.ask["purpose"] = self.r.choice(("exit", "exit", "entry"))
        return draft

    def _allowance(self) -> Draft:
        spender, amount = self.r.choice(((PERMIT2, 10**9), (STRANGER, 0), (ROUTER, 0), (PERMIT2, 10**6)))
        data = bytes.fromhex("095ea7b3") + address(spender) + word(amount)
        return self._base(to=self.r.choice((USDC, WETH, OTHER)), data=data)

    def _wrap(self) -> Draft:
        if self.r.random() < 0.5:
            return self._base(to=WETH, data=bytes.fromhex("d0e30db0"), value=self.r.randint(0, 10**18))
        return self._base(to=WETH, data=bytes.fromhex("2e1a7d4d") + word(self.r.randint(0, 10**18)))

    def _cancel(self) -> Draft:
        draft = self._base(to=US, gas=21_000)
        if self.past and self.r.random() < 0.7:
            before = self.r.choice(self.past)[1]
            draft.tx["nonce"], draft.ask["intent"] = before.tx["nonce"], before.intent
        draft.ask["kind"] = "cancel"
        return draft

    def _replacement(self) -> Draft:
        if not self.past:
            return self._entry()
        draft = _copy(self.r.choice(self.past)[0])
        draft.tx["fee"] = draft.tx["fee"] * 113 // 100
        return draft

    def _again(self) -> Draft:
        return _copy(self.past[-1][0]) if self.past else self._entry()

    def _frozen(self, draft: Draft) -> Ask:
        steps = [swap(step) for step in draft.steps]
        if draft.permit is not None and self.r.random() < 0.5:
            steps.insert(0, permit_step(draft.permit))
        data = program(steps, draft.deadline_s) if steps else draft.tx["data"]
        seal = None if draft.approval is None else self._spoilt(sealed(draft.approval), draft.approval)
        tx = {**draft.tx, "data": draft.spoil(data)}
        return Ask(now_s=self.now_s, seal=seal, tx=tx, **draft.ask)

    def _spoilt(self, seal: tuple[bytes, bytes], fields: dict[str, Any]) -> tuple[bytes, bytes]:
        part = fields.get("flip")
        if part is None:
            return seal
        both = [bytearray(seal[0]), bytearray(seal[1])]
        both[part][self.r.randrange(len(both[part]))] ^= 1 << self.r.randrange(8)
        data = bytes(both[0])
        # A hostile sealer may also seal a broken layout with a good key.
        good = KEYS[1].sign(data).signature if fields.get("reseal") else bytes(both[1])
        return data, good


def _copy(draft: Draft) -> Draft:
    return replace(
        draft,
        steps=[list(step) for step in draft.steps],
        permit=dict(draft.permit) if draft.permit else None,
        approval=dict(draft.approval) if draft.approval else None,
        tx=dict(draft.tx),
        ask=dict(draft.ask),
    )


Mutation = Callable[[Generator, Draft], None]


def _in_tx(name: str, *values: Any) -> Mutation:
    def mutate(g: Generator, draft: Draft) -> None:
        draft.tx[name] = g.r.choice(values)

    return mutate


def _in_ask(name: str, *values: Any) -> Mutation:
    def mutate(g: Generator, draft: Draft) -> None:
        draft.ask[name] = g.r.choice(values)

    return mutate


def _in_step(index: int, *values: Any) -> Mutation:
    def mutate(g: Generator, draft: Draft) -> None:
        if draft.steps:
            g.r.choice(draft.steps)[index] = g.r.choice(values)

    return mutate


def _in_permit(name: str, *values: Any) -> Mutation:
    def mutate(g: Generator, draft: Draft) -> None:
        if draft.permit is not None:
            draft.permit[name] = g.r.choice(values)

    return mutate


def _in_approval(name: str, *values: Any) -> Mutation:
    def mutate(g: Generator, draft: Draft) -> None:
        if draft.approval is not None:
            value = g.r.choice(values)
            draft.approval[name] = value(g) if callable(value) else value

    return mutate


def _flip_bit(g: Generator, draft: Draft) -> None:
    at, bit = g.r.random(), 1 << g.r.randrange(8)

    def spoil(data: bytes) -> bytes:
        changed = bytearray(data or b"\0")
        changed[int(at * len(changed))] ^= bit
        return bytes(changed)

    draft.spoil = spoil


def _in_word(g: Generator, draft: Draft) -> None:
    """An offset, a length or an amount becomes absurd, or a word is there twice, or is missing."""
    at, value = g.r.random(), g.r.choice((0, 1, 32, 0x60, 0xC0, 2**64, 2**255, 2**256 - 1))
    times = g.r.choice((0, 1, 1, 1, 2))

    def spoil(data: bytes) -> bytes:
        start = 4 + int(at * max(1, (len(data) - 4) // 32)) * 32
        one = data[start : start + 32] if times == 2 else word(value)
        return data[:start] + one * times + data[start + 32 :]

    draft.spoil = spoil


def _around(g: Generator, draft: Draft) -> None:
    extra = g.r.choice((b"\0", bytes(32), b"\1" * 32))
    cut = g.r.choice((0, 1, 31, 32))
    draft.spoil = lambda data: data[: len(data) - cut] + (b"" if cut else extra)


def _garbage(g: Generator, draft: Draft) -> None:
    selector = bytes.fromhex(g.r.choice(("3593564c", "095ea7b3", "24856bc3", "a9059cbb", "23b872dd", "87517c45")))
    data = selector + g.r.randbytes(g.r.choice((0, 32, 64, 96, 300)))
    draft.steps, draft.tx["data"] = [], data


def _no_seal(g: Generator, draft: Draft) -> None:
    draft.approval = None


def _replay(g: Generator, draft: Draft) -> None:
    used = [one.approval for one, _ in g.past if one.approval is not None]
    if draft.approval is not None and used:
        draft.approval["id"] = g.r.choice(used)["id"]


def _other_slot(g: Generator, draft: Draft) -> None:
    if g.past:
        before = g.r.choice(g.past)[1]
        if g.r.random() < 0.5:
            draft.tx["nonce"] = before.tx["nonce"]
        else:
            draft.ask["intent"] = before.intent


def _newer_epoch(g: Generator, draft: Draft) -> None:
    if g.r.random() < 0.1:
        g.epoch += 1
    draft.ask["epoch"] = max(0, g.epoch - g.r.choice((0, 1, 2)))


def _losing(g: Generator, draft: Draft) -> None:
    """A round trip that may bring one unit less than it took."""
    if len(draft.steps) == 2 and draft.steps[1][2] == ALL:
        draft.steps[1][3] = max(1, draft.steps[0][2] - 1)


def _far_below(g: Generator, draft: Draft) -> None:
    draft.tx["nonce"] = max(0, g.nonce - g.r.randint(10, 40))


MUTATIONS: tuple[Mutation, ...] = (
    *(_flip_bit, _in_word, _around, _garbage, _no_seal, _replay, _other_slot, _newer_epoch, _far_below, _losing),
    _in_tx("fee", 101 * 10**9, 125 * 10**9, 126 * 10**9, 2**255),
    _in_tx("gas", 1_000_001, 1_000_000, 2**63),
    _in_tx("tip", 5 * 10**9 + 1, 5 * 10**9, 7 * 10**9),
    _in_tx("value", 1, 10**18, 10**18 + 1),
    _in_tx("to", STRANGER, USDC, WETH, PERMIT2, US, ROUTER),
    _in_ask("chain_id", 2, 10**9),
    _in_ask("sender", STRANGER),
    _in_ask("kind", "cancel", "trade"),
    _in_ask("purpose", "exit"),
    _in_step(1, STRANGER, ROUTER, ITSELF, US, CALLER),
    _in_step(2, 0, 10**6, 10**6 + 1, ALL, ALL - 1, 899_999, 900_001),
    _in_step(3, 0, 1, 10**6),
    _in_step(4, (USDC, STRANGER), (STRANGER, WETH), (WETH, USDC), (USDC, USDC), (OTHER, USDC)),
    _in_step(5, True, False),
    _in_permit("spender", STRANGER, PERMIT2),
    _in_permit("amount", 0, 10**6, 10**6 + 1, 2**160 - 1),
    _in_permit("expiration", START_S + 10**9, 1),
    _in_permit("token", OTHER, WETH),
    _in_approval("expires", lambda g: g.now_s - 1, lambda g: g.now_s + 3_601, lambda g: g.now_s, 2**64 - 1, 0),
    _in_approval("chain", 2),
    _in_approval("who", 1, 2, 3, 4, 0),
    _in_approval("sealed_by", 1, 2, 3),
    _in_approval("kind", 1, 2, 3, 4),
    _in_approval("version", 0, 2),
    _in_approval("most", 1, 10**6),
    _in_approval("account", STRANGER, US),
    _in_approval("book", "theirs", "ours"),
    _in_approval("tokens", (USDC, OTHER), (OTHER, WETH), (WETH, USDC), (USDC, WETH), (USDC,), (USDC,) * 9),
    _in_approval("flip", 0, 1),
)
