"""What the chain would have done with a paper intent. Pure: blocks and pool states in, outcomes out.

The model, with its simplifications stated:

- An intent is sent at once and can be included from the next block on. ``late_bps`` of all intents arrive one block
  late; which ones follows from the seed and the intent's id, so a replay gives the same.
- It is included in the first block whose base fee its cap covers and whose required tip its effective tip reaches:
  ``minimum_tip_wei`` while the block has room for it, the market's tip when the block is full. After its deadline block
  it is withdrawn, which costs nothing here (on the chain a cancellation would cost 21,000 gas).
- Transactions of one account are included in the order in which they were sent, as nonces demand.
- It trades at the end of its block, after everything that really happened in it; among paper trades of one block the
  higher tip goes first.
- A paper trade moves the pool for the later paper trades of its book: in the same block and in those that follow, until
  the next real event on that pool, which shows the chain as it is without us. Books do not see each other, so that
  they can be compared on the same blocks.
- Output below the plan's minimum reverts and pays its gas. Gas is the estimate of ``dexlane.domain.amm.quoting``. A
  rollup's fee for data is that of the last fee quote, for the largest transaction that the plan could become.
- Nothing here draws a fill at random, and nobody reacts to us: no sandwich, no competing arbitrage.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import Field

from dexlane.domain.amm.deltas import apply_delta, delta_between
from dexlane.domain.amm.quoting import ROUTE_GAS, InsufficientLiquidity
from dexlane.domain.fees import fee_parameters
from dexlane.domain.rollup_fees import planned_size, rollup_fee_wei
from dexlane.domain.trade_quotes import TradeQuote, quote_plan
from dexlane.events.execution import FailureReason, IntentCreated, Plan
from dexlane.events.fees import DataFeeTerms
from dexlane.events.market import BlockApplied
from dexlane.values.amounts import BPS_DENOMINATOR, Amount, decimal_text
from dexlane.values.base import Value, digest
from dexlane.values.chains import NATIVE, BlockRef
from dexlane.values.pools import Pool, PoolDelta
from dexlane.values.routes import PlannedPath
from dexlane.values.tokens import TokenDelta

Balances = dict[tuple[str, str], int]
"""What paper accounts hold: (account, token) to amount in the token's smallest unit."""


class SimulationModel(Value):
    """Parameters of the simulated inclusion. Tips in wei per gas."""

    seed: int = 0
    late_bps: int = Field(default=0, ge=0, le=10_000, description="share of intents that miss their first block")
    minimum_tip_wei: int = Field(default=1, ge=0, description="tip that a block with room for us asks for")
    full_block_tip_wei: int = Field(default=10**9, ge=0, description="tip of a full block when no fee quote is known")
    allowance_gas: int = Field(default=56_000, gt=21_000, description="an ERC-20 approval (USDC: about 55,600)")


class Result(StrEnum):
    """How an attempt ended."""

    FILLED = "filled"
    REVERTED = "reverted"
    EXPIRED = "expired"
    REFUSED = "refused"


class Outcome(Value):
    """The end of one attempt. ``block`` is None when nothing reached the chain."""

    result: Result
    block: BlockRef | None = None
    reason: FailureReason | None = None
    detail: str = ""
    gas_used: int = 0
    fee_paid_wei: Amount = 0
    amount_out: Amount = 0
    deltas: tuple[TokenDelta, ...] = ()
    price_impact_bps: int | None = None


class OwnImpact(Value):
    """Where our trades left a pool, and the real state they were made on."""

    base: PoolDelta
    own: PoolDelta


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """An accepted intent that waits for a block. ``ordinal`` is its place among all accepted ones."""

    intent: IntentCreated
    ordinal: int
    eligible_from: int

    @property
    def deadline_block(self) -> int | None:
        """The last block that may include it; None for an allowance."""
        return None if self.intent.plan is None else self.intent.plan.deadline_block


@dataclass(frozen=True, slots=True)
class Scene:
    """A block, the real pool states after it, and the tip the market paid for it (None when it is not known)."""

    block: BlockApplied
    pools: Mapping[str, Pool]
    market_tip_wei: int | None = None
    data_fee: DataFeeTerms | None = None
    """What a rollup's fee for data is computed from; without it a rollup's block includes nothing of ours."""


