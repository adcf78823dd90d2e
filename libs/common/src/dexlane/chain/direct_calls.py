"""Calls to the routers that pull tokens themselves, and which router carries a trade out.

Sources: ``@uniswap/v2-periphery`` ``UniswapV2Router02.sol``; ``@uniswap/swap-router-contracts`` 1.3.1,
``V2SwapRouter.sol``, ``V3SwapRouter.sol``, ``base/PeripheryPaymentsExtended.sol``. The Universal Router comes first
wherever it reaches: it needs no allowance that outlives the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from dexlane.chain import abi
from dexlane.chain.answers import NOT_READABLE
from dexlane.chain.calldata import (
    ADDRESS_THIS,
    MSG_SENDER,
    ExactInput,
    RouterDeployment,
    RouterKind,
    SwapLeg,
    Trade,
    UnroutableError,
    check_trade,
    execute_trade,
    packed_path,
    router_of,
    runs_of,
    token_path,
)
from dexlane.chain.deployments import deployments
from dexlane.chain.permit2 import PermitCommand
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.runtime.errors import Transient

WHOLE_BALANCE = 0
"""SwapRouter02's name for all that it holds of the input token (``Constants.CONTRACT_BALANCE``)."""

_TOKENS_FOR_TOKENS = {False: bytes.fromhex("38ed1739"), True: bytes.fromhex("5c11d795")}
_TOKENS_FOR_ETH = {False: bytes.fromhex("18cbafe5"), True: bytes.fromhex("791ac947")}
_ETH_FOR_TOKENS = {False: bytes.fromhex("7ff36ab5"), True: bytes.fromhex("b6f9de95")}
"""Router02's functions by whether a token keeps a part of a transfer (``...SupportingFeeOnTransferTokens``)."""

_MULTICALL = bytes.fromhex("5ae401dc")  # multicall(uint256,bytes[])
_EXACT_INPUT_SINGLE = bytes.fromhex("04e45aaf")
_EXACT_INPUT = bytes.fromhex("b858183f")
_SWAP_EXACT_TOKENS = bytes.fromhex("472b43f3")
_UNWRAP = bytes.fromhex("49404b7c")  # unwrapWETH9(uint256,address)


async def deployed(rpc: Rpc, routers: Sequence[RouterDeployment]) -> tuple[RouterDeployment, ...]:
    """The routers that are on the chain. A call to an address without code succeeds and keeps the coin sent along.
    ``Transient`` when the node does not say."""
    try:
        return tuple([one for one in routers if await rpc.code(one.router)])
    except (RpcError, *NOT_READABLE) as error:
        raise Transient(f"the node does not say which routers there are: {error}") from error


@cache
def routers_of(chain_id: int) -> tuple[RouterDeployment, ...]:
    """The routers of a chain by ``deployments.toml``, in the order in which they are taken: the Universal Router, then
    SwapRouter02, then the Router02 of each V2 exchange, Uniswap's own first."""
    exchanges = [one for one in deployments().exchanges if one.chain_id == chain_id]
    found = [router_of(chain_id)]
    wrapped = found[0].wrapped_native
    v3 = next((one for one in exchanges if one.name == "uniswap_v3"), None)
    for v2 in sorted(
        (one for one in exchanges if one.family == "uniswap_v2"), key=lambda one: (one.name != "uniswap_v2", one.name)
    ):
        if v2.name == "uniswap_v2" and v3 is not None and v3.router is not None:
            hashes = (v2.factory, str(v2.init_code_hash), v3.factory, str(v3.init_code_hash))
            found.append(RouterDeployment(v3.router, *hashes, RouterKind.SWAP_ROUTER02, wrapped))
        if v2.router is not None and v2.fee_pips is not None:
            own = (v2.factory, str(v2.init_code_hash), "", "")
            found.append(RouterDeployment(v2.router, *own, RouterKind.ROUTER02, wrapped, v2.fee_pips))
    return tuple(found)


def router_for(trade: Trade, routers: Sequence[RouterDeployment]) -> RouterDeployment:
    """The first router that would trade exactly what the trade says. Raises the first one's ``UnroutableError`` when
    none would."""
    first: UnroutableError | None = None
    for deployment in routers:
        try:
            _check(trade, deployment)
        except UnroutableError as error:
            first = first or error
        else:
            return deployment
    raise first or UnroutableError("this chain has no router")


def trade_calldata(trade: Trade, deployment: RouterDeployment, permits: Sequence[PermitCommand] = ()) -> bytes:
    """The calldata that makes a router carry the trade out. Raises ``UnroutableError``."""
    if deployment.kind is RouterKind.UNIVERSAL:
        return execute_trade(trade, permits=permits, deployment=deployment)
    if permits:
        raise UnroutableError("only the Universal Router takes permits")
    _check(trade, deployment)
    return _router02(trade) if deployment.kind is RouterKind.ROUTER02 else _swap_router02(trade)


def _check(trade: Trade, deployment: RouterDeployment) -> None:
    check_trade(trade, deployment)
    if deployment.kind is RouterKind.ROUTER02 and (len(trade.orders) > 1 or (trade.native_in and trade.native_out)):
        raise UnroutableError("Router02 trades one path, and native coin at one end of it at most")


def _router02(trade: Trade) -> bytes:
    [order] = trade.orders
    path, to, deadline = token_path(order.legs), abi.address(trade.account), abi.uint(trade.deadline_s)
    least = abi.uint(order.minimum_out)
    if trade.native_in:
        return _ETH_FOR_TOKENS[trade.taxed] + abi.frame(least, path, to, deadline)
    selector = (_TOKENS_FOR_ETH if trade.native_out else _TOKENS_FOR_TOKENS)[trade.taxed]
    return selector + abi.frame(abi.uint(order.amount_in), least, path, to, deadline)


def _swap_router02(trade: Trade) -> bytes:
    """A multicall with the deadline. Value pays wherever wrapped native coin goes in (``pay``); no call is needed."""
    calls = [call for order in trade.orders for call in _chain_calls(order, trade)]
    if trade.native_out:
        calls.append(_UNWRAP + abi.uint(trade.minimum_out) + abi.address(trade.account))
    return _MULTICALL + abi.frame(abi.uint(trade.deadline_s), abi.array([abi.byte_string(call) for call in calls]))


def _chain_calls(order: ExactInput, trade: Trade) -> list[bytes]:
    ends_at = ADDRESS_THIS if trade.native_out else MSG_SENDER
    return [
        _swap_call(
            run,
            abi.address(ends_at if last else ADDRESS_THIS),
            abi.uint(order.amount_in if first else WHOLE_BALANCE),
            abi.uint(order.minimum_out if last else 0),
        )
        for run, first, last in runs_of(order)
    ]


def _swap_call(run: Sequence[SwapLeg], to: bytes, amount: bytes, least: bytes) -> bytes:
    if run[0].protocol == "uniswap_v2":
        return _SWAP_EXACT_TOKENS + abi.frame(amount, least, token_path(run), to)
    if len(run) > 1:
        return _EXACT_INPUT + abi.frame(abi.Dynamic(abi.frame(packed_path(run), to, amount, least)))
    [leg] = run
    ends = abi.address(leg.token_in) + abi.address(leg.token_out)
    no_price_limit = abi.uint(0)
    return _EXACT_INPUT_SINGLE + ends + abi.uint(leg.fee_pips, 24) + to + amount + least + no_price_limit
