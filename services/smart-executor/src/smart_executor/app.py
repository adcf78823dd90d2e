"""The smart executor: verdicts of the smart lane to intents over the best route, live ones to transactions."""

from __future__ import annotations

from dexlane.chain.execution.assembly import assemble
from dexlane.domain.circumstances import PlanningRules
from dexlane.runtime.compliance_files import load_rules
from dexlane.runtime.service import Service, run
from dexlane.values.books import Lane
from smart_executor.handlers import routes
from smart_executor.metrics import ExecutionMoments
from smart_executor.settings import Settings


def build(settings: Settings) -> Service:
    """Wire the service from its settings. The smart lane looks for better routes of one or two pools, and splits an
    amount over several when that brings more after gas."""
    service = Service("smart-executor", settings, handles_money=True)
    rules = PlanningRules(
        max_legs=2,
        max_paths=3,
        max_state_age_ms=settings.max_state_age_ms,
        max_fee_age_blocks=settings.max_fee_age_blocks,
        most_fee_per_gas_wei=settings.max_fee_per_gas_gwei * 10**9,
        bump_percent=settings.bump_percent,
        compliance=load_rules(settings.compliance_file),
        waits_for_cheaper_blocks=settings.wait_for_cheaper_gas,
    )
    moments = ExecutionMoments(service.metrics, service.log)
    service.include(routes(assemble(service, settings, Lane.SMART, rules, moments)))
    return service


def main() -> None:
    """Entry point of ``dexlane-smart-executor``."""
    run(build, Settings)