@dataclass(slots=True)
class PaperWorld:
    """What paper trades changed: balances, and pools as each book left them. Mutable; work on a :meth:`copy`."""

    balances: Balances = field(default_factory=dict)
    impacts: dict[tuple[str, str], OwnImpact] = field(default_factory=dict)

    def copy(self) -> PaperWorld:
        """An independent world with the same content."""
        return PaperWorld(dict(self.balances), dict(self.impacts))

    def balance(self, account: str, token: str) -> int:
        """What an account holds of a token."""
        return self.balances.get((account, token), 0)

    def move(self, account: str, deltas: Iterable[TokenDelta]) -> None:
        """Add to balances."""
        for delta in deltas:
            key = (account, delta.token)
            self.balances[key] = self.balances.get(key, 0) + delta.amount

    def forget_impacts(self, pools: Iterable[str]) -> None:
        """Real events happened on these pools: what we did to them before is over."""
        gone = set(pools)
        self.impacts = {key: impact for key, impact in self.impacts.items() if key[1] not in gone}

    def pools_seen_by(self, book_id: str, pools: Mapping[str, Pool]) -> Mapping[str, Pool]:
        """The real pools with a book's own impact on top. An impact made on another state than the real one is void."""
        changed = {
            address: apply_delta(pools[address], impact.own)
            for (owner, address), impact in self.impacts.items()
            if owner == book_id and address in pools and _point(pools[address]) == impact.base
        }
        return {**pools, **changed} if changed else pools

    def remember_impact(self, book_id: str, pools: Mapping[str, Pool], quote: TradeQuote) -> None:
        """Keep the states in which a trade left its pools."""
        for route, path in quote.paths:
            for leg, step in zip(route.legs, path.legs, strict=True):
                pool = pools[leg.pool]
                after = _point(pool.with_state(step.next_state))
                self.impacts[book_id, leg.pool] = OwnImpact(base=_point(pool), own=after)


def _point(pool: Pool) -> PoolDelta:
    """Price and liquidity of a pool without its ticks, which swaps never change."""
    return delta_between(pool.key.address, pool.state, pool.state)


def eligible_from(intent: IntentCreated, newest_block: int, model: SimulationModel) -> int:
    """The first block that can include an intent which arrived when ``newest_block`` was the newest.

    An intent that was planned on an older block cannot reach the blocks that were made in the meantime.
    """
    draw = int(digest("late", str(model.seed), intent.id)[:8], 16) % BPS_DENOMINATOR
    return max(intent.block.number, newest_block) + 1 + (1 if draw < model.late_bps else 0)


def why_not_affordable(
    intent: IntentCreated, world: PaperWorld, waiting: Iterable[OpenIntent], data_fee: DataFeeTerms | None = None
) -> str | None:
    """A sentence when the account cannot pay for the intent beside what it already sent; None when it can."""
    needs = _most_it_can_cost(intent, data_fee)
    for other in waiting:
        if other.intent.account == intent.account:
            committed = _most_it_can_cost(other.intent, data_fee)
            needs = {token: amount + committed.get(token, 0) for token, amount in needs.items()}
    for token, amount in needs.items():
        held = world.balance(intent.account, token)
        if held < amount:
            return f"the account holds {held} of {token}, {amount} are needed with what is already sent"
    return None


def _most_it_can_cost(intent: IntentCreated, data_fee: DataFeeTerms | None) -> dict[str, int]:
    if intent.plan is None:
        return {NATIVE: 0}
    plan = intent.plan
    gas_wei = plan.gas_limit * plan.fee_cap.max_fee_per_gas_wei
    gas_wei += rollup_fee_wei(data_fee, planned_size(plan), plan.gas_limit)
    if plan.native_in:
        return {NATIVE: gas_wei + plan.amount_in}
    return {NATIVE: gas_wei, plan.route.token_in: plan.amount_in}


