"""Sanctions and compliance rules on one chain, looked up as of the day of the decision."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from dexlane.chain.deployments import counterparties
from dexlane.domain.risk.compliance import ComplianceCheck, ComplianceRules, check_tokens
from dexlane.domain.risk.evidence import SanctionsCheck
from dexlane.domain.risk.sanctions import SanctionsList, day_of

MOST_REMEMBERED = 4_096


class ComplianceDesk:
    """Answers from memory: lists change with a restart alone, and the answer about the same tokens with the day."""

    def __init__(self, chain_id: int, sanctions: SanctionsList, rules: ComplianceRules) -> None:
        self.sanctions = sanctions
        self.rules = rules
        self._chain_id = chain_id
        self._counterparties = counterparties(chain_id)
        self._known: dict[tuple[str, ...], ComplianceCheck] = {}

    def screened(self, addresses: Iterable[str], as_of_ms: int) -> SanctionsCheck:
        """Addresses, and the contracts of the chain that every trade goes through."""
        return self.sanctions.check((*addresses, *self._counterparties), day_of(as_of_ms))

    def judged(self, tokens: Iterable[str], as_of_ms: int) -> ComplianceCheck:
        """What the rules say about these tokens."""
        asked, today = tuple(tokens), day_of(as_of_ms)
        known = self._known.get(asked)
        if known is None or known.on != today:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            known = check_tokens(self.rules, self._chain_id, asked, date.fromisoformat(today))
            self._known[asked] = known
        return known
