"""Where things stand on chain: canonical addresses by chain, the tokens and the pools."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Addresses:
    """Canonical contract addresses of one chain, checksum form (source: @uniswap/sdk-core, circle.com)."""

    weth: str
    usdc: str
    v2_factory: str
    v2_router02: str
    v3_factory: str
    nft_descriptor: str
    position_descriptor: str
    position_manager: str
    swap_router02: str
    quoter_v2: str
    tick_lens: str
    universal_router: str
    permit2: str
    multicall3: str
    v4_pool_manager: str
    """Named in the UniversalRouter's constructor only; V4 is not deployed on the devnet."""
    v4_position_manager: str
    """As above."""


@dataclass(frozen=True)
class DevnetPool:
    """A pool of the devnet. ``fee_pips`` is in hundredths of a basis point (500 = 0.05 %)."""

    name: str
    protocol: str
    address: str
    token0: str
    token1: str
    fee_pips: int
    tick_spacing: int | None


ETHEREUM = Addresses(
    weth="0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2",
    usdc="0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
    v2_factory="0x5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f",
    v2_router02="0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D",
    v3_factory="0x1F98431c8aD98523631AE4a59f267346ea31F984",
    nft_descriptor="0x42B24A95702b9986e82d421cC3568932790A48Ec",
    position_descriptor="0x91ae842A5Ffd8d12023116943e72A606179294f3",
    position_manager="0xC36442b4a4522E871399CD717aBDD847Ab11FE88",
    swap_router02="0x68b3465833fb72A70ecDF485E0e4C7bD8665Fc45",
    quoter_v2="0x61fFE014bA17989E743c5F6cB21bF9697530B21e",
    tick_lens="0xbfd8137f7d1516D3ea5cA83523914859ec47F573",
    universal_router="0x66a9893cC07D91D95644AEDD05D03f95e1dBA8Af",
    permit2="0x000000000022D473030F116dDEE9F6B43aC78BA3",
    multicall3="0xcA11bde05977b3631167028862bE2a173976CA11",
    v4_pool_manager="0x000000000004444c5dc75cB358380D2e3dE08A90",
    v4_position_manager="0xbD216513d74C8cf14cf4747E6AaA6420FF64ee9e",
)

CHAINS: dict[int, Addresses] = {1: ETHEREUM}
"""Canonical addresses by chain whose deployment is known."""

ADDRESSES = ETHEREUM
"""The addresses the devnet deploys to. With another chain id they stay Ethereum's: it is a chain of our own."""

V3_POOL_005 = DevnetPool(
    "uniswap-v3-usdc-weth-500", "uniswap-v3", "0x88e6A0c2dDD26FEEb64F039a2c41296FcB3f5640",
    ADDRESSES.usdc, ADDRESSES.weth, 500, 10,
)  # fmt: skip
V3_POOL_030 = DevnetPool(
    "uniswap-v3-usdc-weth-3000", "uniswap-v3", "0x8ad599c3A0ff1De082011EFDDc58f1908eb6e6D8",
    ADDRESSES.usdc, ADDRESSES.weth, 3000, 60,
)  # fmt: skip
V2_POOL = DevnetPool(
    "uniswap-v2-usdc-weth", "uniswap-v2", "0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc",
    ADDRESSES.usdc, ADDRESSES.weth, 3000, None,
)  # fmt: skip

POOLS: dict[str, DevnetPool] = {pool.name: pool for pool in (V3_POOL_005, V3_POOL_030, V2_POOL)}

LIQUIDITY_DESK = "0xDE5C0000000000000000000000000000000000d5"
"""Not a mainnet contract: owns the recorded positions of the tape on the devnet (see build.py)."""
GAS_BURNER = "0xbad000000000000000000000000000000000Bad1"
"""Not a mainnet contract: one INVALID byte that consumes all gas sent to it (background load)."""