def simulate_block(
    scene: Scene, waiting: Sequence[OpenIntent], world: PaperWorld, model: SimulationModel
) -> list[tuple[OpenIntent, Outcome]]:
    """Offer the waiting intents to a block; what ended in it, in order. ``world`` is changed accordingly."""
    world.forget_impacts(delta.pool for delta in scene.block.deltas)
    ended: list[tuple[OpenIntent, Outcome]] = []
    queues: dict[str, deque[OpenIntent]] = {}
    for entry in sorted(waiting, key=lambda entry: entry.ordinal):
        if _is_over(entry, scene.block.block.number - 1):
            ended.append((entry, _expired(entry)))
        else:
            queues.setdefault(entry.intent.account, deque()).append(entry)
    while (chosen := _best_head(scene, queues, model)) is not None:
        entry = queues[chosen].popleft()
        ended.append((entry, execute(entry.intent, scene, world, model)))
    left = [entry for queue in queues.values() for entry in queue]
    ended.extend((entry, _expired(entry)) for entry in left if _is_over(entry, scene.block.block.number))
    return ended


def _is_over(entry: OpenIntent, number: int) -> bool:
    """Whether no block after ``number`` may include it."""
    return entry.deadline_block is not None and number >= entry.deadline_block


def _expired(entry: OpenIntent) -> Outcome:
    detail = f"no block up to {entry.deadline_block} included it at its fee cap"
    return Outcome(result=Result.EXPIRED, reason=FailureReason.EXPIRED, detail=detail)


def _best_head(scene: Scene, queues: Mapping[str, deque[OpenIntent]], model: SimulationModel) -> str | None:
    """The account whose next intent this block takes first; None when it takes none."""
    found: list[tuple[int, int, str]] = []
    for account, queue in queues.items():
        if not queue or scene.block.block.number < queue[0].eligible_from:
            continue
        tip = offered_tip_wei(queue[0].intent, scene, model)
        if tip is not None:
            found.append((-tip, queue[0].ordinal, account))
    return min(found)[2] if found else None


def offered_tip_wei(intent: IntentCreated, scene: Scene, model: SimulationModel) -> int | None:
    """The effective tip per gas (EIP-1559) with which a block includes an intent; None when it does not."""
    if scene.data_fee is None and fee_parameters(scene.block.chain_id).has_l1_data_fee:
        return None
    gas_limit = model.allowance_gas if intent.plan is None else intent.plan.gas_limit
    required = required_tip_wei(scene, gas_limit, model)
    if intent.plan is None:
        return required
    cap, base_fee = intent.plan.fee_cap, scene.block.base_fee_per_gas_wei
    tip = min(cap.max_priority_fee_per_gas_wei, cap.max_fee_per_gas_wei - base_fee)
    return tip if tip >= required and cap.max_fee_per_gas_wei >= base_fee else None


def required_tip_wei(scene: Scene, gas_limit: int, model: SimulationModel) -> int:
    """What a block asks of a transaction of this gas limit: little while there is room, the market's tip when full."""
    if scene.block.gas_limit - scene.block.gas_used >= gas_limit:
        return model.minimum_tip_wei
    market = model.full_block_tip_wei if scene.market_tip_wei is None else scene.market_tip_wei
    return max(model.minimum_tip_wei, market)


def execute(intent: IntentCreated, scene: Scene, world: PaperWorld, model: SimulationModel) -> Outcome:
    """Execute an included intent at the end of its block and book it in ``world``.

    Raises ``ValueError`` when the block would not include the intent.
    """
    tip = offered_tip_wei(intent, scene, model)
    if tip is None:
        raise ValueError(f"block {scene.block.block.number} does not include intent {intent.id}")
    price_wei = scene.block.base_fee_per_gas_wei + tip
    attempt = _Attempt(intent, scene, world)
    outcome = attempt.allowance(model.allowance_gas) if intent.plan is None else attempt.trade(intent.plan)
    if outcome.result is not Result.REFUSED:
        paid = outcome.gas_used * price_wei
        paid += rollup_fee_wei(scene.data_fee, planned_size(intent.plan), outcome.gas_used)
        outcome = outcome.model_copy(update={"fee_paid_wei": paid})
        world.move(intent.account, balance_changes(outcome))
    return outcome


def balance_changes(outcome: Outcome) -> tuple[TokenDelta, ...]:
    """What an outcome did to its account's balances: the trade and the gas."""
    return (*outcome.deltas, TokenDelta(token=NATIVE, amount=-outcome.fee_paid_wei))


