"""The contracts of the exchanges and the main tokens by chain: data, read once from ``deployments.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Literal

from pydantic import Field, model_validator

from dexlane.values.base import Value
from dexlane.values.chains import Address, ChainId, Hash32
from dexlane.values.pools import PoolKey, Protocol
from dexlane.values.tokens import Token

Family = Literal["uniswap_v2", "uniswap_v3", "pancakeswap_v3", "solidly", "uniswap_v4", "balancer_v2"]
"""What an exchange's pools have in common: events, view functions, maths. A fork is of its original's family."""


class Chain(Value):
    """What a chain has once. ``source`` says where the entry comes from."""

    id: ChainId
    name: str
    wrapped_native: Address
    multicall3: Address
    permit2: Address
    quote_tokens: tuple[Token, ...] = Field(description="stable coins that pools are priced in, the main one first")
    source: str


class Exchange(Value):
    """One exchange on one chain.

    ``factory`` announces its pools; for Uniswap V4 that is the ``PoolManager``, for Balancer V2 the Vault,
    which hold them too. ``deployer`` is
    who creates them where that is not the factory (PancakeSwap V3). Pools of Uniswap V2 and V3 and of their forks are
    found by ``init_code_hash``, Solidly's by the ``implementation`` that they are clones of. ``fee_pips`` is the fixed
    fee of a V2 fork, in hundredths of a basis point; everywhere else the pool or its factory tells.
    """

    name: str = Field(pattern="^[a-z0-9_]+$")
    chain_id: ChainId
    family: Family
    factory: Address
    deployer: Address | None = None
    init_code_hash: Hash32 | None = None
    implementation: Address | None = None
    fee_pips: int | None = Field(default=None, ge=0, lt=1_000_000)
    router: Address | None = None
    quoter: Address | None = None
    state_view: Address | None = None
    position_manager: Address | None = None
    universal_router: Address | None = None
    source: str

    @model_validator(mode="after")
    def _complete(self) -> Exchange:
        by_hash = self.family in {"uniswap_v2", "uniswap_v3", "pancakeswap_v3"}
        if by_hash != (self.init_code_hash is not None):
            raise ValueError("exactly the forks of Uniswap V2 and V3 have an init code hash")
        if (self.family == "solidly") != (self.implementation is not None):
            raise ValueError("exactly Solidly's pools are clones of an implementation")
        if (self.family == "uniswap_v2") != (self.fee_pips is not None):
            raise ValueError("exactly the forks of Uniswap V2 have a fixed fee")
        return self


class Deployments(Value):
    """Everything in the file."""

    chains: tuple[Chain, ...]
    exchanges: tuple[Exchange, ...]

    def chain(self, chain_id: int) -> Chain:
        """A chain's entry; ``KeyError`` when it has none."""
        for chain in self.chains:
            if chain.id == chain_id:
                return chain
        raise KeyError(f"chain {chain_id} is not among the known deployments")

    def exchange(self, chain_id: int, name: str) -> Exchange:
        """An exchange's entry; ``KeyError`` when that chain has none."""
        for exchange in self.exchanges:
            if (exchange.chain_id, exchange.name) == (chain_id, name):
                return exchange
        raise KeyError(f"chain {chain_id} has no {name} among the known deployments")


@cache
def deployments() -> Deployments:
    """The known deployments."""
    text = resources.files("dexlane.chain").joinpath("deployments.toml").read_text(encoding="utf-8")
    return Deployments.model_validate(tomllib.loads(text))


def pair_fee_pips(factory: str) -> int | None:
    """The fixed fee of the pairs of a V2 factory, whatever the chain; None for an unknown factory."""
    fees = {
        exchange.fee_pips
        for exchange in deployments().exchanges
        if exchange.family == "uniswap_v2" and exchange.factory == factory
    }
    return fees.pop() if len(fees) == 1 else None


def singletons(chain_id: int) -> frozenset[str]:
    """The contracts of a chain that each hold many pools: their logs name the pool in a topic."""
    return frozenset(
        exchange.factory
        for exchange in deployments().exchanges
        if exchange.chain_id == chain_id and exchange.family in {"uniswap_v4", "balancer_v2"}
    )


def emitter_of(chain_id: int, key: PoolKey) -> str:
    """The contract whose logs tell of a pool: itself, or the one that holds it. ``KeyError`` for an unknown one."""
    if key.protocol is Protocol.UNISWAP_V4:
        return deployments().exchange(chain_id, "uniswap_v4").factory
    if key.protocol in {Protocol.BALANCER_WEIGHTED, Protocol.BALANCER_STABLE}:
        return deployments().exchange(chain_id, "balancer_v2").factory
    return key.address


def counterparties(chain_id: int) -> frozenset[str]:
    """The routers of a chain that are known, and Permit2: every trade is a call of one of them."""
    known = deployments()
    routers = [
        router
        for exchange in known.exchanges
        if exchange.chain_id == chain_id
        for router in (exchange.router, exchange.universal_router)
        if router is not None
    ]
    return frozenset((*routers, *(chain.permit2 for chain in known.chains if chain.id == chain_id)))
