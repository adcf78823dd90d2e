"""risk-scorer: opportunities in, verdicts out. Knows no books, keeps no database, scales out."""

from __future__ import annotations

import random

from redis.asyncio import Redis

from dexlane.chain.link import LinkPolicy
from dexlane.chain.rpc import RpcClient
from dexlane.chain.token_check.pools import Where, known_markets, known_quotes
from dexlane.domain.risk.compliance import ComplianceRules
from dexlane.domain.risk.sanctions import SanctionsList
from dexlane.events.seals import Approver
from dexlane.runtime.compliance_files import load_rules, load_sanctions
from dexlane.runtime.pool_mirror import PoolMirror
from dexlane.runtime.sealing import Approving, sealer_from
from dexlane.runtime.service import Service, run
from risk_scorer.handlers import routes
from risk_scorer.metrics import Moments
from risk_scorer.scorer import Policy, Scorer
from risk_scorer.settings import Settings
from risk_scorer.tokens import CodeCache, ComplianceDesk, OtherProcess, Surroundings, TokenDesk, TrialDesk, Trying
from risk_scorer.tokens.row_cache import Keeping
from risk_scorer.tokens.seen_cache import FactCache, TrialCache


def build(settings: Settings) -> Service:
    """The service, ready to run."""
    service = Service("risk-scorer", settings)
    moments = Moments(service.log, service.metrics)
    lists = load_sanctions(settings.sanctions_file), load_rules(settings.compliance_file)
    scorers = {chain_id: _add_chain(service, settings, chain_id, moments, lists) for chain_id in settings.chains}
    service.include(routes(scorers, service.bus.publish))
    return service


def _add_chain(
    service: Service,
    settings: Settings,
    chain_id: int,
    moments: Moments,
    lists: tuple[SanctionsList, ComplianceRules],
) -> Scorer:
    policy = LinkPolicy(jitter=random.random)
    client = RpcClient(settings.rpc_ws_urls[chain_id], name=f"risk-{chain_id}", policy=policy, chain_id=chain_id)
    redis = Redis.from_url(settings.redis_url, socket_timeout=1, socket_connect_timeout=1)
    keeping = Keeping(redis, service.clock, moments.cache_lost)
    cache = FactCache(keeping, f"dexlane:{settings.realm}:{chain_id}")
    codes = OtherProcess()
    law = ComplianceDesk(chain_id, *lists)
    kept = CodeCache(keeping, f"dexlane:{settings.realm}")
    around = Surroundings(client, cache, law, service.bus.publish, service.clock, moments, codes.judge, kept)
    desk = TokenDesk(chain_id, around, settings.gather_timeout_ms / 1_000)
    trials = TrialDesk(chain_id, around, _trying(settings, chain_id, client, keeping))
    mirror = PoolMirror(chain_id)
    scorer = Scorer(mirror, (desk, trials), _policy(settings, chain_id), clock=service.clock, moments=moments)
    mirror.on_block(scorer.on_block)
    mirror.on_reorg(scorer.on_reorg)
    service.on_start(client.start)
    service.on_stop(client.stop)
    service.on_stop(cache.close)
    service.on_stop(codes.stop)
    service.background(f"mirror {chain_id}", lambda: mirror.run(service.bus, service.clock, service.log))
    service.background(f"tokens {chain_id}", scorer.keep_tokens_fresh)
    service.background(f"trials {chain_id}", scorer.keep_tokens_tried)
    service.background(f"codes {chain_id}", desk.codes.keep_judging)
    service.ready_when(
        f"mirror {chain_id}", lambda: mirror.why_not_current(service.clock.now_ms(), settings.max_block_age_ms)
    )
    return scorer


def _trying(settings: Settings, chain_id: int, client: RpcClient, keeping: Keeping) -> Trying:
    return Trying(
        node=client,
        cache=TrialCache(keeping, f"dexlane:{settings.realm}:{chain_id}"),
        where=Where(known_markets(chain_id), known_quotes(chain_id), chain_id=chain_id),
        limits=settings.trial_limits,
        budget_s=settings.trial_budget_ms / 1_000,
        every_blocks=(settings.trial_blocks, settings.held_trial_blocks),
    )


def _policy(settings: Settings, chain_id: int) -> Policy:
    return Policy(
        limits=settings.limits,
        quote_token=settings.quote_tokens[chain_id],
        volatility_blocks=settings.volatility_blocks,
        refresh_blocks=settings.refresh_blocks,
        block_wait_s=settings.block_wait_ms / 1_000,
        trial_wait_s=settings.gather_timeout_ms / 1_000,
        approving=Approving(Approver.RISK_SCORER, sealer_from(settings.approval_key_file), settings.approval_valid_s),
    )


def main() -> None:
    """Entry point."""
    run(build, Settings)