def take_back(world: PaperWorld, account: str, outcome: Outcome) -> None:
    """Undo an outcome whose block was replaced. Own impacts are forgotten: the pools stand elsewhere now."""
    world.move(account, (TokenDelta(token=d.token, amount=-d.amount) for d in balance_changes(outcome)))
    world.impacts.clear()


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One execution: the checks of the node, of the router and of the pools, in the chain's order."""

    intent: IntentCreated
    scene: Scene
    world: PaperWorld

    def allowance(self, gas: int) -> Outcome:
        return Outcome(result=Result.FILLED, block=self.scene.block.block, gas_used=gas)

    def trade(self, plan: Plan) -> Outcome:
        account = self.intent.account
        if self.world.balance(account, NATIVE) < _most_it_can_cost(self.intent, self.scene.data_fee)[NATIVE]:
            detail = "the account cannot pay for the gas limit at the fee cap, and the value"
            return Outcome(result=Result.REFUSED, reason=FailureReason.INSUFFICIENT_FUNDS, detail=detail)
        if self.scene.block.timestamp_s > plan.deadline_s:
            return self._reverted(FailureReason.EXPIRED, "the router's deadline has passed", ROUTE_GAS)
        if self.world.balance(account, plan.paid_token) < plan.amount_in:
            return self._reverted(FailureReason.INSUFFICIENT_FUNDS, "the payment could not be taken", ROUTE_GAS)
        return self._swap(plan)

    def _swap(self, plan: Plan) -> Outcome:
        pools = self.world.pools_seen_by(self.intent.book_id, self.scene.pools)
        try:
            quote = quote_plan(pools, plan)
        except (InsufficientLiquidity, KeyError) as error:
            return self._reverted(FailureReason.REVERTED, f"the pools cannot carry the trade: {error}", plan.gas_limit)
        if quote.gas > plan.gas_limit:
            return self._reverted(FailureReason.REVERTED, f"out of gas: it needs {quote.gas}", plan.gas_limit)
        for path, (_, found) in zip(plan.paths, quote.paths, strict=True):
            if found.amount_out < path.minimum_out:
                return self._reverted(FailureReason.MINIMUM_OUT, _too_little(pools, path, found.amount_out), quote.gas)
        self.world.remember_impact(self.intent.book_id, self.scene.pools, quote)
        return Outcome(
            result=Result.FILLED,
            block=self.scene.block.block,
            gas_used=quote.gas,
            amount_out=quote.amount_out,
            deltas=tuple(_movements(plan, quote)),
            price_impact_bps=quote.impact_bps,
        )

    def _reverted(self, reason: FailureReason, detail: str, gas: int) -> Outcome:
        return Outcome(
            result=Result.REVERTED,
            block=self.scene.block.block,
            reason=reason,
            detail=detail,
            gas_used=min(gas, self.intent.plan.gas_limit if self.intent.plan else gas),
        )


def _too_little(pools: Mapping[str, Pool], path: PlannedPath, amount: int) -> str:
    last = path.route.legs[-1]
    token = next(token for token in pools[last.pool].key.tokens if token.address == last.token_out)
    found, least = (decimal_text(value, token.decimals) for value in (amount, path.minimum_out))
    return f"it would give {found} {token.symbol}, the plan's minimum is {least}"


def _movements(plan: Plan, quote: TradeQuote) -> Iterator[TokenDelta]:
    """What the account loses and gains; one movement of the difference when a cycle ends where it began."""
    if plan.paid_token == plan.bought_token:
        yield TokenDelta(token=plan.paid_token, amount=quote.amount_out - plan.amount_in)
        return
    yield TokenDelta(token=plan.paid_token, amount=-plan.amount_in)
    yield TokenDelta(token=plan.bought_token, amount=quote.amount_out)


def score_fill(plan: Plan, filled_out: int, pools: Mapping[str, Pool]) -> tuple[int, int]:
    """The same trade on real pool states without us: its output, and by how many bps the paper fill was better.

    A positive difference means that paper was too kind. An output of zero means that the trade could not be done.
    """
    try:
        real = quote_plan(pools, plan).amount_out
    except (InsufficientLiquidity, KeyError):
        return 0, BPS_DENOMINATOR
    return real, (filled_out - real) * BPS_DENOMINATOR // real if real else BPS_DENOMINATOR
