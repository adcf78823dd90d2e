"""A node whose answers about blocks are checked before they are believed, and sampled against the receipts root."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dexlane.chain.answers import NOT_READABLE, BlockId, Header, RawLog, parse_log
from dexlane.chain.block_proof import receipts_root
from dexlane.chain.bloom import bloom_mask, may_log
from dexlane.chain.node import NodeRpc, block_request, logs_filter
from dexlane.chain.pool_events import POOL_EVENTS
from dexlane.chain.providers import Provider, Providers
from dexlane.chain.rpc import RpcError, RpcUnavailable

AUDITS_KEPT = 16
AUDIT_ROUNDS = 3
AUDIT_RETRY_S = 0.5
"""Receipts that no provider gives are asked for in so many rounds, so far apart."""
DOUBTS_BEFORE_DROP = 3
BLOCKS_DISTRUSTED = 128
"""The last blocks whose logs came from a provider: all of them are in doubt when one turns out to be a lie."""

OnLie = Callable[[str], None]
"""Takes the hash of a block whose logs turned out to be wrong after they were handed on; must not wait."""


@dataclass(frozen=True, slots=True)
class _Given:
    """Logs that a provider gave for a block, to be audited. ``doubted`` ones were of no use to the reader; of others
    some may be missing because the provider was asked too early."""

    provider: Provider
    header: Header
    addresses: frozenset[str]
    logs: tuple[RawLog, ...]
    doubted: bool = False


class CheckedNode(NodeRpc):
    """``dexlane.chain.rpc.Rpc`` over several providers. What contradicts itself raises ``ProviderLied``.

    Of a proved header, every log must be in its bloom. Every ``audit_every``-th block and every one that the reader
    suspects is compared with its receipts in the background: only that finds a log that is altered but well formed, or
    one that is missing where the bloom is too full to tell.
    """

    def __init__(self, providers: Providers, *, audit_every: int = 16, on_lie: OnLie = lambda block_hash: None) -> None:
        super().__init__(providers)
        self.on_lie = on_lie
        self.providers = providers
        self._audit_every = audit_every
        self._to_audit: deque[_Given] = deque(maxlen=AUDITS_KEPT)
        self._wanted = asyncio.Event()
        self._receipts_provable = False
        """Whether receipts of this chain hash to their root by the rules known here; seen once is enough."""
        self._doubted = ("", "", 0)
        self._late: dict[str, int] = {}
        """How often in a row a provider's logs turned out not to be all."""
        self._given: _Given | None = None
        self._given_by: dict[str, deque[str]] = {}

    async def block(self, block: BlockId) -> Header | None:
        """A header. Raises ``ProviderLied`` when it is not the one that was asked for, or not its own hash's."""
        provider = self.providers.in_use()
        answer = await provider.call(*block_request(block))
        if answer is None:
            return None
        header = self.providers.header_of(provider, answer)
        if (isinstance(block, int) and header.number != block) or (
            isinstance(block, str) and len(block) == 66 and header.hash != block
        ):
            raise self.providers.drop(provider, f"gave block {header.number} {header.hash} when asked for {block}")
        if block == "latest":
            provider.note_head(header.number, header.hash)
        return header

    async def logs(self, block_hash: str, addresses: Sequence[str]) -> list[RawLog]:
        """The logs of one block in order, each once. Raises ``ProviderLied`` when they cannot be that."""
        provider = self.providers.in_use()
        answers = await provider.call("eth_getLogs", logs_filter(block_hash, addresses))
        wanted, header = frozenset(addresses), self.providers.proved.get(block_hash)
        try:
            logs = [parse_log(answer) for answer in answers]
            fault = _fault_of(logs, block_hash, wanted, header)
        except NOT_READABLE as error:
            raise self.providers.drop(
                provider, f"gave logs that cannot be read ({type(error).__name__}: {error})"
            ) from error
        if fault:
            raise self.providers.drop(provider, fault)
        logs = self._tidied(provider, logs)
        self._given_by.setdefault(provider.name, deque(maxlen=BLOCKS_DISTRUSTED)).append(block_hash)
        if header is not None:
            self._given = _Given(provider, header, wanted, tuple(logs))
            if header.number % self._audit_every == 0:
                self._want_audit(self._given)
        return logs

    def doubt(self, header: Header, reason: str) -> None:
        """The reader was given something it cannot use: the receipts must tell whether it is true all the same. The
        same about the same block a third time is a lie."""
        provider = self.providers.current
        if self._given is not None and self._given.header.hash == header.hash:
            self._want_audit(replace(self._given, doubted=True))
        name, block_hash, times = self._doubted
        times = times + 1 if (name, block_hash) == (provider.name, header.hash) else 1
        self._doubted = (provider.name, header.hash, times)
        if times >= DOUBTS_BEFORE_DROP:
            self._doubted = ("", "", 0)
            self.providers.drop(provider, reason)

    def suspect(self, header: Header) -> None:
        """The reader goes on with fewer logs than the bloom names, be it by chance or because the provider is late: the
        receipts tell."""
        if self._given is not None and self._given.header.hash == header.hash:
            self._want_audit(self._given)

    async def audit(self) -> None:
        """Compare sampled and suspected logs with the receipts of their block, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._to_audit:
                given = self._to_audit.popleft()
                outcome = await self._audited(given)
                self.providers.moments.audit_done(self.providers.chain_id, given.provider.name, outcome)

    def _tidied(self, provider: Provider, logs: Sequence[RawLog]) -> list[RawLog]:
        indices = [log.log_index for log in logs]
        if indices != sorted(indices):
            self.providers.moments.answer_untidy(self.providers.chain_id, provider.name, "unsorted_logs")
        if len(set(indices)) != len(indices):
            self.providers.moments.answer_untidy(self.providers.chain_id, provider.name, "duplicate_log")
        by_index = {log.log_index: log for log in logs}
        return [by_index[index] for index in sorted(by_index)]

    def _want_audit(self, given: _Given) -> None:
        if len(self._to_audit) == AUDITS_KEPT:
            self.providers.moments.audit_done(self.providers.chain_id, self._to_audit[0].provider.name, "skipped")
        self._to_audit.append(given)
        self._wanted.set()

    async def _audited(self, given: _Given) -> str:
        header, (provider, receipts) = given.header, await self._receipts(given)
        if receipts is None:
            return "skipped"
        try:
            root = await asyncio.to_thread(receipts_root, receipts)
            logs = [log for log in _logs_of(receipts) if _is_wanted(log, given.addresses)]
        except NOT_READABLE:
            return "unprovable"
        if root == header.receipts_root:
            self._receipts_provable = True
            return self._judged(given, logs)
        if not self._receipts_provable:
            return "unprovable"
        self.providers.drop(provider, f"gave receipts of block {header.number} that are not those of its header")
        return "refuted"

    async def _receipts(self, given: _Given) -> tuple[Provider, Any]:
        """The receipts of a block and who gave them: whoever gave its logs, or another one. They prove themselves."""
        others = [one for one in self.providers.all if one is not given.provider]
        for attempt in range(AUDIT_ROUNDS):
            if attempt:
                await asyncio.sleep(AUDIT_RETRY_S)
            for provider in (given.provider, *others):
                try:
                    receipts = await provider.call("eth_getBlockReceipts", given.header.hash)
                except (RpcError, RpcUnavailable):
                    continue
                if receipts is not None:
                    return provider, receipts
        return given.provider, None

    def _judged(self, given: _Given, logs: Sequence[RawLog]) -> str:
        held, told, name = _content(logs), _content(given.logs), given.provider.name
        if held == told:
            self._late.pop(name, None)
            return "proved"
        self._late[name] = self._late.get(name, 0) + 1
        if not given.doubted and set(told) <= set(held) and self._late[name] < DOUBTS_BEFORE_DROP:
            self.on_lie(given.header.hash)
            self.providers.look_again(f"{name} did not give all logs of block {given.header.number}")
            return "late"
        self.providers.drop(given.provider, f"gave other logs of block {given.header.number} than its receipts hold")
        for block_hash in self._given_by.pop(name, ()):
            self.on_lie(block_hash)
        return "refuted"


def _content(logs: Iterable[RawLog]) -> list[tuple[int, str, tuple[str, ...], bytes]]:
    return sorted((log.log_index, log.address, log.topics, log.data) for log in logs)


def _logs_of(receipts: Sequence[Mapping[str, Any]]) -> list[RawLog]:
    return [parse_log(log) for receipt in receipts for log in receipt["logs"]]


def _fault_of(logs: Sequence[RawLog], block_hash: str, wanted: frozenset[str], header: Header | None) -> str:
    """What is wrong with the logs of a block, as a clause without subject; empty when nothing is."""
    by_index: dict[int, RawLog] = {}
    for log in logs:
        if log.block_hash != block_hash or (header is not None and log.block_number != header.number):
            return f"gave a log of block {log.block_number} {log.block_hash} for {block_hash}"
        if not _is_wanted(log, wanted):
            return f"gave a log of {log.address}, which was not asked for"
        if log.log_index < 0 or by_index.setdefault(log.log_index, log) != log:
            return f"gave two different logs with index {log.log_index} in block {log.block_number}"
        if header is not None and not _in_bloom(log, header.logs_bloom):
            return f"gave a log of {log.address} that the bloom of block {log.block_number} rules out"
    return ""


def _is_wanted(log: RawLog, addresses: frozenset[str]) -> bool:
    """Whether a log was asked for; without addresses the events of pools were, whoever emitted them."""
    return log.address in addresses if addresses else log.topics[:1] != () and log.topics[0] in POOL_EVENTS


def _in_bloom(log: RawLog, bloom: int) -> bool:
    """Whether the bloom allows the log's address and event; other topics are too many to be remembered."""
    return may_log(bloom, bloom_mask(log.address)) and (not log.topics or may_log(bloom, bloom_mask(log.topics[0])))
