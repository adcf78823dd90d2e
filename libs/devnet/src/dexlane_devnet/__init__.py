"""A local chain with the real DEX contracts, real tokens and recorded flow."""

from dexlane_devnet.accounts import ACCOUNT_COUNT, ROLES, TEST_MNEMONIC, TRADING_ROLES, DevnetAccount, account
from dexlane_devnet.addresses import (
    ADDRESSES,
    BASE_CHAIN,
    CHAINS,
    ETHEREUM_CHAIN,
    POOLS,
    V2_POOL,
    V3_POOL_005,
    V3_POOL_030,
    Addresses,
    DevnetChain,
    DevnetPool,
    chain_of,
)
from dexlane_devnet.anvil import free_port
from dexlane_devnet.build import build_state, default_cache
from dexlane_devnet.devnet import Devnet, DevnetConfig, start_devnet
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.flow import FlowPlayer, FlowSettings
from dexlane_devnet.rpc import Rpc, RpcError
from dexlane_devnet.tape import DEFAULT_TAPE, Tape, TapeEvent, load_tape
from dexlane_devnet.tracking import FlowStats

__all__ = [
    "ACCOUNT_COUNT",
    "ADDRESSES",
    "BASE_CHAIN",
    "CHAINS",
    "DEFAULT_TAPE",
    "ETHEREUM_CHAIN",
    "POOLS",
    "ROLES",
    "TEST_MNEMONIC",
    "TRADING_ROLES",
    "V2_POOL",
    "V3_POOL_005",
    "V3_POOL_030",
    "Addresses",
    "Devnet",
    "DevnetAccount",
    "DevnetChain",
    "DevnetConfig",
    "DevnetError",
    "DevnetPool",
    "FlowPlayer",
    "FlowSettings",
    "FlowStats",
    "Rpc",
    "RpcError",
    "Tape",
    "TapeEvent",
    "account",
    "build_state",
    "chain_of",
    "default_cache",
    "free_port",
    "load_tape",
    "start_devnet",
]
