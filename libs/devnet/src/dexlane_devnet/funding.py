"""Who owns what at the start (amounts in wei and in USDC units)."""

from dexlane_devnet.accounts import FLOW_ROLES, ROLES, account
from dexlane_devnet.addresses import LIQUIDITY_DESK, Addresses, DevnetChain
from dexlane_devnet.contracts import calldata
from dexlane_devnet.deploy import send
from dexlane_devnet.rpc import Rpc

ETHER = 10**18
USDC = 10**6
UNLIMITED = (1 << 256) - 1

TRADER_WEI = 100 * ETHER
TRADER_USDC = 100_000 * USDC
FLOW_WEI = 3_000_000 * ETHER
BACKGROUND_WEI = 100_000_000 * ETHER
MARKET_WETH: dict[str, int] = {
    "flow": 1_000_000 * ETHER,
    "noise-1": 100_000 * ETHER,
    "noise-2": 100_000 * ETHER,
    "noise-3": 100_000 * ETHER,
    "liquidity": 2_000_000 * ETHER,
}
MARKET_USDC: dict[str, int] = {
    "flow": 2_000_000_000 * USDC,
    "noise-1": 300_000_000 * USDC,
    "noise-2": 300_000_000 * USDC,
    "noise-3": 300_000_000 * USDC,
    "liquidity": 5_000_000_000 * USDC,
}
DESK_WETH = 500_000 * ETHER
DESK_USDC = 1_000_000_000 * USDC


def ether_of(role: str) -> int:
    """Starting balance of a role, in wei."""
    if role == "background-load":
        return BACKGROUND_WEI
    return FLOW_WEI if role in (*FLOW_ROLES, "liquidity") else TRADER_WEI


async def deal_ether(rpc: Rpc) -> None:
    """Set every account's ether balance."""
    for role in ROLES:
        await rpc.call("anvil_setBalance", account(role).address, hex(ether_of(role)))


async def mint_usdc(rpc: Rpc, usdc: str, to: str, units: int) -> None:
    """Mint real USDC as its minter."""
    minter = account("usdc-minter").address
    await send(rpc, minter, usdc, calldata("mint(address,uint256)", to, units))


async def fund_accounts(rpc: Rpc, chain: DevnetChain) -> None:
    """Tokens for traders and market makers, and the market makers' allowances."""
    at = chain.addresses
    for role in ROLES:
        if role.startswith(("live-", "spare-", "test-")):
            await mint_usdc(rpc, at.usdc, account(role).address, TRADER_USDC)
    for role, wei in MARKET_WETH.items():
        owner = account(role).address
        await send(rpc, owner, at.weth, calldata("deposit()"), wei)
        await mint_usdc(rpc, at.usdc, owner, MARKET_USDC[role])
        for token in (at.usdc, at.weth):
            for spender in _spenders(role, at):
                await send(rpc, owner, token, calldata("approve(address,uint256)", spender, UNLIMITED))
    if chain.is_recorded:
        maker = account("liquidity").address
        await send(rpc, maker, at.weth, calldata("transfer(address,uint256)", LIQUIDITY_DESK, DESK_WETH))
        await mint_usdc(rpc, at.usdc, LIQUIDITY_DESK, DESK_USDC)
    # Set-up cost the accounts some gas; the documented balances are exact.
    await deal_ether(rpc)


def _spenders(role: str, at: Addresses) -> tuple[str, ...]:
    if role == "liquidity":
        return (at.position_manager, at.v2_router02)
    return (at.swap_router02, at.v2_router02)
