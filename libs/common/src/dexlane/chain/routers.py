"""The Universal Router that executors trade through, by chain (``deployments.toml``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from dexlane.chain.calldata import MAINNET_ROUTER, RouterDeployment
from dexlane.chain.deployments import deployments


def _known() -> Iterator[tuple[int, RouterDeployment]]:
    exchanges = {(exchange.chain_id, exchange.name): exchange for exchange in deployments().exchanges}
    for chain in deployments().chains:
        pairs, pools = exchanges.get((chain.id, "uniswap_v2")), exchanges.get((chain.id, "uniswap_v3"))
        if pairs is None or pools is None or pools.universal_router is None:
            continue
        router = RouterDeployment(
            router=pools.universal_router,
            v2_factory=pairs.factory,
            v2_pair_code_hash=bytes.fromhex(str(pairs.init_code_hash)[2:]),
            v3_factory=pools.factory,
            v3_pool_code_hash=bytes.fromhex(str(pools.init_code_hash)[2:]),
        )
        yield chain.id, router


UNIVERSAL_ROUTERS: Mapping[int, RouterDeployment] = MappingProxyType(dict(_known()))
"""By chain id."""


def router_of(chain_id: int) -> RouterDeployment:
    """The router of a chain; Ethereum's for a chain that is not known, which is one of our own."""
    return UNIVERSAL_ROUTERS.get(chain_id, MAINNET_ROUTER)
