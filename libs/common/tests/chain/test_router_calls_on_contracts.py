"""Every shape of trade, signed by the signer and carried out by the real routers, gives our quote to the wei."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from eth_abi.abi import encode

from dexlane.chain.answers import Receipt
from dexlane.chain.calldata import RouterDeployment, RouterKind
from dexlane.chain.direct_calls import routers_of, trade_calldata
from dexlane.chain.execution.outcomes import deltas_of
from dexlane.chain.execution.payloads import trade_of
from dexlane.chain.link import LinkPolicy
from dexlane.chain.node import NodeRpc
from dexlane.chain.permit2 import (
    PERMIT2,
    PermitCommand,
    PermitSingle,
    allowance,
    approve,
    balance_of,
    decode_amount,
    decode_permit2_allowance,
    permit2_allowance,
)
from dexlane.chain.pool_loading import ChainReader, WatchedPool, load_pool
from dexlane.chain.rpc import RpcClient
from dexlane.domain.trade_quotes import TradeQuote, quote_plan
from dexlane.events.base import FeeCap
from dexlane.events.execution import Plan
from dexlane.values.chains import NATIVE
from dexlane.values.pools import Pool, Protocol
from dexlane.values.routes import Leg, PlannedPath, Route
from dexlane.values.tokens import TokenTax
from dexlane_devnet import (
    ADDRESSES,
    V2_POOL,
    V3_POOL_005,
    V3_POOL_030,
    Devnet,
    DevnetConfig,
    account,
    free_port,
    start_devnet,
)
from dexlane_devnet.answers.chain import vyper_code
from dexlane_devnet.contracts import calldata
from dexlane_signer import (
    DynamicFeeTransaction,
    EntryCap,
    LocalSigner,
    NonceGuard,
    Policy,
    PrivateKey,
    SignRequest,
    TokenLimit,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]
USDC, WETH = ADDRESSES.usdc.lower(), ADDRESSES.weth.lower()
TRADER = account("test-1")
ME = TRADER.address.lower()
MAKER = account("deployer").address
ROUTERS = {deployment.kind: deployment for deployment in reversed(routers_of(1))} | {
    RouterKind.ROUTER02: next(one for one in routers_of(1) if one.kind is RouterKind.ROUTER02)
}
GWEI, FAR_FUTURE = 10**9, 2**40
TAX_BPS = 333
FEE = FeeCap(max_fee_per_gas_wei=100 * GWEI, max_priority_fee_per_gas_wei=GWEI)


@dataclass
class Market:
    """The devnet with a plain and a taxed token beside USDC and WETH, and a trader who signs as executors do."""

    devnet: Devnet
    rpc: NodeRpc
    signing: Callable[[str], LocalSigner]
    """The signer of a book whose entries are paid with a token."""
    plain: str
    taxed: str
    pools: dict[str, Pool]
    paid: str = USDC

    def pool(self, name: str) -> Pool:
        """A pool by protocol and tokens, as ``v2 usdc/weth`` or ``v3-500 usdc/weth``."""
        kind, pair = name.split()
        tokens = {self.token(symbol) for symbol in pair.split("/")}
        protocol = Protocol.UNISWAP_V2 if kind == "v2" else Protocol.UNISWAP_V3
        fee_pips = int(kind[3:] or 3_000)
        found = [
            pool
            for pool in self.pools.values()
            if (pool.key.protocol, pool.key.fee_pips) == (protocol, fee_pips)
            and {token.address for token in pool.key.tokens} == tokens
        ]
        return found[0]

    def token(self, symbol: str) -> str:
        return {"usdc": USDC, "weth": WETH, "plain": self.plain, "taxed": self.taxed}[symbol]

    def route(self, text: str) -> Route:
        """``usdc v3-500 weth v2 plain``: tokens with the kind of pool between them."""
        words = text.split()
        legs = []
        for before, kind, after in zip(words[::2], words[1::2], words[2::2], strict=False):
            pool = self.pool(f"{kind} {before}/{after}")
            legs.append(
                Leg(
                    pool=pool.key.address,
                    protocol=pool.key.protocol,
                    fee_pips=pool.key.fee_pips,
                    token_in=self.token(before),
                    token_out=self.token(after),
                )
            )
        return Route(legs=tuple(legs))

    async def call(self, to: str, data: bytes) -> bytes:
        return await self.rpc.eth_call(to, data)

    async def held(self, owner: str, token: str) -> int:
        return decode_amount(await self.call(token, balance_of(owner)))

    async def sign_and_send(self, to: str, data: bytes, value_wei: int = 0) -> Receipt:
        nonce = await self.rpc.transaction_count(ME)
        transaction = DynamicFeeTransaction(
            chain_id=1,
            nonce=nonce,
            max_priority_fee_per_gas_wei=FEE.max_priority_fee_per_gas_wei,
            max_fee_per_gas_wei=FEE.max_fee_per_gas_wei,
            gas_limit=2_000_000,
            to=to,
            value_wei=value_wei,
            data=data,
        )
        request = SignRequest(sender=ME, intent_id=f"{nonce:032x}", kind="trade", transaction=transaction)
        signed = self.signing(self.paid).sign_transaction(request)
        tx_hash = await self.rpc.send_raw_transaction(signed.raw)
        for _ in range(200):
            receipt = await self.rpc.receipt(tx_hash)
            if receipt is not None:
                return receipt
            await asyncio.sleep(0.01)
        raise TimeoutError(tx_hash)

    async def reload(self) -> None:
        tip = await self.rpc.block("latest")
        assert tip is not None
        reader = await ChainReader.at(self.rpc, tip.hash)
        for address, pool in self.pools.items():
            watched = WatchedPool(address=address, protocol=pool.key.protocol, fee_pips=pool.key.fee_pips)
            self.pools[address] = await load_pool(reader, watched)

    async def trade(self, plan: Plan, deployment: RouterDeployment) -> Receipt:
        """Sign what an executor would sign, permit or allowance first, and mine it."""
        self.paid = plan.route.token_in
        trade = trade_of(plan, ME)
        permits: list[PermitCommand] = []
        if deployment.kind is RouterKind.UNIVERSAL and not plan.native_in:
            permits = [await self._permit(plan, deployment.router)]
            await self.sign_and_send(plan.route.token_in, approve(PERMIT2, plan.amount_in))
        elif not plan.native_in:
            await self.sign_and_send(plan.route.token_in, approve(deployment.router, plan.amount_in))
        data = trade_calldata(trade, deployment, permits)
        return await self.sign_and_send(deployment.router, data, trade.value_wei)

    async def _permit(self, plan: Plan, router: str) -> PermitCommand:
        known = decode_permit2_allowance(await self.call(PERMIT2, permit2_allowance(ME, plan.route.token_in, router)))
        permit = PermitSingle(
            token=plan.route.token_in,
            amount=plan.amount_in,
            expiration_s=0,
            nonce=known.nonce,
            spender=router,
            sig_deadline_s=plan.deadline_s,
        )
        return PermitCommand(permit)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Market]:
    """The market as every test finds it."""
    async with await start_devnet(DevnetConfig(port=free_port(), block_time_s=None)) as devnet:
        client = RpcClient(devnet.ws_url, name="test", policy=LinkPolicy(jitter=random.random), chain_id=1)
        await client.start()
        await client.wait_connected(10)
        try:
            rpc = NodeRpc(client)
            plain, taxed = [await deploy(devnet, name) for name in ("token", "taxed_token")]
            await supply(devnet, plain, taxed)
            market = Market(devnet, rpc, await signers(devnet, tmp_path_factory.mktemp("market")), plain, taxed, {})
            await find_pools(market)
            yield market
        finally:
            await client.stop()


async def signers(devnet: Devnet, home: Path) -> Callable[[str], LocalSigner]:
    tip = await devnet.rpc("eth_getBlockByNumber", "latest", False)
    now_s = int(tip["timestamp"], 16)
    limit = TokenLimit(max_allowance=2**160 - 1, max_trade=2**160 - 1)
    policy = Policy(
        chain_ids=frozenset({1}),
        own_addresses=frozenset({ME}),
        routers={
            ROUTERS[RouterKind.UNIVERSAL].router: frozenset({"0x3593564c"}),
            ROUTERS[RouterKind.SWAP_ROUTER02].router: frozenset({"0x5ae401dc"}),
            ROUTERS[RouterKind.ROUTER02].router: frozenset(
                {"0x38ed1739", "0x18cbafe5", "0x7ff36ab5", "0x5c11d795", "0x791ac947", "0xb6f9de95"}
            ),
        },
        permit_spenders=frozenset({ROUTERS[RouterKind.UNIVERSAL].router}),
        direct_spenders=frozenset(one.router for one in ROUTERS.values()),
        tokens={},
        unlisted_token_limit=limit,
        max_fee_per_gas_wei=FEE.max_fee_per_gas_wei,
        max_gas_limit=3_000_000,
        max_value_wei=10**20,
        wrapped_native=WETH,
    )
    guard = NonceGuard(home / "guard.db")

    def paid_with(token: str) -> LocalSigner:
        caps = {ME: EntryCap(level=10, lane="smart", token=token, capital=2**160)}
        key = PrivateKey.from_hex(TRADER.private_key)
        return LocalSigner([key], [replace(policy, entry_caps=caps)], guard, clock_s=lambda: now_s)

    return cache(paid_with)


async def deploy(devnet: Devnet, name: str) -> str:
    third = 10**18 if name == "token" else TAX_BPS
    arguments = encode(["string", "uint8", "uint256"], ["T", 18, third])
    data = "0x" + (vyper_code(name) + arguments).hex()
    request = {"from": MAKER, "data": data, "gas": hex(5_000_000)}
    receipt = await devnet.rpc("eth_sendTransactionSync", request)
    return str(receipt["contractAddress"]).lower()


async def send(devnet: Devnet, sender: str, to: str, data: str, value_wei: int = 0) -> dict[str, Any]:
    request = {"from": sender, "to": to, "data": data, "value": hex(value_wei), "gas": hex(8_000_000)}
    receipt: dict[str, Any] = await devnet.rpc("eth_sendTransactionSync", request)
    assert receipt["status"] == "0x1", data[:10]
    return receipt


async def supply(devnet: Devnet, plain: str, taxed: str) -> None:
    """Pairs of the new tokens against WETH and USDC, one pool with ticks, and something of each for the trader."""
    usdc_minter = account("noise-3").address  # holds USDC and WETH enough for the pools
    await devnet.rpc("anvil_setBalance", MAKER, hex(10**24))
    await send(devnet, MAKER, WETH, "0xd0e30db0", 10**22)
    await send(devnet, usdc_minter, USDC, calldata("transfer(address,uint256)", MAKER, 8_000_000 * 10**6))
    for token in (plain, taxed):
        await send(devnet, MAKER, token, calldata("mint(address,uint256)", MAKER, 10**26))
        await send(devnet, MAKER, token, calldata("mint(address,uint256)", ME, 10**24))
    spenders = (ADDRESSES.v2_router02, ADDRESSES.position_manager)
    for token in (USDC, WETH, plain, taxed):
        for spender in spenders:
            await send(devnet, MAKER, token, calldata("approve(address,uint256)", spender, 2**256 - 1))
    kinds = "address,address,uint256,uint256,uint256,uint256,address,uint256"
    for token in (plain, taxed):
        for other, amount in ((WETH, 1_000 * 10**18), (USDC, 2_000_000 * 10**6)):
            data = calldata(f"addLiquidity({kinds})", token, other, 3_000_000 * 10**18, amount, 0, 0, MAKER, FAR_FUTURE)
            await send(devnet, MAKER, ADDRESSES.v2_router02, data)
    await add_ticked_pool(devnet, plain)
    await send(devnet, ME, WETH, "0xd0e30db0", 40 * 10**18)


async def add_ticked_pool(devnet: Devnet, token: str) -> None:
    token0, token1 = sorted((token, WETH), key=lambda one: int(one, 16))
    manager = ADDRESSES.position_manager
    price = 2**96 // 50 if token0 == token else 2**96 * 50
    create = calldata(
        "createAndInitializePoolIfNecessary(address,address,uint24,uint160)", token0, token1, 3_000, price
    )
    await send(devnet, MAKER, manager, create)
    kinds = "address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256"
    amounts = (500 * 10**18, 500 * 10**18)
    fields = (token0, token1, 3_000, -887_220, 887_220, *amounts, 0, 0, MAKER, FAR_FUTURE)
    await send(devnet, MAKER, manager, calldata(f"mint(({kinds}))", fields))


async def find_pools(market: Market) -> None:
    watched = {pool.address.lower(): Protocol.UNISWAP_V3 for pool in (V3_POOL_005, V3_POOL_030)}
    watched[V2_POOL.address.lower()] = Protocol.UNISWAP_V2
    for token in (market.plain, market.taxed):
        for other in (WETH, USDC):
            answer = await market.call(
                ADDRESSES.v2_factory, bytes.fromhex(calldata("getPair(address,address)", token, other)[2:])
            )
            watched["0x" + answer[-20:].hex()] = Protocol.UNISWAP_V2
    get_pool = calldata("getPool(address,address,uint24)", market.plain, WETH, 3_000)
    answer = await market.call(ADDRESSES.v3_factory, bytes.fromhex(get_pool[2:]))
    watched["0x" + answer[-20:].hex()] = Protocol.UNISWAP_V3
    tip = await market.rpc.block("latest")
    assert tip is not None
    reader = await ChainReader.at(market.rpc, tip.hash)
    for address, protocol in watched.items():
        market.pools[address] = await load_pool(reader, WatchedPool(address=address, protocol=protocol))


@pytest_asyncio.fixture(loop_scope="module")
async def market(opened: Market, tmp_path: Path) -> AsyncIterator[Market]:
    """The opened market with signers that have signed nothing; what a test does to the chain is undone."""
    snapshot = await opened.devnet.rpc("evm_snapshot")
    yield replace(opened, signing=await signers(opened.devnet, tmp_path), pools=dict(opened.pools))
    assert await opened.devnet.rpc("evm_revert", snapshot)


async def a_plan(market: Market, paths: Sequence[tuple[str, int]], **fields: Any) -> Plan:
    """A plan whose minimum is the very quote: one unit less on the chain, and it would revert."""
    await market.reload()
    taxes = (TokenTax(token=market.taxed, bps=TAX_BPS),)
    is_taxed = any("taxed" in text for text, _ in paths)
    routes = [(market.route(text), amount) for text, amount in paths]
    tip = await market.rpc.block("latest")
    assert tip is not None
    draft = Plan(
        route=routes[0][0],
        amount_in=sum(amount for _, amount in routes),
        quoted_out=1,
        minimum_out=len(routes),
        split=tuple(PlannedPath(route=route, amount_in=amount, minimum_out=1) for route, amount in routes)
        if len(routes) > 1
        else (),
        taxes=taxes if is_taxed else (),
        gas_limit=2_000_000,
        fee_cap=FEE,
        deadline_block=tip.number + 10,
        deadline_s=tip.timestamp_s + 300,
        pool_digest="",
        **fields,
    )
    return with_minimums(draft, quote_plan(market.pools, draft))


def with_minimums(plan: Plan, quote: TradeQuote, more: int = 0) -> Plan:
    split = tuple(
        path.model_copy(update={"minimum_out": quoted.amount_out})
        for path, (_, quoted) in zip(plan.split, quote.paths, strict=False)
    )
    changes = {"quoted_out": quote.amount_out, "minimum_out": quote.amount_out + more, "split": split}
    return plan.model_copy(update=changes)


K_USDC, W = 10**9, 10**18
UNIVERSAL: dict[str, tuple[list[tuple[str, int]], dict[str, bool]]] = {
    "v2": ([("usdc v2 weth", 5 * K_USDC)], {}),
    "v3": ([("usdc v3-500 weth", 50 * K_USDC)], {}),
    "v3, sold": ([("weth v3-3000 usdc", 20 * W)], {}),
    "two pools of v2": ([("usdc v2 weth v2 plain", 7 * K_USDC)], {}),
    "two pools of v3": ([("usdc v3-500 weth v3-3000 plain", 7 * K_USDC)], {}),
    "v3 then v2": ([("usdc v3-500 weth v2 plain", 7 * K_USDC)], {}),
    "v2 then v3": ([("usdc v2 weth v3-3000 plain", 7 * K_USDC)], {}),
    "three pools of both": ([("usdc v2 weth v3-3000 plain v2 usdc v3-500 weth", 2 * K_USDC)], {}),
    "split in three": ([("usdc v3-500 weth", 30 * K_USDC), ("usdc v3-3000 weth", 9 * K_USDC),
                        ("usdc v2 weth", 2 * K_USDC)], {}),
    "split that shares a pool": ([("usdc v3-500 weth v2 plain", 9 * K_USDC), ("usdc v2 weth v2 plain", 2 * K_USDC),
                                  ("usdc v2 plain", 5 * K_USDC)], {}),
    "native in": ([("weth v3-500 usdc", 3 * W)], {"native_in": True}),
    "native in, two protocols": ([("weth v2 plain v2 usdc", 3 * W)], {"native_in": True}),
    "native in, split": ([("weth v3-500 usdc", 3 * W), ("weth v2 usdc", W), ("weth v3-3000 plain v2 usdc", W)],
                         {"native_in": True}),
    "native out": ([("usdc v2 weth", 5 * K_USDC)], {"native_out": True}),
    "native out, split": ([("usdc v3-500 weth", 30 * K_USDC), ("usdc v2 plain v3-3000 weth", 2 * K_USDC)],
                          {"native_out": True}),
    "taxed token bought": ([("usdc v2 taxed", 5 * K_USDC)], {}),
    "taxed token sold": ([("taxed v2 usdc", 1_000 * W)], {}),
    "taxed token passed through": ([("usdc v2 taxed v2 weth", 5 * K_USDC)], {}),
    "taxed token bought over two pools": ([("usdc v2 weth v2 taxed", 5 * K_USDC)], {}),
    "taxed token bought with native coin": ([("weth v2 taxed", W)], {"native_in": True}),
    "taxed token sold for native coin": ([("taxed v2 weth", 1_000 * W)], {"native_out": True}),
    "taxed token split": ([("taxed v2 weth", 900 * W), ("taxed v2 usdc v2 weth", 500 * W)], {}),
}  # fmt: skip
ROUTER02 = {name: case for name, case in UNIVERSAL.items() if len(case[0]) == 1 and "v3" not in case[0][0][0]}


async def carried_out(market: Market, plan: Plan, deployment: RouterDeployment) -> None:
    """The trade takes and gives exactly what was planned, and leaves nothing: no tokens, no coin, no allowance."""
    native = await market.rpc.balance(ME)
    before = {token: await market.held(ME, token) for token in (plan.route.token_in, plan.route.token_out)}
    plan = plan.model_copy(update={"router": deployment.router})
    receipt = await market.trade(plan, deployment)
    assert receipt.success
    deltas = {delta.token: delta.amount for delta in deltas_of(receipt, 1, ME, plan)}
    gain = plan.quoted_out
    expected = {plan.paid_token: -plan.amount_in, plan.bought_token: gain}
    if plan.paid_token == plan.bought_token:
        expected = {plan.paid_token: gain - plan.amount_in}
    assert deltas == expected
    for token, amount in before.items():
        moved = 0 if deltas.get(token) is None else deltas[token]
        assert await market.held(ME, token) - amount == moved
    paid_gas = native + deltas.get(NATIVE, 0) - await market.rpc.balance(ME)
    assert 0 < paid_gas < 2 * W // 10
    for token in (USDC, WETH, market.plain, market.taxed):
        assert await market.held(deployment.router, token) == 0
        assert decode_amount(await market.call(token, allowance(ME, deployment.router))) == 0
        assert decode_amount(await market.call(token, allowance(ME, PERMIT2))) == 0
        left = decode_permit2_allowance(await market.call(PERMIT2, permit2_allowance(ME, token, deployment.router)))
        assert left.amount == 0
    assert await market.rpc.balance(deployment.router) == 0


@pytest.mark.parametrize("name", UNIVERSAL)
async def test_the_universal_router_gives_our_quote_to_the_wei(market: Market, name: str) -> None:
    paths, fields = UNIVERSAL[name]
    await carried_out(market, await a_plan(market, paths, **fields), ROUTERS[RouterKind.UNIVERSAL])


@pytest.mark.parametrize("name", UNIVERSAL)
async def test_swap_router02_gives_our_quote_to_the_wei(market: Market, name: str) -> None:
    paths, fields = UNIVERSAL[name]
    await carried_out(market, await a_plan(market, paths, **fields), ROUTERS[RouterKind.SWAP_ROUTER02])


@pytest.mark.parametrize("name", ROUTER02)
async def test_router02_gives_our_quote_to_the_wei(market: Market, name: str) -> None:
    paths, fields = ROUTER02[name]
    await carried_out(market, await a_plan(market, paths, **fields), ROUTERS[RouterKind.ROUTER02])


@pytest.mark.parametrize("kind", RouterKind)
@pytest.mark.parametrize("name", ["v2", "native out", "taxed token bought", "taxed token sold"])
async def test_one_unit_more_than_the_quote_reverts(market: Market, kind: RouterKind, name: str) -> None:
    paths, fields = UNIVERSAL[name]
    plan = await a_plan(market, paths, **fields)
    more = with_minimums(plan, quote_plan(market.pools, plan), more=1)
    assert not (await market.trade(more, ROUTERS[kind])).success


async def test_a_split_that_misses_one_minimum_reverts_whole(market: Market) -> None:
    paths, _ = UNIVERSAL["split in three"]
    plan = await a_plan(market, paths)
    last = plan.split[-1]
    greedy = last.model_copy(update={"minimum_out": last.minimum_out + 1})
    plan = plan.model_copy(update={"split": (*plan.split[:-1], greedy), "minimum_out": plan.minimum_out + 1})
    before = await market.held(ME, USDC)
    assert not (await market.trade(plan, ROUTERS[RouterKind.UNIVERSAL])).success
    assert await market.held(ME, USDC) == before


@pytest.mark.parametrize("kind", RouterKind)
async def test_a_call_after_its_deadline_reverts(market: Market, kind: RouterKind) -> None:
    plan = await a_plan(market, [("usdc v2 weth", K_USDC)])
    await market.devnet.rpc("evm_increaseTime", 400)
    assert not (await market.trade(plan, ROUTERS[kind])).success
