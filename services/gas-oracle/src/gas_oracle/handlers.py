"""A block in, a fee quote out; and what is to be said when gas is dear."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dexlane.chain.rollup_terms import read_data_fee_terms
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.domain.fees import TIP_PERCENTILES, fee_parameters
from dexlane.events.base import Event
from dexlane.events.breakers import BreakerReset
from dexlane.events.fees import DataFeeTerms, FeeQuoted
from dexlane.events.market import BlockApplied
from dexlane.runtime.clock import Clock
from dexlane.runtime.consuming import Routes
from dexlane.runtime.errors import Transient
from dexlane.runtime.latest import LatestByKey
from gas_oracle.alarms import GasAlarms
from gas_oracle.fee_window import FeeWindow
from gas_oracle.metrics import OracleMoments
from gas_oracle.quotes import Known, QuoteRules, fee_quote


class Publisher(Protocol):
    """The bus, as far as the oracle needs it."""

    async def publish(self, event: Event) -> object:
        """Store a fact; ``Transient`` when it is unknown whether it was stored."""
        ...


@dataclass(frozen=True, kw_only=True)
class Deps:
    """What the handlers work with; all mappings by chain id."""

    bus: Publisher
    nodes: Mapping[int, Rpc]
    windows: Mapping[int, FeeWindow]
    rules: Mapping[int, QuoteRules]
    alarms: Mapping[int, GasAlarms]
    clock: Clock
    moments: OracleMoments
    quotes: LatestByKey[int, FeeQuoted] = field(default_factory=lambda: LatestByKey("fee quote"))


def routes(deps: Deps) -> Routes:
    """Quotes follow blocks. Without the node's history the last quote stays and its age shows."""
    routes = Routes()

    @routes.follow(BlockApplied, from_="last")
    async def quote(event: BlockApplied) -> None:
        try:
            quoted = await _quote(deps, event)
            await deps.bus.publish(quoted)
        except (Transient, RpcError) as error:
            deps.moments.quote_missed(event.chain_id, event.block.number, str(error))
            await deps.alarms[event.chain_id].missed()
            return
        deps.quotes.set(event.chain_id, quoted, deps.clock.now_ms())
        deps.moments.fee_quoted(quoted)
        await _judge(deps, quoted)

    @routes.follow(BreakerReset, from_="last")
    async def reset(word: BreakerReset) -> None:
        await deps.alarms[word.chain_id].breakers.reset(word)

    return routes


async def _quote(deps: Deps, event: BlockApplied) -> FeeQuoted:
    chain = event.chain_id
    window, node = deps.windows[chain], deps.nodes[chain]
    history, data_fee = await asyncio.gather(
        node.fee_history(window.missing(event), event.block.number, TIP_PERCENTILES), _data_fee(node, event)
    )
    began_ns = deps.clock.monotonic_ns()
    window.extend(event, history)
    known = Known(outlook=window.outlook, blocks=len(window), data_fee=data_fee)
    quoted = fee_quote(event, known, deps.rules[chain], deps.clock.now_ms())
    deps.moments.computed(chain, (deps.clock.monotonic_ns() - began_ns) / 1e9)
    return quoted


async def _data_fee(node: Rpc, event: BlockApplied) -> DataFeeTerms | None:
    """A rollup's terms for data; without them there is no quote, for then nobody knows what a trade costs."""
    if not fee_parameters(event.chain_id).has_l1_data_fee:
        return None
    return await read_data_fee_terms(node, event.block.hash)


async def _judge(deps: Deps, quoted: FeeQuoted) -> None:
    """Tell of ceilings and spikes, and let the breaker see the price."""
    alarms, window = deps.alarms[quoted.chain_id], deps.windows[quoted.chain_id]
    rise_percent, began = alarms.rise(window.last_base_fees(alarms.ceilings.spike_blocks), quoted)
    deps.moments.judged(quoted, rise_percent, spiking=alarms.spiking, began=began)
    await alarms.quoted(quoted)
