"""What a signer may sign, said a second time: naive, slow, with ``eth_abi``, and without a line of the signer's code.

It judges one fixed policy (``TERMS``) and keeps its own memory of what was signed. A test asks signer and oracle the
same, and every difference is a hole in one of them. It knows the Universal Router's swaps and permits, allowances,
wrapping and cancels; programs that wrap and the older routers have tests of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

ROUTER = "0x66a9893cc07d91d95644aedd05d03f95e1dba8af"
PERMIT2 = "0x000000000022d473030f116ddee9f6b43ac78ba3"
USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
ALL = 1 << 255
UNSIGNED = bytes(65)
CALLER, ITSELF = "0x" + "0" * 39 + "1", "0x" + "0" * 39 + "2"
_BELOW = 16
"""How far below its highest nonce an account opens a slot for a trade."""


@dataclass(frozen=True)
class Terms:
    """The policy in plain numbers. ``tokens``: allowance, trade, hour and day of each listed one."""

    us: str
    keys: Mapping[int, bytes]
    chain_id: int = 1
    book: str = "ours"
    tokens: Mapping[str, tuple[int, int, int, int]] = field(
        default_factory=lambda: {USDC: (10**12, 10**6, 2_500_000, 25_000_000), WETH: (10**12, 10**6, 10**6, 8 * 10**6)}
    )
    unlisted: tuple[int, int] = (10**9, 10**6)
    fee_cap: int = 100 * 10**9
    tip_cap: int = 5 * 10**9
    gas_cap: int = 1_000_000
    cost_cap: int = 3 * 10**16
    value_cap: int = 10**18
    deadline_s: int = 600
    approval_s: int = 3_600
    value_per_trade: int = 900_000
    value_per_hour: int = 2_200_000
    value_per_day: int = 24_000_000
    trades_per_hour: int = 12
    trades_per_day: int = 200
    gas_per_hour: int = 10**17
    gas_per_day: int = 10**18
    entry_token: str = USDC
    entry_level: int = 5
    entry_lane: str = "fast"
    entry_capital: int = 16_000_000
    entry_most: int = 800_000
    """What that level, five per cent, makes of that capital."""

    def of(self, account: str) -> Terms:
        """The same for another account."""
        return replace(self, us=account)


class No(Exception):  # noqa: N818 - an answer
    """Not to be signed."""


def require(holds: bool, why: str) -> None:
    """Refuse unless something holds."""
    if not holds:
        raise No(why)


@dataclass(frozen=True)
class Ask:
    """A request in plain values: what ``SignRequest`` would hold."""

    sender: str
    chain_id: int
    now_s: int
    intent: str = ""
    kind: str = "trade"
    purpose: str = "entry"
    epoch: int = 0
    seal: tuple[bytes, bytes] | None = None
    tx: Mapping[str, Any] = field(default_factory=dict)


class Oracle:
    """Says yes or no, and remembers its yes."""

    def __init__(self, terms: Terms) -> None:
        self.t = terms
        self.slots: dict[int, str] = {}
        self.nonce_of: dict[str, int] = {}
        self.cancelled: set[int] = set()
        self.signed: set[tuple[str, str]] = set()
        self.used: dict[str, str] = {}
        self.spent: dict[tuple[str, int], tuple[int, int]] = {}
        self.latest_s = 0
        self.epoch = 0
        self.highest = 0

    def answer(self, ask: Ask) -> str | None:
        """None for yes; else why not."""
        try:
            self._transaction(ask)
        except No as no:
            return str(no)
        return None

    def _transaction(self, ask: Ask) -> None:
        chains = self._decide(ask)
        stated = self._approved(ask, chains) if chains else None
        value = self._value(chains)
        require(stated == 3 or not chains or value <= self.t.value_per_trade, "value of the trade")
        pays = {token: sum(c[1] for c in chains if c[0][0] == token) for token in {c[0][0] for c in chains}}
        if ask.tx["to"] == WETH and ask.tx["value"]:
            pays = {"native": ask.tx["value"]}
        if pays and ask.purpose == "exit":
            ends = {c[0][-1] for c in chains}
            require(stated == 3 and bool(ends) and ends <= set(self.t.tokens) and not ends & set(pays), "no exit")
        elif chains:
            self._entry(pays)
        self._record(ask, pays, value, stated)

    def _entry(self, pays: Mapping[str, int]) -> None:
        require(set(pays) == {self.t.entry_token}, "entry in another token")
        require(pays[self.t.entry_token] <= self.t.entry_most, "entry over the level")

    def _decide(self, ask: Ask) -> list[tuple[tuple[str, ...], int]]:
        t, tx, cancel = self.t, ask.tx, ask.kind == "cancel"
        more = 5 if cancel else 4
        require(ask.chain_id == t.chain_id and ask.sender == t.us, "chain or account")
        require(tx["fee"] * 4 <= t.fee_cap * more and tx["tip"] * 4 <= t.tip_cap * more, "fee")
        require(tx["tip"] <= tx["fee"], "tip above the fee cap")
        require(tx["gas"] <= t.gas_cap and tx["fee"] * tx["gas"] <= t.cost_cap, "gas")
        require(tx["value"] <= t.value_cap, "value")
        if cancel or tx["to"] == t.us:
            require(cancel and tx["to"] == t.us and tx["data"] == b"" and tx["value"] == 0, "cancel")
            return []
        data, selector = tx["data"], tx["data"][:4].hex()
        if tx["to"] == WETH and selector in ("d0e30db0", "2e1a7d4d"):
            require(len(data) == (4 if selector == "d0e30db0" else 36), "wrapping")
            require(selector == "d0e30db0" or tx["value"] == 0, "unwrapping with value")
            return []
        require(tx["value"] == 0, "value with a call")
        if tx["to"] == ROUTER:
            require(selector == "3593564c", "selector")
            return self._program(ask, data[4:])
        self._allowance(tx["to"], selector, data)
        return []

    def _allowance(self, token: str, selector: str, data: bytes) -> None:
        if token == PERMIT2 and selector == "cc53287f":  # lockdown takes everything back
            exact(["(address,address)[]"], data[4:])
            return
        if token == PERMIT2 and selector == "87517c45":
            _, _, amount, expiration = exact(["address", "address", "uint160", "uint48"], data[4:])
            require(amount == 0 and expiration == 0, "allowance inside permit2")
            return
        require(token != PERMIT2 or selector == "095ea7b3", "permit2")
        require(selector == "095ea7b3", "selector of a token")
        spender, amount = exact(["address", "uint256"], data[4:])
        limit = self.t.tokens.get(token, self.t.unlisted)[0]
        require(amount == 0 or (spender == PERMIT2 and amount <= limit), "allowance")

    def _program(self, ask: Ask, data: bytes) -> list[tuple[tuple[str, ...], int]]:
        commands, inputs, deadline = exact(["bytes", "bytes[]", "uint256"], data)
        require(len(commands) == len(inputs) <= 16, "commands")
        require(ask.now_s <= deadline <= ask.now_s + self.t.deadline_s, "deadline")
        permits, chains = [], list[tuple[tuple[str, ...], int]]()
        open_chain: tuple[tuple[str, ...], int] | None = None
        for command, payload in zip(commands, inputs, strict=True):
            if command == 0x0A:
                permits.append(exact(_PERMIT, payload))
                continue
            require(command in (0x00, 0x08), "command")
            to, amount, least, path, from_us = exact(_V3 if command == 0 else _V2, payload)
            tokens = v3_path(path) if command == 0 else tuple(path)
            require(2 <= len(tokens) <= (16 if command else 10**6), "path")
            if open_chain is None:
                require(from_us and 0 < amount < ALL, "start of a chain")
                open_chain = (tokens, amount)
            else:
                require(not from_us and amount == ALL and tokens[0] == open_chain[0][-1], "link of a chain")
                open_chain = (open_chain[0] + tokens[1:], open_chain[1])
            if to == ITSELF:
                continue
            require(to in (CALLER, self.t.us) and least > 0, "end of a chain")
            require(open_chain[0][0] != open_chain[0][-1] or least >= open_chain[1], "losing round trip")
            chains.append(open_chain)
            open_chain = None
        require(bool(chains) and open_chain is None, "open chain")
        self._amounts(ask, chains, permits)
        return chains

    def _amounts(self, ask: Ask, chains: list[tuple[tuple[str, ...], int]], permits: list[Any]) -> None:
        pays: dict[str, int] = {}
        for tokens, amount in chains:
            pays[tokens[0]] = pays.get(tokens[0], 0) + amount
        for token, amount in pays.items():
            require(amount <= self.t.tokens.get(token, (0, self.t.unlisted[1]))[1], "amount")
        for ((token, amount, expiration, _), spender, deadline), signature in permits:
            require(len(signature) == 65 and amount <= pays.get(token, 0), "permit in a program")
            require(spender == ROUTER, "spender of a permit")
            require(max(expiration, deadline) <= ask.now_s + self.t.deadline_s, "long permit")

    def _opened(self, ask: Ask) -> tuple[int, tuple[str, ...], int]:
        """Kind, tokens and largest amount of the approval."""
        require(ask.seal is not None, "no approval")
        data, signature = ask.seal or (b"", b"")
        require(len(data) > 120 and data[:17] == b"dexlane approval\x01", "layout")
        who, kind = data[17], data[18]
        require(kind in {1: (1, 2), 2: (3,), 3: (3,)}.get(who, ()), "who may approve")
        try:
            crypto_sign_open(signature + data, self.t.keys[who])
        except (CryptoError, ValueError):
            raise No("seal") from None
        require(len(signature) == 64, "seal")
        number = int.from_bytes
        require(number(data[35:43], "big") == ask.chain_id, "chain of the approval")
        require(ask.now_s <= number(data[59:67], "big") <= ask.now_s + self.t.approval_s, "time of the approval")
        account, size = "0x" + data[99:119].hex(), data[119]
        require(account in ("0x" + "0" * 40, ask.sender), "account of the approval")
        book, rest = data[120 : 120 + size], data[120 + size :]
        require(size <= 32 and (not book or book == self.t.book.encode()), "book of the approval")
        require(bool(rest) and 2 <= rest[0] <= 8 and len(rest) == 1 + 20 * rest[0], "tokens of the approval")
        tokens = tuple("0x" + rest[1 + 20 * i : 21 + 20 * i].hex() for i in range(rest[0]))
        return kind, tokens, number(data[67:99], "big")

    def _approved(self, ask: Ask, chains: list[tuple[tuple[str, ...], int]]) -> int:
        kind, tokens, most = self._opened(ask)
        first = chains[0][0][0]
        for path, _ in chains:
            if kind == 2:
                require(path[0] == path[-1] and set(path) == set(tokens), "other gap")
            else:
                require((path[0], path[-1]) == (tokens[0], tokens[-1]) and path[0] != path[-1], "other pair")
            require(path[0] == first, "two payments")
        total = sum(amount for _, amount in chains)
        require(not most or first != tokens[0] or total <= most, "over the approved amount")
        return kind

    def _value(self, chains: list[tuple[tuple[str, ...], int]]) -> int:
        return sum(amount for tokens, amount in chains if tokens[0] == USDC)

    def _record(self, ask: Ask, pays: Mapping[str, int], value: int, stated: int | None) -> None:
        nonce, cancel = ask.tx["nonce"], ask.kind == "cancel"
        same = (ask.intent, fingerprint(ask))
        require(ask.epoch >= self.epoch, "stale epoch")
        require(self.slots.get(nonce, ask.intent) == ask.intent, "slot of another")
        require(self.nonce_of.get(ask.intent, nonce) == nonce, "second slot")
        if same not in self.signed:
            is_new = nonce not in self.slots
            require(cancel or not is_new or nonce >= self.highest - _BELOW, "far below")
            require(cancel or nonce not in self.cancelled, "cancelled slot")
            if stated is not None and ask.seal is not None:
                approval = ask.seal[0][19:35].hex()
                require(self.used.get(approval, ask.intent) == ask.intent, "used approval")
            wanted = {"gas": ask.tx["fee"] * ask.tx["gas"], **pays}
            if pays:
                wanted |= {"trades": 1, "value": value}
            self._count(ask.now_s, nonce, wanted, cancel or stated == 3)
            if stated is not None:
                self.used[approval] = ask.intent
            self.slots[nonce], self.nonce_of[ask.intent] = ask.intent, nonce
            self.highest = max(self.highest, nonce)
            self.cancelled |= {nonce} if cancel else set()
            self.signed.add(same)
        self.epoch = max(self.epoch, ask.epoch)

    def _count(self, now_s: int, nonce: int, wanted: Mapping[str, int], out: bool) -> None:
        t = self.t
        now_s = self.latest_s = max(now_s, self.latest_s)
        # A slot counts its largest from its last signature on, and begins anew after a day without any.
        self.spent = {slot: held for slot, held in self.spent.items() if held[0] > now_s - 86_400}
        caps: dict[str, tuple[int, int]] = {"gas": (t.gas_per_hour, t.gas_per_day)}
        caps |= {token: limits[2:] for token, limits in t.tokens.items()}
        if out:
            caps["gas"] = (t.gas_per_hour * 5 // 4, t.gas_per_day * 5 // 4)
        else:
            caps |= {"trades": (t.trades_per_hour, t.trades_per_day), "value": (t.value_per_hour, t.value_per_day)}
        largest = {name: max(amount, self.spent.get((name, nonce), (0, 0))[1]) for name, amount in wanted.items()}
        windows = [{s: held for s, (at, held) in self.spent.items() if at > now_s - most} for most in (3_600, 86_400)]
        for name, amount in largest.items():
            for window, young in enumerate(windows):
                others = sum(held for (what, slot), held in young.items() if what == name and slot != nonce)
                is_held = young.get((name, nonce), 0) == amount
                require(is_held or name not in caps or others + amount <= caps[name][window], f"cap on {name}")
        self.spent |= {(name, nonce): (now_s, amount) for name, amount in largest.items()}


_V3 = ["address", "uint256", "uint256", "bytes", "bool"]
_V2 = ["address", "uint256", "uint256", "address[]", "bool"]
_PERMIT = ["((address,uint160,uint48,uint48),address,uint256)", "bytes"]


def exact(types: list[str], data: bytes) -> tuple[Any, ...]:
    """Decode what is encoded in the one canonical way, or refuse."""
    try:
        values = decode(types, data)
        require(encode(types, values) == data, "not canonical")
    except (DecodingError, EncodingError, OverflowError, ValueError):
        raise No("not decodable") from None
    return tuple(values)


def with_permits_signed(data: bytes, signature: bytes) -> bytes:
    """The calldata that is to be signed: each permit without a signature has this one, and nothing else is changed."""
    if data[:4].hex() != "3593564c":
        return data
    commands, inputs, deadline = exact(["bytes", "bytes[]", "uint256"], data[4:])
    filled = []
    for command, payload in zip(commands, inputs, strict=True):
        permit = exact(_PERMIT, payload) if command == 0x0A else None
        is_unsigned = permit is not None and permit[1] == UNSIGNED
        filled.append(encode(_PERMIT, (permit[0], signature)) if permit is not None and is_unsigned else payload)
    return data[:4] + encode(["bytes", "bytes[]", "uint256"], (commands, filled, deadline))


def v3_path(path: bytes) -> tuple[str, ...]:
    """The tokens of a packed path."""
    require(len(path) >= 43 and (len(path) - 20) % 23 == 0, "packed path")
    return tuple("0x" + path[at : at + 20].hex() for at in range(0, len(path), 23))


def fingerprint(ask: Ask) -> str:
    """Tells two transactions apart, as their hashes do."""
    return hashlib.blake2b(repr((ask.chain_id, ask.sender, sorted(ask.tx.items()))).encode()).hexdigest()
