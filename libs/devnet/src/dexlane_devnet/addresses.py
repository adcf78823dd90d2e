"""Where things stand on chain: canonical addresses by chain, the tokens and the pools."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Addresses:
    """Canonical contract addresses of one chain, checksum form (source: @uniswap/sdk-core, circle.com)."""

    weth: str
    usdc: str
    usdc_implementation: str
    """The code behind USDC's proxy."""
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

    @property
    def weth_first(self) -> bool:
        """Whether WETH is token 0, so that the pool's price is in USDC for WETH: by address, as everywhere."""
        return self.token0 in {chain.weth for chain in CHAINS.values()}


ETHEREUM = Addresses(
    weth="0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2",
    usdc="0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
    usdc_implementation="0x43506849D7C04F9138D1A2050bbF3A0c054402dd",
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

BASE = Addresses(
    weth="0x4200000000000000000000000000000000000006",
    usdc="0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
    usdc_implementation="0x2Ce6311ddAE708829bc0784C967b7d77D19FD779",
    v2_factory="0x8909Dc15e40173Ff4699343b6eB8132c65e18eC6",
    v2_router02="0x4752ba5DBc23f44D87826276BF6Fd6b1C372aD24",
    v3_factory="0x33128a8fC17869897dcE68Ed026d694621f6FDfD",
    nft_descriptor="0xF9d1077fd35670d4ACbD27af82652a8d84577d9F",
    position_descriptor="0x4f225937EDc33EFD6109c4ceF7b560B2D6401009",
    position_manager="0x03a520b32C04BF3bEEf7BEb72E919cf822Ed34f1",
    swap_router02="0x2626664c2603336E57B271c5C0b26F421741e481",
    quoter_v2="0x3d4e44Eb1374240CE5F1B871ab261CD16335B76a",
    tick_lens="0x0CdeE061c75D43c82520eD998C23ac2991c9ac6d",
    universal_router="0x6fF5693b99212Da76ad316178A184AB56D299b43",
    permit2="0x000000000022D473030F116dDEE9F6B43aC78BA3",
    multicall3="0xcA11bde05977b3631167028862bE2a173976CA11",
    v4_pool_manager="0x498581fF718922c3f8e6A244956aF099B2652b2b",
    v4_position_manager="0x7C5f5A4bBd8fD63184577525326123B519429bDc",
)
"""Base. USDC's implementation, TickLens and the two descriptors are unverified, from memory; nothing depends on where
these four stand."""

CHAINS: dict[int, Addresses] = {1: ETHEREUM, 8453: BASE}
"""Canonical addresses by chain whose deployment is known."""

ADDRESSES = ETHEREUM
"""Ethereum's. A chain id that is not in ``CHAINS`` gets them too: it is a chain of our own."""

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

BASE_V3_POOL_005 = DevnetPool(
    "uniswap-v3-weth-usdc-500", "uniswap-v3", "0xd0b53D9277642d899DF5C87A3966A349A798F224",
    BASE.weth, BASE.usdc, 500, 10,
)  # fmt: skip
BASE_V3_POOL_030 = DevnetPool(
    "uniswap-v3-weth-usdc-3000", "uniswap-v3", "0x6c561B446416E1A00E8E93E221854d6eA4171372",
    BASE.weth, BASE.usdc, 3000, 60,
)  # fmt: skip
BASE_V2_POOL = DevnetPool(
    "uniswap-v2-weth-usdc", "uniswap-v2", "0x88A43bbDF9D098eEC7bCEda4e2494615dfD9bB9C",
    BASE.weth, BASE.usdc, 3000, None,
)  # fmt: skip


@dataclass(frozen=True)
class DevnetChain:
    """What stands on one chain of the devnet.

    Attributes:
        leading: the V3 0.05 % pool; the two others are kept near it.
        deep: the V3 0.3 % pool.
        pair: the V2 pool.
        is_recorded: whether the leading pool has a recorded day; without one its moves are synthetic.
        base_fee_wei: what the base fee walks around.
        network: the rules anvil follows (its option ``--network``).
    """

    addresses: Addresses
    leading: DevnetPool
    deep: DevnetPool
    pair: DevnetPool
    is_recorded: bool
    base_fee_wei: int
    network: str = "ethereum"

    @property
    def pools(self) -> dict[str, DevnetPool]:
        """The three pools by name."""
        return {pool.name: pool for pool in (self.leading, self.deep, self.pair)}


ETHEREUM_CHAIN = DevnetChain(ETHEREUM, V3_POOL_005, V3_POOL_030, V2_POOL, is_recorded=True, base_fee_wei=2 * 10**9)
BASE_CHAIN = DevnetChain(
    BASE, BASE_V3_POOL_005, BASE_V3_POOL_030, BASE_V2_POOL, is_recorded=False, base_fee_wei=10**7, network="optimism"
)

POOLS: dict[str, DevnetPool] = ETHEREUM_CHAIN.pools


def chain_of(chain_id: int) -> DevnetChain:
    """What stands on the chain with this id: Base's contracts on 8453, Ethereum's on every other."""
    return BASE_CHAIN if chain_id == 8453 else ETHEREUM_CHAIN


GAS_PRICE_ORACLE = "0x420000000000000000000000000000000000000F"
L1_BLOCK = "0x4200000000000000000000000000000000000015"
"""Predeploys of the OP stack: what the rollup charges for data, and what that is computed from."""

LIQUIDITY_DESK = "0xDE5C0000000000000000000000000000000000d5"
"""Not a mainnet contract: owns the recorded positions of the tape on the devnet (see build.py)."""
GAS_BURNER = "0xbad000000000000000000000000000000000Bad1"
"""Not a mainnet contract: one INVALID byte that consumes all gas sent to it (background load)."""
