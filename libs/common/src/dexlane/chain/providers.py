"""Several providers of one chain behind one: calls and heads of the best, fail-over, and no patience with a lie.

Each provider has one connection for calls and one for heads. Only heads of the provider in use are handed on; those of
the others tell how late it is. A change of provider is a ``Gap``: the reader looks at the chain and fills in what it
misses.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from dexlane.chain.answers import NOT_READABLE, Header, parse_header
from dexlane.chain.block_proof import HeaderProof, prove_header
from dexlane.chain.link import LinkPolicy, Request, RpcError, RpcUnavailable, WrongChain, host_of
from dexlane.chain.node import block_request
from dexlane.chain.provider_health import HealthPolicy, ProviderHealth
from dexlane.chain.rpc import RpcClient
from dexlane.chain.subscriptions import Gap, Subscription, SubscriptionPolicy
from dexlane.runtime.clock import Clock
from dexlane.values.chains import BlockRef

CAPACITY = 1_024
REMEMBERED_HEADS = 64
HEADERS_KEPT = 512
SETTLED_DEPTH = 4
"""Blocks on top of a number after which providers must agree on it."""
VOTERS = 3
LOOK_S = 0.25
REFUSED_FOR_LOAD = (-32_005, 429)
"""Error codes with which providers refuse a client that asks too much."""


class ProviderLied(RpcUnavailable):
    """What a provider answered cannot be true, or cannot be read. It is dropped; ask again, another one answers."""


class ProviderMoments(Protocol):
    """What is worth knowing about providers. ``provider`` is its host, never its whole URL."""

    def provider_dropped(self, chain_id: int, provider: str, reason: str) -> None:
        """It lied."""
        ...

    def provider_changed(self, chain_id: int, provider: str, reason: str) -> None:
        """Another one is in use from now on; the reason is what is wrong with the last one."""
        ...

    def provider_fit(self, chain_id: int, provider: str, *, fit: bool) -> None:
        """It became fit for use, or unfit."""
        ...

    def header_unproved(self, chain_id: int, provider: str, number: int) -> None:
        """A header has fields that are not known here, so that its hash proves nothing."""
        ...

    def answer_untidy(self, chain_id: int, provider: str, what: str) -> None:
        """An answer had to be put right: ``duplicate_log`` or ``unsorted_logs``."""
        ...

    def audit_done(self, chain_id: int, provider: str, outcome: str) -> None:
        """Logs were compared with the receipts root: ``proved``, ``unprovable``, ``skipped``,
        ``late`` (some were missing) or ``refuted``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderPolicy:
    """How connections, subscriptions and judgements are made."""

    link: LinkPolicy
    head_silence_s: float = 30.0
    health: HealthPolicy = field(default_factory=HealthPolicy)


class Provider:
    """One provider: its two connections and the judgement on it."""

    def __init__(self, url: str, name: str, chain_id: int, policy: ProviderPolicy, clock: Clock) -> None:
        self.name = name
        self.chain_id = chain_id
        self.client = RpcClient(url, name=f"{name}-{chain_id}", policy=policy.link, chain_id=chain_id)
        subscription = SubscriptionPolicy(link=policy.link, silence_s=policy.head_silence_s)
        self.heads = Subscription(url, "newHeads", policy=subscription, chain_id=chain_id)
        self.health = ProviderHealth(policy.health)
        self.announced: dict[int, str] = {}
        """Hashes by number as its heads gave them; forgotten when heads may have been missed."""
        self._clock = clock

    def why_unfit(self, now_ms: int) -> str:
        """Why another provider is better; empty when it is fit."""
        return self.health.why_unfit(now_ms, connected=self.client.connected)

    async def call(self, method: str, *params: Any, on_sent: Callable[[], None] | None = None) -> Any:
        """The result of one request, counted."""
        try:
            answer = await self.client.call(method, *params, on_sent=on_sent)
        except (RpcUnavailable, RpcError) as error:
            failed = isinstance(error, RpcUnavailable) or error.code in REFUSED_FOR_LOAD
            self.health.call_done(self.now_ms(), failed=failed)
            raise
        self.health.call_done(self.now_ms(), failed=False)
        return answer

    async def batch(self, requests: Sequence[Request]) -> list[Any]:
        """Results in the order of the requests, counted."""
        try:
            answers = await self.client.batch(requests)
        except RpcUnavailable:
            self.health.call_done(self.now_ms(), failed=True)
            raise
        refused = any(isinstance(answer, RpcError) and answer.code in REFUSED_FOR_LOAD for answer in answers)
        self.health.call_done(self.now_ms(), failed=refused)
        return answers

    def note_head(self, number: int, block_hash: str) -> None:
        """A head of the newest block was seen."""
        self.health.head_seen(number, self.now_ms())
        self.announced.pop(number, None)
        self.announced[number] = block_hash
        while len(self.announced) > REMEMBERED_HEADS:
            del self.announced[next(iter(self.announced))]

    def now_ms(self) -> int:
        """The monotonic time that all judgements are dated with."""
        return self._clock.monotonic_ns() // 1_000_000


