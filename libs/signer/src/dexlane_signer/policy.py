"""What may be signed, as values: limits, known contracts and the moment of asking.

``call_rules`` applies them to transactions and ``swap_rules`` to router programs and permits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

from dexlane_signer.addresses import normal_address
from dexlane_signer.approvals import Approver
from dexlane_signer.direct_calls import DIRECT_SELECTORS
from dexlane_signer.effects import NATIVE
from dexlane_signer.levels import EntryCap
from dexlane_signer.router_calls import EXECUTE

Kind: TypeAlias = Literal["trade", "cancel"]
"""What a slot is used for. Everything that is not the cancel of its slot is a trade, approvals included."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What an amount counts in the policy's unit of account: ``amount * numerator / denominator``, rounded up.

    The operator writes it down, for example in millionths of a dollar. It is an order of magnitude, not a price.
    Raises ``ValueError`` unless both are positive.
    """

    numerator: int
    denominator: int

    def __post_init__(self) -> None:
        if self.numerator <= 0 or self.denominator <= 0:
            raise ValueError("a worth is the ratio of two positive integers")

    def of(self, amount: int) -> int:
        """The value of an amount, rounded up."""
        return -(-amount * self.numerator // self.denominator)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingCaps:
    """What may be spent on one chain, by all its accounts together, within any hour and any 24 hours; ``None`` is no
    limit. Value is in the policy's unit of account. Gas counts what a transaction can cost at most, in wei."""

    value_per_trade: int | None = None
    value_per_hour: int | None = None
    value_per_day: int | None = None
    trades_per_hour: int | None = None
    trades_per_day: int | None = None
    gas_wei_per_hour: int | None = None
    gas_wei_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class TokenLimit:
    """Largest amounts of one token, in its smallest unit."""

    max_allowance: int
    """Most that may be approved to Permit2."""
    max_trade: int
    """Most that one permit or one swap may take."""
    max_hour: int | None = None
    """Most that trades may pay within any hour; ``None`` is no limit."""
    max_day: int | None = None
    """Most that trades may pay within any 24 hours; ``None`` is no limit."""
    worth: Worth | None = None
    """What counts against the caps on value; a token without it counts nothing there."""


