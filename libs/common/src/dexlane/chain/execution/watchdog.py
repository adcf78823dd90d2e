"""The watch over allowances: what no open intent and no enabled book needs is taken back, by an intent of its own.

Invariant: an allowance is zero outside the life of what needed it. New grants are found in the logs of each block,
whoever made them; all known ones are read again when anything changed, and every few blocks in any case.

Any contract can say in a log that we granted something, and go on saying so: therefore only what watched pools
trade, and what we granted ourselves, is looked at, and takings-back without effect come to an end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from dexlane.chain.execution.slots import Slot
from dexlane.chain.grants import Grant, amounts_in_force, find_grants, usual_grants
from dexlane.chain.permit2 import PERMIT2
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.events.execution import IntentCreated
from dexlane.events.market import BlockApplied

BLOCKS_A_LOOK = 2_000
"""Blocks whose logs are asked for at once: providers refuse longer ranges, and some of them shorter ones. After a
refusal half as many are asked for."""
LOOK_BACK = 8
"""Blocks that are looked at again: a reorganisation may have put others in their place."""
FULL_EVERY = 16
MOST_TRIES = 3
"""Takings-back of an account's token that may fail or change nothing; then it is left to people, and the metric goes on
saying so."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What may stand: ``to_permit2`` bounds (account, token), ``direct`` is for routers in open trades. Nothing may
    stand inside Permit2: our permits end with the block that applies them.
    """

    to_permit2: Mapping[tuple[str, str], int] = field(default_factory=dict)
    direct: Mapping[Grant, int] = field(default_factory=dict)

    def allow(self, grant: Grant, amount: int) -> bool:
        """Whether a grant of that much is needed."""
        if amount == 0:
            return True
        if grant.in_permit2:
            return False
        if grant.spender == PERMIT2:
            return amount <= self.to_permit2.get((grant.owner, grant.token), 0)
        return amount <= self.direct.get(grant, 0)


def needs_of(
    tokens: Iterable[tuple[str, str]], intents: Iterable[IntentCreated], approved: Mapping[Grant, int]
) -> Needs:
    """What is needed for the (account, token) that books trade with, and by open intents.

    ``approved`` is the most that our own intents ever granted: anything above it was granted by somebody else.
    """
    to_permit2 = {(account, token): approved.get(Grant(account, token, PERMIT2), 0) for account, token in tokens}
    direct: dict[Grant, int] = {}
    for intent in intents:
        plan = intent.plan
        if plan is None:
            grant = granted_by(intent)
            if grant is not None and intent.allowance_amount and grant.spender != PERMIT2:
                direct[grant] = intent.allowance_amount
            continue
        grant = Grant(intent.account, plan.route.token_in, PERMIT2)
        to_permit2.setdefault((intent.account, plan.route.token_in), approved.get(grant, 0))
        if plan.router is not None:
            direct[Grant(intent.account, plan.route.token_in, plan.router)] = plan.amount_in
    return Needs(to_permit2, direct)


def granted_by(intent: IntentCreated) -> Grant | None:
    """The grant that an allowance intent sets or takes back; None for a trade."""
    if intent.allowance_token is None:
        return None
    spender = intent.allowance_spender or PERMIT2
    return Grant(intent.account, intent.allowance_token, spender, intent.allowance_in_permit2)


class Watchdog:
    """The grants of one chain's accounts, as far as they were ever seen."""

    def __init__(self, universal: str, is_traded: Callable[[str], bool]) -> None:
        self._universal = universal
        self._is_traded = is_traded
        self._known: set[Grant] = set()
        self._approved: dict[Grant, int] = {}
        self._failures: Counter[tuple[str, str]] = Counter()
        """By account and token."""
        self._taken_back: set[Grant] = set()
        """Successfully, by the receipt; what came of it is read at the next look."""
        self._scanned: dict[str, int] = {}
        self._amounts: Mapping[Grant, int] = {}
        self._asked: set[Grant] = set()
        self._read_at = -FULL_EVERY
        self._blocks_a_look = BLOCKS_A_LOOK
        self._is_due = True
        self._must_go = False

    @property
    def approved(self) -> Mapping[Grant, int]:
        """The most that our own intents granted, by grant."""
        return self._approved

    def intended(self, intent: IntentCreated) -> None:
        """An intent of ours was journalled, now or in an earlier life."""
        grant = granted_by(intent)
        if grant is not None:
            self._known.add(grant)
            self._approved[grant] = max(self._approved.get(grant, 0), intent.allowance_amount or 0)

    def ended(self, slot: Slot) -> None:
        """An intent came to its end: what it leaves is looked at, and a taking-back that did not succeed is tried
        again. Only a refusal, or a success that changes nothing, counts as a failure; what expired, as in a long
        absence, was not tried."""
        self._is_due = True
        grant = granted_by(slot.intent)
        if grant is not None and not slot.intent.allowance_amount:
            if slot.state.is_filled:
                self._taken_back.add(grant)
            elif slot.was_refused:
                self._failures[grant.owner, grant.token] += 1

    def worth_a_try(self, residual: Iterable[Grant]) -> list[Grant]:
        """Those of which it did not fail too often to take the token back; together no more than may still fail."""
        trying: Counter[tuple[str, str]] = Counter()
        found = []
        for grant in residual:
            key = (grant.owner, grant.token)
            if self._failures[key] + trying[key] < MOST_TRIES:
                trying[key] += 1
                found.append(grant)
        return found

    async def look(
        self, rpc: Rpc, tip: BlockApplied, accounts: Mapping[str, frozenset[str]], since: int, routers: tuple[str, ...]
    ) -> None:
        """Find new grants of accounts (with their tokens), from block ``since`` on, and read what is in force.

        Raises ``RpcError`` or ``RpcUnavailable``; the next look then begins where this one failed.
        """
        for account, tokens in accounts.items():
            self._known |= usual_grants(account, tokens, routers, self._universal)
        found = await self._scan(rpc, tip.block.number, list(accounts), since)
        self._known |= found
        asked = {one for one in self._known if one in self._approved or self._concerns(one, accounts)}
        is_old = tip.block.number - self._read_at >= FULL_EVERY or tip.block.number < self._read_at
        if self._is_due or is_old or not found.isdisjoint(asked) or asked != self._asked or self._must_go:
            self._amounts = await amounts_in_force(rpc, asked, tip.timestamp_s)
            self._read_at, self._is_due, self._asked = tip.block.number, False, asked
            self._judge_takings_back()

    def _concerns(self, grant: Grant, accounts: Mapping[str, frozenset[str]]) -> bool:
        """Whether it is of an account's token, or of one that a watched pool trades and the account may buy."""
        tokens = accounts.get(grant.owner)
        return tokens is not None and (grant.token in tokens or self._is_traded(grant.token))

    def _judge_takings_back(self) -> None:
        """A taking-back that succeeded and left the grant in force failed all the same; one with effect clears the
        token's name."""
        for grant in self._taken_back:
            key = (grant.owner, grant.token)
            self._failures[key] = self._failures[key] + 1 if self._amounts.get(grant) else 0
        self._taken_back.clear()

    def residual(self, needs: Needs) -> list[Grant]:
        """What is in force and not needed, in a stable order."""
        found = [grant for grant, amount in sorted(self._amounts.items()) if not needs.allow(grant, amount)]
        self._must_go = bool(found)
        return found

    async def _scan(self, rpc: Rpc, tip: int, accounts: list[str], since: int) -> set[Grant]:
        """Grants in the logs of the next blocks; a long past is caught up with over several looks."""
        if not accounts:
            return set()
        scanned = min(self._scanned.get(account, since - 1) for account in accounts)
        first = max(since, min(scanned, tip) - LOOK_BACK + 1, 0)
        last = min(tip, first + self._blocks_a_look - 1)
        try:
            found = await find_grants(rpc, accounts, first, last)
        except RpcError:
            # No fewer than are looked at again, or nothing new would ever be seen.
            self._blocks_a_look = max(LOOK_BACK + 1, (last - first + 1) // 2)
            raise
        self._scanned.update(dict.fromkeys(accounts, last))
        return found
