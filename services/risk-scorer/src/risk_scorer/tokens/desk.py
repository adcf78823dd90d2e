"""What is known about the tokens of one chain: held in memory, read from the node beside the fast path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from dexlane.domain.risk.evidence import Flag, Seen, TokenFacts
from dexlane.domain.risk.factors import CHANGES
from dexlane.domain.risk.sanctions import day_of
from dexlane.domain.risk.token_changes import Finding, findings
from dexlane.events.base import Event
from dexlane.events.risk import TokenFlagged
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Transient
from dexlane.values.chains import BlockRef
from dexlane.values.pools import Pool
from dexlane.values.tokens import Token
from risk_scorer.metrics import Moments
from risk_scorer.node_facts import BatchClient, read_facts
from risk_scorer.tokens.code_cache import CodeCache
from risk_scorer.tokens.codes import CodeDesk, Judge
from risk_scorer.tokens.compliance import ComplianceDesk
from risk_scorer.tokens.seen_cache import FactCache
from risk_scorer.tokens.shares import ShareDesk

Publish = Callable[[Event], Awaitable[object]]


class Surroundings(NamedTuple):
    """What the desk works with."""

    client: BatchClient
    cache: FactCache
    law: ComplianceDesk
    publish: Publish
    clock: Clock
    moments: Moments
    judge: Judge
    code_cache: CodeCache | None = None


class TokenDesk:
    """Facts about, and flags against, the tokens of the known pools."""

    def __init__(self, chain_id: int, around: Surroundings, timeout_s: float) -> None:
        self._chain_id = chain_id
        self._around = around
        self._timeout_s = timeout_s
        self.codes = CodeDesk(around.judge, around.moments, around.code_cache)
        self.shares = ShareDesk(chain_id, around.client, around.clock, around.moments, timeout_s)
        self._facts: dict[str, Seen[TokenFacts]] = {}
        self._now: dict[str, frozenset[Flag]] = {}
        self._changes: dict[str, frozenset[Flag]] = {}

    @property
    def law(self) -> ComplianceDesk:
        """The lists and rules in use."""
        return self._around.law

    def facts(self, tokens: Iterable[str]) -> dict[str, Seen[TokenFacts]]:
        """What is held about these tokens; those of which nothing is known are left out."""
        return {token: self._facts[token] for token in tokens if token in self._facts}

    def flags(self, tokens: Iterable[str]) -> dict[str, frozenset[Flag]]:
        """What speaks against these tokens now, and what changed about them before."""
        none: frozenset[Flag] = frozenset()
        return {token: self._now.get(token, none) | self._changes.get(token, none) for token in tokens}

    def note(self, event: TokenFlagged) -> None:
        """Remember a change that this or another instance found. Other flags follow from the facts themselves."""
        if event.flag in CHANGES:
            self._remember(event.token, Flag(event.flag))

    async def recall(self) -> None:
        """Take up what the cache kept: evidence while it is fresh, and something to compare with afterwards."""
        self._facts = {**await self._around.cache.recall(), **self._facts}

    async def gather(self, tokens: Sequence[Token], block: BlockRef) -> bool:
        """Ask the node about tokens and publish what speaks against them; False when it gave no answer.

        ``block`` is the newest block known before asking, so the facts are at least that recent. ``Transient`` when
        a flag could not be stored: then the facts do not count either, and the change will be found again.
        """
        if not tokens:
            return True
        asked_ms = self._around.clock.now_ms()
        try:
            addresses = [token.address for token in tokens]
            read = await read_facts(self._around.client, addresses, self._timeout_s, self.codes.ask)
        except Transient as error:
            self._around.moments.gathering_failed(str(error))
            return False
        for token in tokens:
            await self._take(token, read[token.address], block, asked_ms)
        self._around.moments.facts_read(len(tokens))
        await self._around.cache.keep(self.facts(token.address for token in tokens).values())
        return True

    async def _take(self, token: Token, facts: TokenFacts, block: BlockRef, asked_ms: int) -> None:
        known = self._facts.get(token.address)
        named = {facts.address, facts.owner, facts.implementation} - {None}
        hits = self.law.sanctions.check((each for each in named if each is not None), day_of(asked_ms)).hits
        found = findings(token, facts, None if known is None else known.value, sanctioned=bool(hits))
        present = self._now.get(token.address, frozenset())
        for finding in found:
            if finding.flag not in present:
                await self._tell(token, finding, block)
        self._facts[token.address] = Seen(facts, block.number, asked_ms)
        self._now[token.address] = frozenset(finding.flag for finding in found) - CHANGES

    async def _tell(self, token: Token, finding: Finding, block: BlockRef) -> None:
        event = TokenFlagged(
            id=TokenFlagged.make_id(self._chain_id, token.address, finding.flag, block.number),
            chain_id=self._chain_id,
            occurred_at_ms=self._around.clock.now_ms(),
            token=token.address,
            flag=finding.flag.value,
            reason=finding.reason,
            block=block,
        )
        await self._around.publish(event)
        self.note(event)
        self._around.moments.token_flagged(event)

    def _remember(self, token: str, flag: Flag) -> None:
        self._changes[token] = self._changes.get(token, frozenset()) | {flag}


def tokens_in(pools: Mapping[str, Pool]) -> dict[str, Token]:
    """Every token that some pool trades, by address."""
    found: dict[str, Token] = {}
    for pool in pools.values():
        for token in pool.key.tokens:
            found.setdefault(token.address, token)
    return found