@dataclass(frozen=True, slots=True)
class CheckContext:
    """Who signs, what for, and when (Unix seconds, by the clock the deadlines are written in)."""

    sender: str
    kind: Kind
    now_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of a chain, or of several chains on which all the addresses below are the same contracts.

    ``routers`` maps a router to the selectors that may be called on it. A selector that this package cannot
    decode is refused here with ``ValueError``: a listed but unread call would be a hole. ``permit_spenders``
    are the contracts that may be named in a Permit2 permit. Addresses may be given in any letter case.
    """

    chain_ids: frozenset[int]
    own_addresses: frozenset[str]
    routers: Mapping[str, frozenset[str]]
    permit_spenders: frozenset[str]
    tokens: Mapping[str, TokenLimit]
    max_fee_per_gas_wei: int
    max_gas_limit: int
    direct_spenders: frozenset[str] = frozenset()
    """Routers that pull tokens themselves: they may be approved for the amount of one trade."""
    max_value_wei: int = 0
    """Most native coin in one wrap, alone or before a swap; nothing else may carry value."""
    max_cancel_fee_per_gas_wei: int | None = None
    """Fee cap of cancels; by default 25 % over that of trades, so that a trade at its cap can still be outbid."""
    max_deadline_s: int = 600
    """How far ahead of now a swap's deadline may lie."""
    max_permit_s: int = 600
    """How far ahead of now a permit, and its signature, may end."""
    unlisted_token_limit: TokenLimit | None = None
    """Limit for tokens that are not listed; ``None`` refuses them."""
    wrapped_native: str | None = None
    """The WETH9 contract that may wrap and unwrap; ``None`` refuses both."""
    max_tip_per_gas_wei: int | None = None
    """Largest priority fee of trades; cancels may pay 25 % more. By default the fee cap."""
    max_cost_wei: int | None = None
    """Most that the gas of one transaction may cost: its fee cap times its gas limit."""
    approvers: Mapping[Approver, bytes] = field(default_factory=dict)
    """Ed25519 public keys. With any of them here every trade needs an approval; without one, none does."""
    max_approval_s: int = 3_600
    """How far ahead of now an approval may end."""
    book_accounts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Book to its accounts. An approval for a book that is not here is good for nobody."""
    entry_caps: Mapping[str, EntryCap] = field(default_factory=dict)
    """By account. One that is not here opens no position."""
    caps: SpendingCaps = SpendingCaps()
    legacy_chain_ids: frozenset[int] = frozenset()
    """Chains without EIP-1559, of those above: only type 0 is signed there, and only there."""
    _trade_caps: tuple[int, int] = field(init=False, repr=False, compare=False, default=(0, 0))
    _cancel_caps: tuple[int, int] = field(init=False, repr=False, compare=False, default=(0, 0))

    def __post_init__(self) -> None:
        unread = {selector for selectors in self.routers.values() for selector in selectors}
        unread -= {EXECUTE} | DIRECT_SELECTORS
        if unread:
            raise ValueError(f"this signer cannot decode the selectors {sorted(unread)}")
        if not self.legacy_chain_ids <= self.chain_ids:
            raise ValueError("a chain without EIP-1559 is none of the policy's chains")
        if any(len(key) != 32 for key in self.approvers.values()):
            raise ValueError("an Ed25519 public key has 32 bytes")
        routers = {normal_address(router): selectors for router, selectors in self.routers.items()}
        tokens = {normal_address(token): limit for token, limit in self.tokens.items()}
        fee, tip, cancel_fee = self.max_fee_per_gas_wei, self.max_tip_per_gas_wei, self.max_cancel_fee_per_gas_wei
        cancel_fee = fee * 5 // 4 if cancel_fee is None else cancel_fee
        normal: dict[str, object] = {
            "routers": MappingProxyType(routers),
            "tokens": MappingProxyType(tokens),
            "approvers": MappingProxyType({Approver(who): key for who, key in self.approvers.items()}),
            "book_accounts": MappingProxyType(
                {book: frozenset(map(normal_address, accounts)) for book, accounts in self.book_accounts.items()}
            ),
            "entry_caps": MappingProxyType(
                {normal_address(account): _normal(cap) for account, cap in self.entry_caps.items()}
            ),
            "own_addresses": frozenset(map(normal_address, self.own_addresses)),
            "permit_spenders": frozenset(map(normal_address, self.permit_spenders)),
            "direct_spenders": frozenset(map(normal_address, self.direct_spenders)),
            "wrapped_native": normal_address(self.wrapped_native) if self.wrapped_native else None,
            "_trade_caps": (fee, fee if tip is None else tip),
            "_cancel_caps": (cancel_fee, cancel_fee if tip is None else tip * 5 // 4),
        }
        for name, value in normal.items():
            object.__setattr__(self, name, value)

    def limit_of(self, token: str) -> TokenLimit | None:
        """The limit of a token, or ``None`` when it may not be touched. Native coin is traded wrapped: where it alone
        is listed, its limit is that of its wrapped form."""
        listed = self.tokens.get(token)
        if listed is None and token == self.wrapped_native:
            listed = self.tokens.get(NATIVE)
        return self.unlisted_token_limit if listed is None else listed

    def gas_price_caps_wei(self, kind: Kind) -> tuple[int, int]:
        """The largest ``max_fee_per_gas_wei`` and ``max_priority_fee_per_gas_wei`` for a trade or a cancel."""
        return self._cancel_caps if kind == "cancel" else self._trade_caps


def _normal(cap: EntryCap) -> EntryCap:
    return replace(cap, token=normal_address(cap.token))
