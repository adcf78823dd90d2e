"""Judges the opportunities of one chain: evidence held in memory, gathered only where it is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dexlane.domain.pool_book import PoolBook
from dexlane.domain.risk.assessment import Assessment, assess
from dexlane.domain.risk.evidence import Evidence
from dexlane.domain.risk.factors import RiskLimits, pools_of, tokens_of
from dexlane.domain.risk.pool_evidence import PoolEvidence
from dexlane.domain.risk.pool_trials import TokenInPool, pairs_in, pairs_of
from dexlane.domain.risk.required import to_screen, tokens_to_gather, trials_to_gather
from dexlane.domain.thoughts.calls import Occasion, Thought
from dexlane.domain.thoughts.recording import Recorder
from dexlane.events.market import BlockApplied, BlockReorged
from dexlane.events.opportunity import OpportunityFound
from dexlane.events.risk import VerdictApproved, VerdictRejected
from dexlane.events.seals import Approver
from dexlane.runtime.clock import Clock
from dexlane.runtime.code_version import code_version
from dexlane.runtime.consuming import Later
from dexlane.runtime.errors import Transient
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.runtime.sealing import Approving
from dexlane.values.base import digest
from dexlane.values.chains import BlockRef
from risk_scorer.metrics import Moments
from risk_scorer.tokens import Publish, TokenDesk, TrialDesk, tokens_in

Verdict = VerdictApproved | VerdictRejected
SERVICE = "risk-scorer"
GIVES_WAY_S = 0.1
"""What looks at all pools waits so long after a block, and the record of a verdict after that: the trade that follows
from them needs the processors now."""
MANY_UNTOLD = 32
"""From so many records on none waits: the server gives out no more than twice as many messages at once."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How this scorer judges. Times in seconds."""

    limits: RiskLimits
    quote_token: str
    volatility_blocks: int
    refresh_blocks: int
    block_wait_s: float
    trial_wait_s: float = 1.5
    approving: Approving = field(default_factory=lambda: Approving(Approver.RISK_SCORER))

    @property
    def limits_digest(self) -> str:
        """Names the limits in recorded decisions."""
        return digest("risk limits", self.limits.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict, the assessment behind it, the arguments of that, and the route's pools at a block."""

    verdict: Verdict
    assessment: Assessment
    arguments: Mapping[str, Any]
    pools: PoolBook
    tip: BlockRef | None


class Scorer:
    """One chain's evidence and verdicts. No instance differs from another: ids follow from the opportunity alone."""

    def __init__(
        self, mirror: PoolMirror, desks: tuple[TokenDesk, TrialDesk], policy: Policy, *, clock: Clock, moments: Moments
    ) -> None:
        self.chain_id = mirror.chain_id
        self.desk, self.trials = desks
        self._mirror = mirror
        self._policy = policy
        self._clock = clock
        self._moments = moments
        self._pools = PoolEvidence(policy.quote_token, policy.volatility_blocks)
        self._next_block = asyncio.Event()
        self._refresh = asyncio.Event()
        self._came = asyncio.Event()
        self._refreshed_at = -1
        self._recorder = Recorder()
        self._code = code_version()
        self._untold: dict[str, Judged] = {}

    async def on_block(self, event: BlockApplied) -> None:
        """Keep the evidence about pools at the tip."""
        self._pools.applied(event, self._mirror.book.pools, event.received_at_ns // 1_000_000)
        arrived, self._next_block = self._next_block, asyncio.Event()
        arrived.set()
        self._refresh.set()
        self._came.set()

    async def on_reorg(self, event: BlockReorged) -> None:
        """Go back with the mirror."""
        self._pools.undone(event.ancestor.number, self._mirror.book.pools)

    async def keep_tokens_fresh(self) -> None:
        """Read the facts of all tokens when it is time, and when there is a new one, for ever."""
        await self.desk.recall()
        while True:
            tip = await self._tip_after(self._refresh)
            if tip is None or self._are_fresh(tip):
                continue
            self._refreshed_at = tip.number if await self._read_all(tip) else -1
            await self.desk.shares.gather(tuple(self._mirror.book.pools.values()), tip)

    async def keep_tokens_tried(self) -> None:
        """Make executed checks, one after the other, for ever: held tokens first, then new ones, then the others."""
        await self.trials.recall()
        while True:
            await self._tip_after(self._came)
            while await self._try_next():
                pass

    async def _tip_after(self, came: asyncio.Event) -> BlockRef | None:
        await came.wait()
        await asyncio.sleep(GIVES_WAY_S)
        came.clear()
        return self._mirror.tip

    def _are_fresh(self, tip: BlockRef) -> bool:
        tokens = self._mirror.book.pools.tokens
        is_due = not 0 <= tip.number - self._refreshed_at < self._policy.refresh_blocks
        return not is_due and len(self.desk.facts(tokens)) == len(tokens)

    async def _try_next(self) -> bool:
        """Make the check that is due first; False when there is none, or it was not made."""
        tip = self._mirror.tip
        pair = self.trials.next_due(pairs_in(self._mirror.book.pools), self._newest)
        if tip is None or pair is None:
            return False
        try:
            return await self.trials.try_out(pair, tip)
        except Transient as error:
            self._moments.trial_failed(pair[0], str(error))
            return False

    async def judge(self, opportunity: OpportunityFound) -> Verdict:
        """The verdict on an opportunity."""
        return (await self.consider(opportunity)).verdict

    async def consider(self, opportunity: OpportunityFound) -> Judged:
        """The verdict on an opportunity, with what it follows from. Reads nothing outside this process unless token
        facts are missing."""
        if opportunity.id in self._untold:
            return self._untold[opportunity.id]
        began = self._clock.monotonic_ns()
        await self._wait_for_block(opportunity.block.number)
        evidence = self._evidence(opportunity, held=True)
        missing = tokens_to_gather(opportunity, evidence, self._newest, self._policy.limits)
        untried = trials_to_gather(opportunity, evidence, self._newest, self._policy.limits)
        gathered = bool(missing) and await self._gather(missing)
        pairs = [pair for pair in pairs_of(opportunity.route) if pair[0] in untried]
        if await self._try_out(pairs) or gathered:
            evidence = self._evidence(opportunity, held=False)
        arguments: dict[str, Any] = {
            "opportunity": opportunity,
            "evidence": evidence,
            "now_block": self._newest,
            "limits": self._policy.limits,
        }
        assessment = assess(**arguments)
        verdict = verdict_of(opportunity, assessment, self._clock.now_ms())
        if isinstance(verdict, VerdictApproved):
            verdict = self._policy.approving.verdict(verdict, self._mirror.tip_event)
        seconds = (self._clock.monotonic_ns() - began) / 1e9
        if isinstance(verdict, VerdictApproved):
            self._moments.approved(verdict, seconds, held=evidence.held)
        else:
            self._moments.rejected(verdict, seconds, held=evidence.held)
        known = self._mirror.book.pools
        pools = {pool: known[pool] for pool in pools_of(opportunity.route) if pool in known}
        return Judged(verdict, assessment, arguments, PoolBook.of(pools), self._mirror.tip)

    async def tell(self, judged: Judged, publish: Publish) -> Later:
        """Publish the verdict; later, the decision behind it with everything it was computed from. What the broker may
        not have stored is told again as it was, when the opportunity comes again."""
        self._untold[judged.verdict.opportunity.id] = judged
        await publish(judged.verdict)
        return partial(self._record, judged, publish)

    async def _record(self, judged: Judged, publish: Publish) -> None:
        if len(self._untold) < MANY_UNTOLD:
            await asyncio.sleep(GIVES_WAY_S)
        recorded = self._recorder.recorded([self._thought(judged)], self._clock.now_ms())
        for event in recorded.events:
            await publish(event)
        recorded.keep()
        self._untold.pop(judged.verdict.opportunity.id, None)

    def _thought(self, judged: Judged) -> Thought:
        verdict = judged.verdict
        occasion = Occasion(
            service=SERVICE,
            chain_id=verdict.chain_id,
            at_ms=verdict.occurred_at_ms,
            code=self._code,
            subject_id=verdict.id,
            facts={
                "decided_about": verdict.opportunity.id,
                "limits": self._policy.limits_digest,
                "pools": self._pool_digest(judged),
                "sanctions_list": self.desk.law.sanctions.date,
                "compliance_rules": self.desk.law.rules.reviewed.isoformat(),
            },
        )
        return Thought("assess", judged.arguments, judged.assessment, occasion)

    def _pool_digest(self, judged: Judged) -> str:
        """Of the states that the verdict saw. The mirror's book, which remembers digests, unless it went on since."""
        book = self._mirror.book if self._mirror.tip == judged.tip else judged.pools
        return book.state_digest(judged.pools.pools)

    @property
    def _newest(self) -> int:
        return self._pools.block

    async def _read_all(self, tip: BlockRef) -> bool:
        try:
            return await self.desk.gather(list(tokens_in(self._mirror.book.pools).values()), tip)
        except Transient as error:
            self._moments.gathering_failed(str(error))
            return False

    async def _gather(self, missing: tuple[str, ...]) -> bool:
        tokens, tip = tokens_in(self._mirror.book.pools), self._mirror.tip
        if tip is None:
            return False
        return await self.desk.gather([tokens[token] for token in missing if token in tokens], tip)

    async def _try_out(self, untried: Sequence[TokenInPool]) -> bool:
        tip = self._mirror.tip
        if tip is None:
            return False
        made = await asyncio.gather(*(self.trials.try_out(pair, tip, self._policy.trial_wait_s) for pair in untried))
        return any(made)

    async def _wait_for_block(self, number: int) -> None:
        """Blocks and opportunities come on two streams: give the block of an opportunity a moment to arrive."""
        if self._newest >= number:
            return
        try:
            async with asyncio.timeout(self._policy.block_wait_s):
                while self._newest < number:
                    await self._next_block.wait()
        except TimeoutError:
            return

    def _evidence(self, opportunity: OpportunityFound, *, held: bool) -> Evidence:
        route, pools = opportunity.route, self._mirror.book.pools
        addresses, tokens = pools_of(route), tokens_of(route)
        depths = {
            address: depth
            for address in addresses
            if address in pools and (depth := self._pools.depth(pools[address], pools)) is not None
        }
        volatilities = {
            address: volatility for address in addresses if (volatility := self._pools.volatility(address)) is not None
        }
        facts = self.desk.facts(tokens)
        now_ms = self._clock.now_ms()
        return Evidence(
            as_of_ms=now_ms,
            held=held,
            quote_token=self._policy.quote_token,
            depths=depths,
            volatilities=volatilities,
            impact=self._pools.impact(route, opportunity.size_hint, pools),
            tokens=facts,
            codes=self.desk.codes.of(facts),
            lp_shares=self.desk.shares.of(addresses),
            flags=self.desk.flags(tokens),
            sanctions=self.desk.law.screened(to_screen(route, facts), now_ms),
            compliance=self.desk.law.judged(tokens, now_ms),
            trials=self.trials.trials(pairs_of(route)),
        )


def verdict_of(opportunity: OpportunityFound, assessment: Assessment, now_ms: int) -> Verdict:
    """The event that tells an assessment."""
    common = {
        "id": VerdictApproved.make_id(opportunity.id),
        "chain_id": opportunity.chain_id,
        "occurred_at_ms": now_ms,
        "opportunity": opportunity,
        "risk_score": assessment.risk_score,
        "confidence_bps": assessment.confidence_bps,
        "factors": assessment.factors,
        "checks": assessment.checks,
        "facts": assessment.facts,
    }
    if assessment.approved:
        return VerdictApproved(**common, lane=assessment.lane)
    return VerdictRejected(**common, vetoes=assessment.vetoes)
