"""Executed checks of the tokens of one chain: beside the fast path, kept while fresh, repeated while one is held."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dexlane.chain.link import RpcUnavailable
from dexlane.chain.token_check.asking import Node
from dexlane.chain.token_check.check import Question, try_token
from dexlane.chain.token_check.pools import Where
from dexlane.domain.risk.canonical import canonical_symbol
from dexlane.domain.risk.evidence import Seen, TrialFacts
from dexlane.domain.risk.pool_trials import TokenInPool, together
from dexlane.domain.risk.token_background import Birth
from dexlane.domain.risk.token_changes import Finding, turned
from dexlane.domain.risk.token_trial import TokenTrial
from dexlane.domain.risk.token_verdict import TrialLimits, judge, trial_facts
from dexlane.events.portfolio import PositionChanged
from dexlane.events.risk import TokenFlagged
from dexlane.values.chains import BlockRef
from risk_scorer.tokens.desk import Surroundings
from risk_scorer.tokens.seen_cache import TrialCache


@dataclass(frozen=True, kw_only=True)
class Trying:
    """How tokens are tried. ``where``: the exchanges of the chain; each check names the pool it trades in.
    ``every_blocks``: after how many blocks a check is repeated, usually, and while the token is held. An unknown token
    is tried again as soon, and then after twice as many blocks each time, unless the node was silent; so is one that is
    known although the node was silent about its surroundings."""

    node: Node
    cache: TrialCache
    where: Where
    limits: TrialLimits
    budget_s: float
    every_blocks: tuple[int, int]


class TrialDesk:
    """What executed checks said about the tokens whose issuer is not on the allow list, for each pool by itself."""

    def __init__(self, chain_id: int, around: Surroundings, trying: Trying) -> None:
        self._chain_id = chain_id
        self._around = around
        self._trying = trying
        self._trials: dict[TokenInPool, Seen[TrialFacts]] = {}
        self._waits: dict[TokenInPool, int] = {}
        self._births: dict[str, Birth] = {}
        self._positions: dict[tuple[str, str, str], tuple[int, bool]] = {}

    def trials(self, pairs: Iterable[TokenInPool]) -> dict[str, Seen[TrialFacts]]:
        """By token what is held about all of its pools named here; nothing where one of them is missing."""
        asked: dict[str, list[Seen[TrialFacts] | None]] = {}
        for token, pool in pairs:
            asked.setdefault(token, []).append(self._trials.get((token, pool)))
        found = {token: [seen for seen in trials if seen is not None] for token, trials in asked.items()}
        return {token: together(trials) for token, trials in found.items() if len(trials) == len(asked[token])}

    async def recall(self) -> None:
        """Take up what the cache kept."""
        kept = (await self._trying.cache.recall()).values()
        self._trials = {(seen.value.address, seen.value.pool or ""): seen for seen in kept} | self._trials

    def note_position(self, event: PositionChanged) -> None:
        """Remember which tokens are held; the highest version of a position holds."""
        key = (event.book_id, event.account, event.token.address)
        version, _ = self._positions.get(key, (0, False))
        if event.position_version > version:
            self._positions[key] = (event.position_version, event.quantity > 0)

    def held(self) -> frozenset[str]:
        """Tokens of open positions."""
        return frozenset(token for (_, _, token), (_, open_) in self._positions.items() if open_)

    def next_due(self, pairs: Iterable[TokenInPool], block: int) -> TokenInPool | None:
        """What to try next: held tokens first, then what was never tried, then what was tried longest ago."""
        held, due = self.held(), []
        for token, pool in pairs:
            if canonical_symbol(self._chain_id, token) is not None:
                continue
            seen = self._trials.get((token, pool))
            if seen is None or not 0 <= block - seen.block < self._wait(seen, (token, pool), token in held):
                due.append((token not in held, -1 if seen is None else seen.block, (token, pool)))
        return min(due)[2] if due else None

    def _wait(self, seen: Seen[TrialFacts], pair: TokenInPool, held: bool) -> int:
        """After how many blocks a check is repeated."""
        usual, soon = self._trying.every_blocks
        return soon if held else self._waits.get(pair, soon if seen.value.verdict == "unknown" else usual)

    def _note(self, pair: TokenInPool, trial: TokenTrial, facts: TrialFacts) -> None:
        """Remember when to ask again, and what never changes."""
        usual, soon = self._trying.every_blocks
        before = self._waits.pop(pair, None)
        if (facts.verdict == "unknown") != trial.interrupted:
            self._waits[pair] = soon if before is None else min(usual, 2 * before)
        birth = None if trial.background is None else trial.background.birth
        if birth is not None and birth.exact and birth.at_s is not None:
            self._births[facts.address] = birth

    async def try_out(self, pair: TokenInPool, block: BlockRef, budget_s: float | None = None) -> bool:
        """Check a token in a pool and publish what turned; False when no check was made. ``Transient`` when it cannot
        be told."""
        token, pool = pair
        asked_ms = self._around.clock.now_ms()
        question = Question(token, replace(self._trying.where, pool=pool), birth=self._births.get(token))
        try:
            trial = await try_token(self._trying.node, question, budget_s or self._trying.budget_s)
        except RpcUnavailable as error:
            self._around.moments.trial_failed(token, str(error))
            return False
        known = canonical_symbol(self._chain_id, token) is not None
        facts = trial_facts(token, judge(trial, self._trying.limits, known_issuer=known))
        facts = facts.model_copy(update={"pool": pool})
        before = self._trials.get(pair)
        if before is not None and before.block > trial.block and before.at_ms >= asked_ms:
            return True  # a check that was asked for meanwhile saw a newer block
        self._note(pair, trial, facts)
        for finding in turned(None if before is None else before.value, facts):
            await self._tell(facts, finding, block)
        self._trials[pair] = Seen(facts, trial.block, asked_ms)
        self._around.moments.token_tried(facts, (self._around.clock.now_ms() - asked_ms) / 1_000)
        await self._trying.cache.keep([self._trials[pair]])
        return True

    async def _tell(self, facts: TrialFacts, finding: Finding, block: BlockRef) -> None:
        event = TokenFlagged(
            id=TokenFlagged.make_id(self._chain_id, facts.address, finding.flag, block.number, facts.pool),
            chain_id=self._chain_id,
            occurred_at_ms=self._around.clock.now_ms(),
            token=facts.address,
            flag=finding.flag.value,
            reason=finding.reason,
            block=block,
            pool=facts.pool,
            sell_tax_bps=facts.lost_in_a_sale_bps,
        )
        await self._around.publish(event)
        self._around.moments.token_flagged(event)
