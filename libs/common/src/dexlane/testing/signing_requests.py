"""Honest, mutated and hostile requests to a signer, by seed, and a signer to put them to."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from nacl.signing import SigningKey

from dexlane.testing.signing_oracle import (
    ALL,
    CALLER,
    ITSELF,
    PERMIT2,
    ROUTER,
    USDC,
    WETH,
    Ask,
    Oracle,
    Terms,
    fingerprint,
)
from dexlane_signer import (
    Approval,
    DynamicFeeTransaction,
    LocalSigner,
    NonceGuard,
    PermitRequest,
    PermitSingle,
    Policy,
    PrivateKey,
    SignedTransaction,
    SigningDenied,
    SignRequest,
    SpendingCaps,
    TokenLimit,
    Worth,
)

US, STRANGER, OTHER = "0x" + "11" * 20, "0x" + "66" * 20, "0x" + "77" * 20
START_S = 1_800_000_000
KEYS = {who: SigningKey(bytes([who]) * 32) for who in (1, 2, 3)}
TERMS = Terms(us=US, keys={who: bytes(key.verify_key) for who, key in KEYS.items()})


def word(value: int) -> bytes:
    """32 bytes."""
    return (value % (1 << 256)).to_bytes(32, "big")


def address(text: str) -> bytes:
    """An address in a word."""
    return bytes(12) + bytes.fromhex(text[2:])


def _bytes(data: bytes) -> bytes:
    return word(len(data)) + data + bytes(-len(data) % 32)


def swap(step: list[Any]) -> tuple[int, bytes]:
    """One swap command: version (0 is V3, 8 is V2), recipient, amount, minimum, path, and whether we pay."""
    version, to, amount, least, path, from_us = step
    head = address(to) + word(amount) + word(least) + word(0xA0) + word(from_us)
    if version == 8:
        return 8, head + word(len(path)) + b"".join(map(address, path))
    packed = bytes.fromhex(path[0][2:]) + b"".join(b"\0\1\xf4" + bytes.fromhex(token[2:]) for token in path[1:])
    return 0, head + _bytes(packed)


def permit_step(permit: dict[str, Any]) -> tuple[int, bytes]:
    """The permit command."""
    fields = [address(permit["token"]), word(permit["amount"]), word(permit["expiration"]), word(0)]
    fields += [address(permit["spender"]), word(permit["deadline"]), word(0xE0)]
    return 0x0A, b"".join(fields) + _bytes(b"\1" * 65)


def program(steps: list[tuple[int, bytes]], deadline_s: int) -> bytes:
    """Calldata of ``execute``."""
    commands = _bytes(bytes(command for command, _ in steps))
    payloads = [_bytes(payload) for _, payload in steps]
    offsets, at = b"", 32 * len(payloads)
    for payload in payloads:
        offsets, at = offsets + word(at), at + len(payload)
    head = word(0x60) + word(0x60 + len(commands)) + word(deadline_s)
    return bytes.fromhex("3593564c") + head + commands + word(len(payloads)) + offsets + b"".join(payloads)


def statement(fields: dict[str, Any]) -> bytes:
    """The bytes of an approval, by the written layout."""
    return b"".join(
        (
            b"dexlane approval",
            bytes((fields.get("version", 1), fields["who"], fields["kind"])),
            fields["id"],
            *(fields[name].to_bytes(8, "big") for name in ("chain", "block", "time", "expires")),
            word(fields["most"]),
            bytes.fromhex(fields["account"][2:]),
            bytes((len(fields["book"]),)),
            fields["book"].encode(),
            bytes((len(fields["tokens"]),)),
            *(bytes.fromhex(token[2:]) for token in fields["tokens"]),
        )
    )


def sealed(fields: dict[str, Any]) -> tuple[bytes, bytes]:
    """A statement with the seal of the one it names, or of the risk-scorer."""
    data = statement(fields)
    return data, KEYS.get(fields.get("sealed_by", fields["who"]), KEYS[1]).sign(data).signature


@dataclass
class Draft:
    """A request before it is frozen: parts that mutations change, each by its name."""

    steps: list[list[Any]] = field(default_factory=list)
    deadline_s: int = 0
    permit: dict[str, Any] | None = None
    approval: dict[str, Any] | None = None
    tx: dict[str, Any] = field(default_factory=dict)
    ask: dict[str, Any] = field(default_factory=dict)
    spoil: Callable[[bytes], bytes] = bytes


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
            if ask.permit is None:
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
        return draft

    def _gap(self) -> Draft:
        draft, amount = self._base(), self.r.randint(1, 800_000)
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
        ask = Ask(now_s=self.now_s, seal=seal, tx=tx, **draft.ask)
        alone = draft.permit is not None and self.r.random() < 0.15
        return replace(ask, permit=draft.permit) if alone else ask

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


class QuickKey:
    """Signs nothing: its bytes only tell transactions apart. The curve adds nothing to a decision but time."""

    address = US

    def sign_transaction(self, transaction: DynamicFeeTransaction) -> SignedTransaction:
        """Bytes that differ when the transaction does."""
        raw = transaction.signing_payload()
        return SignedTransaction(raw=raw, hash="0x" + fingerprint_of(raw))

    def sign_permit(self, permit: PermitSingle, *, chain_id: int) -> bytes:
        """65 bytes."""
        return bytes(65)


def fingerprint_of(raw: bytes) -> str:
    """64 hex digits."""
    return fingerprint(Ask(sender="", chain_id=0, now_s=0, tx={"raw": raw}))[:64]


def policy(terms: Terms = TERMS) -> Policy:
    """The terms in the signer's words."""
    limits = {
        token: TokenLimit(
            max_allowance=a, max_trade=t, max_hour=h, max_day=d, worth=Worth(1, 1) if token == USDC else None
        )
        for token, (a, t, h, d) in terms.tokens.items()
    }
    return Policy(
        chain_ids=frozenset({terms.chain_id}),
        own_addresses=frozenset({terms.us}),
        routers={ROUTER: frozenset({"0x3593564c"})},
        permit_spenders=frozenset({ROUTER}),
        tokens=limits,
        unlisted_token_limit=TokenLimit(*terms.unlisted),
        max_fee_per_gas_wei=terms.fee_cap,
        max_tip_per_gas_wei=terms.tip_cap,
        max_gas_limit=terms.gas_cap,
        max_cost_wei=terms.cost_cap,
        max_value_wei=terms.value_cap,
        max_deadline_s=terms.deadline_s,
        max_permit_s=terms.deadline_s,
        max_approval_s=terms.approval_s,
        wrapped_native=WETH,
        approvers=cast("Any", terms.keys),
        book_accounts={terms.book: frozenset({terms.us})},
        caps=SpendingCaps(
            value_per_trade=terms.value_per_trade,
            value_per_hour=terms.value_per_hour,
            value_per_day=terms.value_per_day,
            trades_per_hour=terms.trades_per_hour,
            trades_per_day=terms.trades_per_day,
            gas_wei_per_hour=terms.gas_per_hour,
            gas_wei_per_day=terms.gas_per_day,
        ),
    )


