"""A block in, a fee quote out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dexlane.chain.rpc import Rpc, RpcError
from dexlane.domain.fees import TIP_PERCENTILES, fee_parameters, tiers
from dexlane.events.base import Event
from dexlane.events.fees import FeeQuoted
from dexlane.events.market import BlockApplied
from dexlane.runtime.clock import Clock
from dexlane.runtime.consuming import Routes
from dexlane.runtime.errors import Transient
from dexlane.runtime.latest import LatestByKey
from gas_oracle.fee_window import FeeWindow
from gas_oracle.metrics import OracleMoments


class Publisher(Protocol):
    """The bus, as far as the oracle needs it."""

    async def publish(self, event: Event) -> object:
        """Store a fact; ``Transient`` when it is unknown whether it was stored."""
        ...


@dataclass(frozen=True, kw_only=True)
class Deps:
    """What the handlers work with; nodes and windows by chain id."""

    bus: Publisher
    nodes: Mapping[int, Rpc]
    windows: Mapping[int, FeeWindow]
    clock: Clock
    moments: OracleMoments
    quotes: LatestByKey[int, FeeQuoted] = field(default_factory=lambda: LatestByKey("fee quote"))


def routes(deps: Deps) -> Routes:
    """Quotes follow blocks. Without the node's history the last quote stays and its age shows."""
    routes = Routes()

    @routes.follow(BlockApplied, from_="last")
    async def quote(event: BlockApplied) -> None:
        try:
            await _extend(deps, event)
            quoted = fee_quote(event, deps.windows[event.chain_id], deps.clock.now_ms())
            await deps.bus.publish(quoted)
        except (Transient, RpcError) as error:
            deps.moments.quote_missed(event.chain_id, event.block.number, str(error))
            return
        deps.quotes.set(event.chain_id, quoted, deps.clock.now_ms())
        deps.moments.fee_quoted(quoted)

    return routes


async def _extend(deps: Deps, event: BlockApplied) -> None:
    window = deps.windows[event.chain_id]
    node, count = deps.nodes[event.chain_id], window.missing(event)
    window.extend(event, await node.fee_history(count, event.block.number, TIP_PERCENTILES))


def fee_quote(event: BlockApplied, window: FeeWindow, now_ms: int) -> FeeQuoted:
    """The quote for the block after ``event``."""
    base_fee = event.next_base_fee_per_gas_wei
    return FeeQuoted(
        id=FeeQuoted.make_id(event.chain_id, event.block.hash),
        chain_id=event.chain_id,
        occurred_at_ms=now_ms,
        block=event.block,
        next_base_fee_per_gas_wei=base_fee,
        tiers=tiers(window.rows, base_fee, fee_parameters(event.chain_id)),
        sampled_blocks=len(window.rows),
    )
