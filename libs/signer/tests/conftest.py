"""What the policy tests share: one policy, and router programs encoded by eth_abi."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode

from dexlane_signer import DynamicFeeTransaction, EntryCap, Policy, PrivateKey, TokenLimit

KEY = PrivateKey.from_hex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
ROUTER = "0x66a9893cc07d91d95644aedd05d03f95e1dba8af"
USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
WETH = "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
US, ROUTER_ITSELF = "0x" + "0" * 39 + "1", "0x" + "0" * 39 + "2"
ALL = 1 << 255
NOW_S = 1_800_000_000
SWAP = ["address", "uint256", "uint256", "bytes", "bool"]
PERMIT = ["((address,uint160,uint48,uint48),address,uint256)", "bytes"]

Step = tuple[int, bytes]


def v3(recipient: str, amount: int, minimum: int, *, path: str = "buy", user: bool = True) -> Step:
    tokens = (USDC, WETH) if path == "buy" else (WETH, USDC)
    packed = bytes.fromhex(tokens[0][2:]) + (500).to_bytes(3, "big") + bytes.fromhex(tokens[1][2:])
    return 0x00, encode(SWAP, [recipient, amount, minimum, packed, user])


def v2(recipient: str, amount: int, minimum: int, *, path: str = "buy", user: bool = True) -> Step:
    tokens = [USDC, WETH] if path == "buy" else [WETH, USDC]
    return 0x08, encode(
        ["address", "uint256", "uint256", "address[]", "bool"], [recipient, amount, minimum, tokens, user]
    )


def permit(**changes: Any) -> Step:
    fields = {"token": USDC, "amount": 100, "expiration": 0, "nonce": 0, "spender": ROUTER, "deadline": NOW_S + 60}
    fields |= {"signature": b"\1" * 65} | changes
    details = tuple(fields[name] for name in ("token", "amount", "expiration", "nonce"))
    return 0x0A, encode(PERMIT, [(details, fields["spender"], fields["deadline"]), fields["signature"]])


def program(*steps: Step, deadline_s: int = NOW_S + 60) -> bytes:
    commands = bytes(command for command, _ in steps)
    arguments = encode(["bytes", "bytes[]", "uint256"], [commands, [payload for _, payload in steps], deadline_s])
    return bytes.fromhex("3593564c") + arguments


def transaction(**changes: Any) -> DynamicFeeTransaction:
    fields: dict[str, Any] = {
        "chain_id": 1,
        "nonce": 7,
        "max_priority_fee_per_gas_wei": 10**9,
        "max_fee_per_gas_wei": 20 * 10**9,
        "gas_limit": 300_000,
        "to": ROUTER,
        "value_wei": 0,
        "data": program(v3(US, 100, 1)),
    }
    return DynamicFeeTransaction(**{**fields, **changes})


@pytest.fixture
def make_policy() -> Callable[..., Policy]:
    def make(**changes: Any) -> Policy:
        fields: dict[str, Any] = {
            "chain_ids": frozenset({1}),
            "own_addresses": frozenset({KEY.address}),
            "routers": {ROUTER: frozenset({"0x3593564c"})},
            "permit_spenders": frozenset({ROUTER}),
            "tokens": {USDC: TokenLimit(max_allowance=10_000, max_trade=1_000)},
            "max_fee_per_gas_wei": 100 * 10**9,
            "max_gas_limit": 1_000_000,
            "max_value_wei": 10**18,
            "entry_caps": {KEY.address: EntryCap(level=10, lane="fast", token=USDC, capital=10_000)},
            "wrapped_native": WETH,
        }
        return Policy(**{**fields, **changes})

    return make


@pytest.fixture
def policy(make_policy: Callable[..., Policy]) -> Policy:
    return make_policy()


@pytest.fixture
def policy_text(tmp_path: Path) -> str:
    """A policy file for one chain and one key, without a bus. Its folder is the test's own."""
    return f"""[process]
socket = "{tmp_path}/signer.sock"
control_socket = "{tmp_path}/control.sock"
data_dir = "{tmp_path}/data"
keystores = ["{tmp_path}/key.json"]
password_file = "{tmp_path}/password"
signs_of_life = true
[[chains]]
require_approvals = false
chain_id = 1
accounts = ["{KEY.address}"]
permit_spenders = ["{ROUTER}"]
max_fee_per_gas_wei = 100000000000
max_gas_limit = 1000000
max_deadline_s = 600
max_permit_s = 600
wrapped_native = "{WETH}"
max_value_wei = 0
[[chains.books]]
id = "ours"
level = 10
quote = "{USDC}"
[chains.books.fast]
account = "{KEY.address}"
capital = "10000"
[[chains.routers]]
address = "{ROUTER}"
selectors = ["0x3593564c"]
[[chains.tokens]]
address = "{USDC}"
max_allowance = "{10**30}"
max_trade = 1000
[chains.unlisted_tokens]
max_allowance = 5
max_trade = 6
"""