class Providers:
    """All providers of a chain, in order of preference, seen as one node. Implements ``dexlane.chain.node.Calls``."""

    def __init__(
        self, chain_id: int, urls: Sequence[str], policy: ProviderPolicy, *, clock: Clock, moments: ProviderMoments
    ) -> None:
        self.chain_id = chain_id
        self.moments = moments
        self._clock = clock
        self.all = [
            Provider(url, name, chain_id, policy, clock) for url, name in zip(urls, names_of(urls), strict=True)
        ]
        self.current = self.all[0]
        self.proved: OrderedDict[str, Header] = OrderedDict()
        """The last headers that hash to their hash, whoever gave them."""
        self._queue: asyncio.Queue[Header | Gap] = asyncio.Queue(CAPACITY)
        self._told_fit: dict[str, bool] = {}
        self._voting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect to all. Raises ``Fatal`` when one serves another chain."""
        await asyncio.gather(*(provider.client.start() for provider in self.all))

    async def stop(self) -> None:
        """Close all connections."""
        if self._voting is not None:
            self._voting.cancel()
            await asyncio.gather(self._voting, return_exceptions=True)
        await asyncio.gather(*(provider.client.stop() for provider in self.all))

    def tasks(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What must run beside the readers, by name."""
        running: dict[str, Callable[[], Awaitable[None]]] = {f"providers {self.chain_id}": self._watch}
        for provider in self.all:
            running[f"heads {self.chain_id} {provider.name}"] = _bound(self._listen, provider)
            running[f"head reader {self.chain_id} {provider.name}"] = _bound(self._read_heads, provider)
        return running

    async def next(self) -> Header | Gap:
        """The next head of the provider in use, or a gap."""
        return await self._queue.get()

    async def call(self, method: str, *params: Any, on_sent: Callable[[], None] | None = None) -> Any:
        """The result of one request to the provider in use. Raises ``RpcError`` or ``RpcUnavailable``."""
        return await self.in_use().call(method, *params, on_sent=on_sent)

    async def batch(self, requests: Sequence[Request]) -> list[Any]:
        """Results of the provider in use, in the order of the requests."""
        return await self.in_use().batch(requests)

    def in_use(self) -> Provider:
        """The provider in use. ``RpcUnavailable`` while it and all others are dropped."""
        if not self.current.client.connected or self.current.health.dropped(self.now_ms()):
            self._choose()
        reason = self.current.health.dropped(self.now_ms())
        if reason:
            raise RpcUnavailable(f"no provider of chain {self.chain_id} is left: {self.current.name} is {reason}")
        return self.current

    def header_of(self, provider: Provider, answer: Any) -> Header:
        """A header that a provider gave, checked against its hash. Raises ``ProviderLied``."""
        try:
            proof, header = prove_header(answer), parse_header(answer)
            quantities = (header.timestamp_s, header.gas_used, header.gas_limit - 1, header.base_fee_per_gas_wei)
            if min(quantities) < 0:
                raise ValueError("a negative quantity")
            for named in (header.hash, header.parent_hash):
                BlockRef(number=header.number, hash=named)
        except NOT_READABLE as error:
            raise self.drop(provider, f"gave a header that cannot be read ({type(error).__name__}: {error})") from error
        if proof is HeaderProof.REFUTED:
            raise self.drop(provider, f"gave a header of block {header.number} that does not hash to {header.hash}")
        if proof is HeaderProof.UNPROVABLE:
            self.moments.header_unproved(self.chain_id, provider.name, header.number)
            return header
        header = replace(header, proved=True)
        self.proved[header.hash] = header
        if len(self.proved) > HEADERS_KEPT:
            self.proved.popitem(last=False)
        return header

    def drop(self, provider: Provider, reason: str) -> ProviderLied:
        """Stop using a provider that ``reason`` (a clause without subject); the error to raise."""
        if not provider.health.dropped(self.now_ms()):
            provider.health.drop(reason, self.now_ms())
            provider.announced.clear()
            self.moments.provider_dropped(self.chain_id, provider.name, reason)
            self._choose()
            if provider is self.current:  # nobody else is left: the reader asks again until its cool-down has passed
                self._put(Gap(f"{provider.name} {reason}"))
        return ProviderLied(f"{provider.name} {reason}")

    def look_again(self, reason: str) -> None:
        """Let the reader look at the chain before the next head comes."""
        self._put(Gap(reason))

    def why_not_ready(self) -> bool | str:
        """A readiness probe: True, or what is wrong with each provider while none is fit."""
        now_ms = self.now_ms()
        reasons = {provider.name: provider.why_unfit(now_ms) for provider in self.all}
        if not all(reasons.values()):
            return True
        usable = self.current.client.connected and not self.current.health.dropped(now_ms)
        return usable or "; ".join(f"{name} {reason}" for name, reason in reasons.items())

    def state(self) -> dict[str, dict[str, Any]]:
        """For people: of each provider whether it is in use, its head, how often it lied, and what is wrong with it (an
        empty text for a fit one)."""
        now_ms = self.now_ms()
        return {
            provider.name: {
                "in_use": provider is self.current,
                "head": provider.health.head,
                "lies": provider.health.lies,
                "wrong": provider.why_unfit(now_ms),
            }
            for provider in self.all
        }

    async def _listen(self, provider: Provider) -> None:
        """Subscribe to heads for ever, or until it serves another chain: then it is left out while others serve ours.
        Raises ``Fatal`` when none does."""
        try:
            await provider.heads.run()
        except WrongChain as fault:
            if all(other.client.fault for other in self.all if other is not provider):
                raise
            self.drop(provider, f"answers for another chain ({fault})")

    async def _read_heads(self, provider: Provider) -> None:
        while True:
            notification = await provider.heads.next()
            if provider.health.dropped(self.now_ms()):
                continue
            if isinstance(notification, Gap):
                provider.announced.clear()
                if provider is self.current:
                    self._put(notification)
                continue
            try:
                header = self.header_of(provider, notification)
            except ProviderLied:
                continue
            provider.note_head(header.number, header.hash)
            self._vote(header.number - SETTLED_DEPTH)
            if provider is self.current:
                self._put(header)

    def _put(self, notification: Header | Gap) -> None:
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            notification = Gap("heads came faster than they were read")
        self._queue.put_nowait(notification)

    async def _watch(self) -> None:
        while True:
            self._choose()
            await asyncio.sleep(LOOK_S)

    def _choose(self) -> None:
        """Leave an unfit provider for the first fit one; go back to a preferred one when it has settled."""
        now_ms = self.now_ms()
        for provider in self.all:
            others = [other.health.head for other in self.all if other is not provider and other.client.connected]
            provider.health.others_at(max((head for head in others if head is not None), default=None), now_ms)
        reasons = {provider.name: provider.why_unfit(now_ms) for provider in self.all}
        for name, reason in reasons.items():
            if self._told_fit.get(name) is not (not reason):
                self._told_fit[name] = not reason
                self.moments.provider_fit(self.chain_id, name, fit=not reason)
        was, why = self.current, reasons[self.current.name]
        fit = [provider for provider in self.all if not reasons[provider.name]]
        if why:
            better = fit or [one for one in self.all if was.health.dropped(now_ms) and not one.health.dropped(now_ms)]
            self.current = next(iter(better), was)
        else:
            preferred = self.all[: self.all.index(was)]
            self.current = next((one for one in preferred if one in fit and one.health.is_settled(now_ms)), was)
        if self.current is not was:
            why = f"{was.name} {why}" if why else f"{self.current.name} has settled"
            self.moments.provider_changed(self.chain_id, self.current.name, why)
            self._put(Gap(f"changed to {self.current.name}: {why}"))

    def _vote(self, number: int) -> None:
        """Start a closer look when most providers announced another block than somebody did."""
        votes = {one.name: one.announced[number] for one in self.all if number in one.announced}
        if len(votes) < VOTERS or (self._voting is not None and not self._voting.done()):
            return
        [(block_hash, count)] = Counter(votes.values()).most_common(1)
        if VOTERS - 1 <= count < len(votes) and 2 * count > len(votes):
            accused = [one for one in self.all if votes.get(one.name, block_hash) != block_hash]
            self._voting = asyncio.create_task(self._hear(number, block_hash, accused), name="provider-vote")

    async def _hear(self, number: int, block_hash: str, accused: Sequence[Provider]) -> None:
        """A reorganisation that a provider did not announce is no lie: ask what it holds now, and the others again."""
        try:
            [witness, *_] = [one for one in self.all if one.announced.get(number) == block_hash]
            if await _hash_at(witness, number) != block_hash:
                return
            for provider in accused:
                held = await _hash_at(provider, number)
                if held not in ("", block_hash):
                    self.drop(provider, f"holds {held} as block {number}, where most hold {block_hash}")
        except (RpcUnavailable, RpcError, ValueError):
            return  # nobody can be heard; the next head votes again

    def now_ms(self) -> int:
        """The monotonic time that all judgements are dated with."""
        return self._clock.monotonic_ns() // 1_000_000


async def _hash_at(provider: Provider, number: int) -> str:
    answer = await provider.call(*block_request(number))
    return str(answer.get("hash", "")).lower() if isinstance(answer, dict) else ""


def _bound(run: Callable[[Provider], Awaitable[None]], provider: Provider) -> Callable[[], Awaitable[None]]:
    return lambda: run(provider)


def names_of(urls: Sequence[str]) -> list[str]:
    """A name for each URL that is safe to show: its host, with a number behind a host that comes again."""
    hosts = [host_of(url).partition("://")[2] for url in urls]
    return [
        host if not hosts[:at].count(host) else f"{host}#{hosts[:at].count(host) + 1}" for at, host in enumerate(hosts)
    ]
