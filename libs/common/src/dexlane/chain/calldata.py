"""Programs of the Universal Router, and what receipts say.

A trade is one ``execute`` of Uniswap's Universal Router (``@uniswap/universal-router`` 2.1.0). Both swap
commands take ``(address recipient, uint256 amountIn, uint256 amountOutMin, path, bool payerIsUser)`` with a
packed path for V3 and an ``address[]`` for V2; this version knows no further fields. The V2 command pays and measures
by balances, so it serves tokens that keep a part of a transfer as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from itertools import groupby, pairwise
from typing import Any, Protocol

from dexlane.chain import abi
from dexlane.chain.deployments import deployments
from dexlane.chain.permit2 import PermitCommand, permit_input
from dexlane.chain.pool_addresses import v2_pair_address, v3_pool_address

V3_SWAP_EXACT_IN, V2_SWAP_EXACT_IN, PERMIT2_PERMIT, WRAP_ETH, UNWRAP_WETH = 0x00, 0x08, 0x0A, 0x0B, 0x0C
"""Router commands (``libraries/Commands.sol``), without the flag that allows them to fail."""

MSG_SENDER = "0x" + "00" * 19 + "01"
"""The router's name for its caller (v4-periphery ``ActionConstants``)."""

ADDRESS_THIS = "0x" + "00" * 19 + "02"
"""The router's name for itself."""

CONTRACT_BALANCE = 1 << 255
"""As an amount in: everything of the input token that the router holds."""

V2_FEE_PIPS = 3_000
"""The fee of Uniswap's own pairs: 997 / 1000 of what comes in are traded."""

_EXECUTE = bytes.fromhex("3593564c")  # execute(bytes,bytes[],uint256)
_TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_DEPOSIT_TOPIC = "0xe1fffcc4923d04b559f4d29a8bfc6cda04eb5b0d3c460751c2402c5c5cc9109c"  # WETH9 Deposit(address,uint256)
_WITHDRAWAL_TOPIC = "0x7fcf532c15f0a6db0bd6d0e038bea71d30d808c7d98cb3bf7268a95bf5081b65"


class UnroutableError(ValueError):
    """The router cannot trade these legs, or would trade them somewhere else."""


