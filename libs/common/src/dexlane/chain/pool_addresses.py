"""Where factories put their pools: CREATE2 (EIP-1014). No call is needed, and a pool can be checked by it."""

from __future__ import annotations

from dexlane.chain import abi
from dexlane.chain.keccak import keccak256
from dexlane.values.chains import ZERO_ADDRESS

_CLONE_BEFORE = bytes.fromhex("3d602d80600a3d3981f3363d3d373d3d3d363d73")
_CLONE_AFTER = bytes.fromhex("5af43d82803e903d91602b57fd5bf3")
"""Creation code of a minimal proxy around its implementation (ERC-1167, OpenZeppelin ``Clones``)."""


def create2_address(deployer: str, salt: bytes, init_code_hash: bytes) -> str:
    """``keccak256(0xff ++ deployer ++ salt ++ keccak256(initCode))[12:]``, lower-case hex."""
    return "0x" + keccak256(b"\xff" + abi.raw_address(deployer) + salt + init_code_hash)[12:].hex()


def v2_pair_address(factory: str, init_code_hash: str, token_a: str, token_b: str) -> str:
    """A pair of Uniswap V2 or of a fork (``UniswapV2Library.pairFor``)."""
    first, second = _sorted(token_a, token_b)
    return create2_address(factory, keccak256(first + second), bytes.fromhex(init_code_hash[2:]))


def v3_pool_address(deployer: str, init_code_hash: str, token_a: str, token_b: str, fee_pips: int) -> str:
    """A pool of Uniswap V3 (``PoolAddress.computeAddress``); PancakeSwap's have a deployer beside the factory."""
    first, second = _sorted(token_a, token_b)
    salt = keccak256(abi.frame(first.rjust(abi.WORD, b"\0"), second.rjust(abi.WORD, b"\0"), abi.uint(fee_pips, 24)))
    return create2_address(deployer, salt, bytes.fromhex(init_code_hash[2:]))


def solidly_pool_address(factory: str, implementation: str, token_a: str, token_b: str, *, stable: bool) -> str:
    """A pool of Aerodrome or Velodrome V2: a clone of the factory's implementation (``Router.poolFor``)."""
    first, second = _sorted(token_a, token_b)
    salt = keccak256(first + second + bytes([stable]))
    return create2_address(factory, salt, keccak256(_CLONE_BEFORE + abi.raw_address(implementation) + _CLONE_AFTER))


def v4_pool_id(currency0: str, currency1: str, fee_pips: int, tick_spacing: int, hooks: str = ZERO_ADDRESS) -> str:
    """``keccak256(abi.encode(PoolKey))`` (``PoolIdLibrary.toId``); currencies in the order of their addresses."""
    fields = (abi.address(currency0), abi.address(currency1), abi.uint(fee_pips, 24), abi.uint(tick_spacing, 24))
    return "0x" + keccak256(abi.frame(*fields, abi.address(hooks))).hex()


def _sorted(token_a: str, token_b: str) -> tuple[bytes, bytes]:
    first, second = sorted((abi.raw_address(token_a), abi.raw_address(token_b)))
    return first, second
