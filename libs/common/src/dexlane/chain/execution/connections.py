"""The providers of one chain as an executor uses them: one node that fails over, and a witness per provider."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Sequence

from dexlane.chain.execution.testimony import Witness
from dexlane.chain.link import LinkPolicy, WrongChain
from dexlane.chain.node import NodeRpc
from dexlane.chain.provider_health import HealthPolicy
from dexlane.chain.providers import Provider, ProviderPolicy, Providers
from dexlane.chain.rpc import Rpc, RpcUnavailable
from dexlane.runtime.clock import Clock
from dexlane.runtime.observability import Log

CONNECT_WAIT_S = 5.0
SHARE_OF_WAIT_S = 0.1
NO_HEADS_MS = 10 * 365 * 86_400_000
"""Heads are asked for only while something is on its way: silence says nothing about a provider."""


class _ProviderLog:
    """What is worth knowing about providers beside what ``SendingMoments`` counts. Executors read neither headers nor
    logs through them, so nothing is proved or audited here."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def provider_dropped(self, chain_id: int, provider: str, reason: str) -> None:
        """It contradicts the others."""
        self._log.error("provider_dropped", chain_id=chain_id, provider=provider, reason=reason)

    def provider_changed(self, chain_id: int, provider: str, reason: str) -> None:
        """Calls go to another provider from now on."""
        self._log.warning("provider_changed", chain_id=chain_id, provider=provider, reason=reason)

    def provider_fit(self, chain_id: int, provider: str, *, fit: bool) -> None:
        """It became fit for use, or unfit."""
        self._log.info("provider_fit", chain_id=chain_id, provider=provider, fit=fit)

    def header_unproved(self, chain_id: int, provider: str, number: int) -> None:
        """A header could not be proved."""
        self._log.debug("header_unproved", chain_id=chain_id, provider=provider, number=number)

    def answer_untidy(self, chain_id: int, provider: str, what: str) -> None:
        """An answer had to be put right."""
        self._log.debug("answer_untidy", chain_id=chain_id, provider=provider, what=what)

    def audit_done(self, chain_id: int, provider: str, outcome: str) -> None:
        """Logs were compared with their receipts."""
        self._log.debug("audit_done", chain_id=chain_id, provider=provider, outcome=outcome)


class NodeConnections:
    """Every provider of a chain, connected when that is first asked for."""

    def __init__(self, chain_id: int, urls: Sequence[str], clock: Clock, log: Log) -> None:
        policy = ProviderPolicy(link=LinkPolicy(jitter=random.random), health=HealthPolicy(silence_ms=NO_HEADS_MS))
        self._providers = Providers(chain_id, urls, policy, clock=clock, moments=_ProviderLog(log))
        self._started = False

    async def connect(self) -> Rpc:
        """A node that is one of the providers, another one when that fails. ``RpcUnavailable`` when none answers yet;
        ask again. ``WrongChain`` when all serve another chain; one alone that does is left out."""
        if not self._started:
            self._started = True
            await self._start()
        clients = [provider.client for provider in self._providers.all]
        loop = asyncio.get_running_loop()
        until = loop.time() + CONNECT_WAIT_S
        while not any(client.connected for client in clients):
            faults = [client.fault for client in clients if client.fault is not None]
            if len(faults) == len(clients):
                raise faults[0]
            if loop.time() >= until:
                raise RpcUnavailable(f"no provider of chain {self._providers.chain_id} answers yet")
            await asyncio.sleep(SHARE_OF_WAIT_S)
        return NodeRpc(self._providers)

    def witnesses(self) -> Sequence[Witness]:
        """All providers, in the order of preference."""
        return [
            Witness(
                name=provider.name,
                rpc=NodeRpc(provider),
                left_out=functools.partial(self._why_left_out, provider),
                drop=functools.partial(self._drop, provider),
                head_seen=functools.partial(self._head_seen, provider),
            )
            for provider in self._providers.all
        ]

    async def stop(self) -> None:
        """Close."""
        if self._started:
            await self._providers.stop()

    async def _start(self) -> None:
        starts = (provider.client.start() for provider in self._providers.all)
        for end in await asyncio.gather(*starts, return_exceptions=True):
            if isinstance(end, BaseException) and not isinstance(end, WrongChain):
                raise end

    async def watch(self) -> None:
        """Judge the providers again and again, so that calls leave one that is unfit."""
        await self._providers.tasks()[f"providers {self._providers.chain_id}"]()

    def _drop(self, provider: Provider, reason: str) -> None:
        self._providers.drop(provider, reason)

    def _why_left_out(self, provider: Provider) -> str:
        return provider.health.dropped(self._providers.now_ms())

    def _head_seen(self, provider: Provider, number: int) -> None:
        provider.health.head_seen(number, self._providers.now_ms())