@dataclass
class Comparison:
    """What a run showed. ``differences`` are requests of which signer and oracle think differently."""

    requests: int = 0
    signed: int = 0
    denied: Counter[str] = field(default_factory=Counter)
    out_of_policy: int = 0
    honest_denied: int = 0
    differences: list[str] = field(default_factory=list)


class Trial:
    """One signer and one oracle that are asked the same. The guard is the real one, on a file that is not synced."""

    def __init__(self, folder: Path, terms: Terms = TERMS) -> None:
        self.guard = NonceGuard(folder / "guard.db")
        self.guard._db.execute("PRAGMA synchronous = OFF")  # noqa: SLF001 - a million commits need not reach a disk
        self.now_s = START_S
        key = cast("PrivateKey", QuickKey())
        self.signer = LocalSigner([key], [policy(terms)], self.guard, clock_s=lambda: self.now_s)
        self.oracle = Oracle(terms)
        self.found = Comparison()

    def put(self, ask: Ask) -> None:
        """Ask both."""
        self.now_s = ask.now_s
        why_not = self.oracle.answer(ask)
        reason = self._sign(ask)
        self.found.requests += 1
        self.found.signed += reason is None
        if reason is not None:
            self.found.denied[reason] += 1
        if (why_not is None) != (reason is None):
            self.found.out_of_policy += reason is None
            self.found.honest_denied += why_not is None
            self.found.differences.append(f"oracle: {why_not}; signer: {reason}; {ask}")

    def _sign(self, ask: Ask) -> str | None:
        seal = None if ask.seal is None else Approval(*ask.seal)
        common = {"epoch": ask.epoch, "purpose": ask.purpose, "approval": seal}
        try:
            if ask.permit is not None:
                self.signer.sign_permit(
                    PermitRequest(
                        owner=ask.sender, chain_id=ask.chain_id, permit=_permit(ask.permit), **cast("Any", common)
                    )
                )
            else:
                self.signer.sign_transaction(
                    SignRequest(
                        sender=ask.sender,
                        intent_id=ask.intent,
                        kind=cast("Any", ask.kind),
                        transaction=transaction_of(ask),
                        **cast("Any", common),
                    )
                )
        except SigningDenied as denied:
            return denied.reason.value
        except ValueError:
            return "no_request"
        return None


def _permit(permit: Any) -> PermitSingle:
    return PermitSingle(
        token=permit["token"],
        amount=permit["amount"],
        expiration_s=permit["expiration"],
        nonce=0,
        spender=permit["spender"],
        sig_deadline_s=permit["deadline"],
    )


def transaction_of(ask: Ask) -> DynamicFeeTransaction:
    """The transaction that is asked for. ``ValueError`` for none."""
    tx = ask.tx
    return DynamicFeeTransaction(
        chain_id=ask.chain_id,
        nonce=tx["nonce"],
        max_priority_fee_per_gas_wei=tx["tip"],
        max_fee_per_gas_wei=tx["fee"],
        gas_limit=tx["gas"],
        to=tx["to"],
        value_wei=tx["value"],
        data=tx["data"],
    )


def compare(folder: Path, count: int, seed: int) -> Comparison:
    """Put so many requests to both."""
    trial = Trial(folder)
    requests = Generator(seed).requests()
    for _ in range(count):
        trial.put(next(requests))
    trial.guard.close()
    return trial.found
