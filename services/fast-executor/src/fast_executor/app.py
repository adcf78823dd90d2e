"""The fast executor: verdicts of the fast lane to intents, live ones to transactions and fills."""

from __future__ import annotations

from dexlane.chain.execution.assembly import assemble
from dexlane.domain.circumstances import PlanningRules
from dexlane.runtime.compliance_files import load_rules
from dexlane.runtime.service import Service, run
from dexlane.values.books import Lane
from fast_executor.handlers import routes
from fast_executor.metrics import ExecutionMoments
from fast_executor.settings import Settings


def build(settings: Settings) -> Service:
    """Wire the service from its settings. The fast lane trades the very route that was judged."""
    service = Service("fast-executor", settings, handles_money=True)
    rules = PlanningRules(
        max_legs=1,
        max_state_age_ms=settings.max_state_age_ms,
        max_fee_age_blocks=settings.max_fee_age_blocks,
        most_fee_per_gas_wei=settings.max_fee_per_gas_gwei * 10**9,
        bump_percent=settings.bump_percent,
        compliance=load_rules(settings.compliance_file),
    )
    moments = ExecutionMoments(service.metrics, service.log)
    service.include(routes(assemble(service, settings, Lane.FAST, rules, moments)))
    return service


def main() -> None:
    """Entry point of ``dexlane-fast-executor``."""
    run(build, Settings)