class SwapLeg(Protocol):
    """What a leg must say; ``dexlane.values.routes.Leg`` says it. ``fee_pips`` is in hundredths of a bps."""

    @property
    def pool(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def fee_pips(self) -> int: ...
    @property
    def token_in(self) -> str: ...
    @property
    def token_out(self) -> str: ...


class RouterKind(StrEnum):
    """How a router is spoken to, and by whom it is paid."""

    UNIVERSAL = "universal"
    """Uniswap's Universal Router: paid through Permit2 by a signature inside the call."""
    SWAP_ROUTER02 = "swap_router02"
    """Uniswap's SwapRouter02: pulls tokens itself, so it needs an allowance of its own."""
    ROUTER02 = "router02"
    """Uniswap's V2 Router02 and its forks: the same, for pairs of its factory alone."""


@dataclass(frozen=True, slots=True)
class RouterDeployment:
    """A router and the factories its pools come from (constructor arguments of the router).

    ``v2_fee_pips`` is the only fee its V2 maths knows (``UniswapV2Library.getAmountOut``). A Router02 has no V3
    factory.
    """

    router: str
    v2_factory: str
    v2_pair_code_hash: str
    v3_factory: str
    v3_pool_code_hash: str
    kind: RouterKind = RouterKind.UNIVERSAL
    wrapped_native: str | None = None
    v2_fee_pips: int = V2_FEE_PIPS


@cache
def router_of(chain_id: int) -> RouterDeployment:
    """The Universal Router of a chain, by ``deployments.toml``.

    Of a chain that has none there it is Ethereum's: the pools it would derive are then not those of the chain, and
    every route is refused.
    """
    exchanges = {one.name: one for one in deployments().exchanges if one.chain_id == chain_id}
    v2, v3 = exchanges.get("uniswap_v2"), exchanges.get("uniswap_v3")
    if v2 is None or v3 is None or v3.universal_router is None:
        return MAINNET_ROUTER
    return RouterDeployment(
        router=str(v3.universal_router),
        v2_factory=v2.factory,
        v2_pair_code_hash=str(v2.init_code_hash),
        v3_factory=v3.factory,
        v3_pool_code_hash=str(v3.init_code_hash),
        wrapped_native=deployments().chain(chain_id).wrapped_native,
    )


MAINNET_ROUTER = router_of(1)
"""Ethereum mainnet, and the devnet that stands at the same addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactInput:
    """One chain of swaps: pay ``amount_in`` of the first token, get at least ``minimum_out`` of the last.

    Amounts in the tokens' smallest units. A gap trade is a chain that ends in the token it began with.
    """

    legs: Sequence[SwapLeg]
    amount_in: int
    minimum_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """What a router is asked for: one chain, or several for a split, all or nothing.

    ``account`` pays and receives; ``deadline_s`` is in Unix seconds. With ``native_in`` the first tokens are wrapped
    native coin that comes along as value; with ``native_out`` the last ones are unwrapped. ``taxed`` says that one of
    the tokens keeps a part of a transfer.
    """

    orders: Sequence[ExactInput]
    account: str
    deadline_s: int
    native_in: bool = False
    native_out: bool = False
    taxed: bool = False

    @property
    def amount_in(self) -> int:
        """All that is paid."""
        return sum(order.amount_in for order in self.orders)

    @property
    def minimum_out(self) -> int:
        """The least that all chains together bring: each has its own minimum, and one that misses it reverts all."""
        return sum(order.minimum_out for order in self.orders)

    @property
    def value_wei(self) -> int:
        """The native coin that must come along."""
        return self.amount_in if self.native_in else 0


def execute(
    orders: Sequence[ExactInput],
    *,
    deadline_s: int,
    permits: Sequence[PermitCommand] = (),
    deployment: RouterDeployment = MAINNET_ROUTER,
) -> bytes:
    """Return the calldata of ``execute`` for chains that are paid and received in tokens; see ``execute_trade``."""
    trade = Trade(orders=orders, account=MSG_SENDER, deadline_s=deadline_s)
    return execute_trade(trade, permits=permits, deployment=deployment)


def execute_trade(
    trade: Trade, *, permits: Sequence[PermitCommand] = (), deployment: RouterDeployment = MAINNET_ROUTER
) -> bytes:
    """Return the calldata of ``execute``: permits first, then the chains, all or nothing.

    Raises ``UnroutableError`` when a leg's pool is not the one the router would derive, when legs do not connect, or
    when an amount is not positive.
    """
    check_trade(trade, deployment)
    steps = [(PERMIT2_PERMIT, permit_input(permit)) for permit in permits]
    if trade.native_in:
        steps.append((WRAP_ETH, abi.frame(abi.address(ADDRESS_THIS), abi.uint(trade.amount_in))))
    for order in trade.orders:
        steps += _swap_steps(order, trade)
    if trade.native_out:
        steps.append((UNWRAP_WETH, abi.frame(abi.address(MSG_SENDER), abi.uint(trade.minimum_out))))
    return _EXECUTE + abi.frame(
        abi.byte_string(bytes(command for command, _ in steps)),
        abi.array([abi.byte_string(payload) for _, payload in steps]),
        abi.uint(trade.deadline_s),
    )


def routed_pool(leg: SwapLeg, deployment: RouterDeployment) -> str:
    """Return the pool the router will use for a leg: it derives it from tokens and fee (CREATE2, EIP-1014).

    Raises ``UnroutableError`` for a protocol without a command, or a V2 fee other than 0.3 %.
    """
    return _derived_pool(str(leg.protocol), leg.fee_pips, leg.token_in, leg.token_out, deployment)


@lru_cache(maxsize=4_096)
def _derived_pool(protocol: str, fee_pips: int, token_in: str, token_out: str, deployment: RouterDeployment) -> str:
    if protocol == "uniswap_v3" and deployment.kind is not RouterKind.ROUTER02:
        return v3_pool_address(deployment.v3_factory, deployment.v3_pool_code_hash, token_in, token_out, fee_pips)
    if protocol == "uniswap_v2" and fee_pips == deployment.v2_fee_pips:
        return v2_pair_address(deployment.v2_factory, deployment.v2_pair_code_hash, token_in, token_out)
    raise UnroutableError(f"the router has no command for {protocol} with a fee of {fee_pips} pips")


def _swap_steps(order: ExactInput, trade: Trade) -> list[tuple[int, bytes]]:
    """Neighbouring legs of one protocol share a command; between commands the router keeps the tokens."""
    steps: list[tuple[int, bytes]] = []
    ends_at = ADDRESS_THIS if trade.native_out else MSG_SENDER
    for run, first, last in runs_of(order):
        is_v3 = run[0].protocol == "uniswap_v3"
        payload = abi.frame(
            abi.address(ends_at if last else ADDRESS_THIS),
            abi.uint(order.amount_in if first else CONTRACT_BALANCE),
            abi.uint(order.minimum_out if last else 0),
            packed_path(run) if is_v3 else token_path(run),
            abi.flag(first and not trade.native_in),
        )
        steps.append((V3_SWAP_EXACT_IN if is_v3 else V2_SWAP_EXACT_IN, payload))
    return steps


def runs_of(order: ExactInput) -> list[tuple[list[SwapLeg], bool, bool]]:
    """Neighbouring legs of one protocol, and whether they are the first and the last of the chain."""
    runs = [list(run) for _, run in groupby(order.legs, key=lambda leg: leg.protocol)]
    return [(run, position == 0, position == len(runs) - 1) for position, run in enumerate(runs)]


def check_trade(trade: Trade, deployment: RouterDeployment) -> None:
    """Raise ``UnroutableError`` when the router would not trade exactly what the trade says."""
    if not trade.orders:
        raise UnroutableError("there is nothing to swap")
    for order in trade.orders:
        check_order(order, deployment)
    ends = {(order.legs[0].token_in, order.legs[-1].token_out) for order in trade.orders}
    if len(ends) > 1 and (trade.native_in or trade.native_out):
        raise UnroutableError("chains that are paid or received in native coin begin and end alike")
    if trade.taxed and any(leg.protocol != "uniswap_v2" for order in trade.orders for leg in order.legs):
        raise UnroutableError("tokens that keep a part of a transfer are traded in V2 pools only")
    _check_native(trade, ends, deployment.wrapped_native)


def _check_native(trade: Trade, ends: Collection[tuple[str, str]], wrapped_native: str | None) -> None:
    """Between commands the router spends all it holds of a token: wrapped native coin of other chains may not lie
    there then."""
    if not (trade.native_in or trade.native_out):
        return
    wrapped = {token_in for token_in, _ in ends if trade.native_in} | {out for _, out in ends if trade.native_out}
    if wrapped - {wrapped_native}:
        raise UnroutableError("only the wrapped native coin of the chain can be wrapped and unwrapped")
    for order in trade.orders:
        if any(run[0].token_in in wrapped and not first for run, first, _ in runs_of(order)):
            raise UnroutableError("a chain passes through the native coin that it is paid or received in")


def check_order(order: ExactInput, deployment: RouterDeployment) -> None:
    """Raise ``UnroutableError`` when the router would not trade exactly where the order says."""
    # Permit2 pulls at most 160 bits, and an amount of zero means "already paid" to the V2 command.
    if not (0 < order.amount_in < 1 << 160 and order.minimum_out > 0 and order.legs):
        raise UnroutableError("an order needs legs, a positive amount in and a positive minimum out")
    if any(before.token_out != after.token_in for before, after in pairwise(order.legs)):
        raise UnroutableError("each leg must start with the token that the leg before it gave")
    for leg in order.legs:
        if routed_pool(leg, deployment) != leg.pool.lower():
            raise UnroutableError(f"the router would not trade in {leg.pool}")


def packed_path(legs: Sequence[SwapLeg]) -> abi.Dynamic:
    """V3: token, then (3-byte fee, token) for each pool, without padding between them."""
    hops = (leg.fee_pips.to_bytes(3, "big") + abi.raw_address(leg.token_out) for leg in legs)
    return abi.byte_string(abi.raw_address(legs[0].token_in) + b"".join(hops))


def token_path(legs: Sequence[SwapLeg]) -> abi.Dynamic:
    """V2: the tokens in order."""
    return abi.array([abi.address(legs[0].token_in), *(abi.address(leg.token_out) for leg in legs)])


@dataclass(frozen=True, slots=True)
class TokenFlows:
    """What an account received and spent of each token (lower-case address, smallest unit), native excluded."""

    received: Mapping[str, int]
    spent: Mapping[str, int]

    def net(self, token: str) -> int:
        """Received minus spent."""
        return self.received.get(token, 0) - self.spent.get(token, 0)


def token_flows(logs: Iterable[Mapping[str, Any]], owner: str) -> TokenFlows:
    """Add up the ERC-20 ``Transfer`` logs (JSON-RPC form) that touch ``owner``.

    A transfer to oneself counts on both sides. Logs that only share the signature (ERC-721 indexes its third
    argument) are passed over. A token that lies in its logs lies here: compare balances where it matters.
    """
    owner_topic = "0x" + abi.address(owner).hex()
    received: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for log in logs:
        topics, data = log["topics"], str(log["data"])
        if len(topics) != 3 or str(topics[0]).lower() != _TRANSFER_TOPIC or len(data) != 66:
            continue
        token, amount = str(log["address"]).lower(), int(data, 16)
        if str(topics[1]).lower() == owner_topic:
            spent[token] += amount
        if str(topics[2]).lower() == owner_topic:
            received[token] += amount
    return TokenFlows(received=received, spent=spent)


def native_flow(logs: Iterable[Mapping[str, Any]], wrapped_native: str, router: str) -> tuple[int, int]:
    """What a router wrapped and unwrapped (wei), by the ``Deposit`` and ``Withdrawal`` logs of the wrapped coin.

    Native coin moves without a log of its own: what a program wraps came from its caller, and what it unwraps goes
    there.
    """
    router_topic = "0x" + abi.address(router).hex()
    moved = {_DEPOSIT_TOPIC: 0, _WITHDRAWAL_TOPIC: 0}
    for log in logs:
        topics, data = [str(topic).lower() for topic in log["topics"]], str(log["data"])
        if str(log["address"]).lower() != wrapped_native or len(topics) != 2 or len(data) != 66:
            continue
        if topics[0] in moved and topics[1] == router_topic:
            moved[topics[0]] += int(data, 16)
    return moved[_DEPOSIT_TOPIC], moved[_WITHDRAWAL_TOPIC]
