"""From a trial to a verdict. Pure: the same trial and limits give the same verdict everywhere.

Unsafe: what was executed would have lost money, or one key can make it so at once. Unknown: something that a safe
token must have shown was not seen. Safe: everything was seen, and nothing spoke against it. A switch does not count
when a timelock delays it by a day or more, when its effect is small, or when the issuer is on the allow list; it is
flagged all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pydantic import Field

from dexlane.domain.risk.evidence import TrialFacts
from dexlane.domain.risk.token_background import Background, BackgroundLimits, remarks
from dexlane.domain.risk.token_trial import Kind, Move, Switch, TokenTrial, Trade
from dexlane.values.amounts import BPS_DENOMINATOR
from dexlane.values.base import Value

Verdict = Literal["safe", "unsafe", "unknown"]


class TrialLimits(Value):
    """Beyond these a token is unsafe. Taxes count for each of purchase, sale and transfer."""

    max_tax_bps: int = Field(default=1_000, ge=0, le=10_000)
    max_cool_down_s: int = Field(default=600, ge=0, description="longest time after a purchase without a sale")
    max_trade_gas: int = Field(default=1_000_000, ge=100_000)
    max_made_bps: int = Field(default=1, ge=0, description="tokens that a trade may bring into being, of the supply")
    max_switch_made_bps: int = Field(default=200, ge=0, description="tokens that one key may make, of the supply")
    max_loss_bps: int = Field(default=10, ge=0, description="part of a balance that may vanish by itself")
    min_delay_s: int = Field(default=86_400, ge=0, description="a timelock's delay from which a switch is tolerable")
    max_pulled_bps: int = Field(default=9_000, ge=0, le=10_000, description="liquidity that may be gone, of the most")
    min_lp_locked_bps: int | None = Field(default=None, ge=0, le=10_000, description="liquidity that must be locked")
    max_holder_bps: int | None = Field(default=None, ge=0, le=10_000, description="supply that one account may sell")
    min_age_s: int | None = Field(default=None, ge=0)

    def background(self, *, known_issuer: bool) -> BackgroundLimits:
        """What is asked of a token's surroundings: of a known issuer's nothing."""
        if known_issuer:
            return BackgroundLimits()
        return BackgroundLimits(self.max_pulled_bps, self.min_lp_locked_bps, self.max_holder_bps, self.min_age_s)


STRICT = TrialLimits(min_lp_locked_bps=8_000, max_holder_bps=2_000)
"""For who wants a token's surroundings to count too: ``dexlane token-check --strict``."""


class Finding(NamedTuple):
    """A flag, its reason in a sentence, and what it means for the verdict; None only informs."""

    flag: str
    reason: str
    means: Literal["unsafe", "unknown"] | None


@dataclass(frozen=True, slots=True)
class SaleSize:
    """Whether so much could be sold; None when it was not seen."""

    amount: int
    ok: bool | None


@dataclass(frozen=True, slots=True)
class TokenVerdict:
    """The judgement of a trial in one pool. Taxes in bps are the worst that were measured, None when none was."""

    verdict: Verdict
    pool: str | None
    buy_tax_bps: int | None
    sell_tax_bps: int | None
    transfer_tax_bps: int | None
    can_sell: tuple[SaleSize, ...]
    findings: tuple[Finding, ...]
    background: Background = field(default_factory=Background)

    @property
    def flags(self) -> tuple[str, ...]:
        """Every flag once, sorted."""
        return tuple(sorted({finding.flag for finding in self.findings}))


def judge(trial: TokenTrial, limits: TrialLimits, *, known_issuer: bool = False) -> TokenVerdict:
    """Judge a trial. ``known_issuer``: its switches are in the hands of an issuer on the allow list."""
    findings = tuple(_findings(trial, limits, known_issuer=known_issuer))
    meanings = {finding.means for finding in findings}
    verdict: Verdict = "unsafe" if "unsafe" in meanings else "unknown" if "unknown" in meanings else "safe"
    return TokenVerdict(
        verdict=verdict,
        pool=trial.pool,
        buy_tax_bps=_worst(_tax_bps(trade) for trade in trial.buys if trade.ok),
        sell_tax_bps=_worst(_tax_bps(trade) for trade in trial.sales if trade.ok),
        transfer_tax_bps=_worst(_move_tax_bps(move) for move in trial.moves if move.ok),
        can_sell=_can_sell(trial),
        findings=findings,
        background=trial.background or Background(),
    )


_REASONS_KEPT = 5


def trial_facts(token: str, verdict: TokenVerdict) -> TrialFacts:
    """The judgement as evidence for opportunities, with the reasons that decided it."""
    decisive = [finding.reason for finding in verdict.findings if finding.means == verdict.verdict]
    return TrialFacts(
        address=token,
        verdict=verdict.verdict,
        pool=verdict.pool,
        buy_tax_bps=verdict.buy_tax_bps,
        sell_tax_bps=verdict.sell_tax_bps,
        transfer_tax_bps=verdict.transfer_tax_bps,
        age_s=verdict.background.age_s,
        lp_locked_bps=verdict.background.locked_bps(),
        top_holder_bps=verdict.background.top_holder_bps(),
        flags=verdict.flags,
        reasons=tuple(decisive[:_REASONS_KEPT]),
    )


def _findings(trial: TokenTrial, limits: TrialLimits, *, known_issuer: bool) -> Iterator[Finding]:
    if not trial.is_token:
        reason = next(iter(trial.missing), "no contract speaks as a token does")
        yield Finding("no_token", reason, "unsafe")
        return
    yield from (Finding("not_checked", sentence, "unknown") for sentence in trial.missing)
    if trial.missing and not trial.method:
        return
    yield from _about_itself(trial)
    yield from _trading(trial, limits)
    yield from _taxes(trial, limits)
    yield from _balances(trial, limits)
    yield from _gas(trial, limits)
    if trial.method == "eth_call":
        sentence = "the node has no eth_simulateV1: sales of accounts without code and in later blocks were not seen"
        yield Finding("not_checked", sentence, "unknown")
    if trial.switches is None:
        yield Finding("not_checked", "nobody looked for what its owner can switch", "unknown")
    yield from _switches(trial, limits, known_issuer=known_issuer)
    yield from (Finding(*remark) for remark in remarks(trial.background, limits.background(known_issuer=known_issuer)))


def _about_itself(trial: TokenTrial) -> Iterator[Finding]:
    if trial.decimals == {None} or not trial.decimals:
        yield Finding("no_decimals", "decimals() gives no usable answer", "unknown")
    elif len(trial.decimals) > 1:
        told = ", ".join(sorted("none" if each is None else str(each) for each in trial.decimals))
        yield Finding("lying_decimals", f"decimals() does not always say the same: {told}", "unsafe")
    for lie in trial.lies:
        yield Finding("lying_balance", lie, "unsafe")
    for spender in trial.foreign_allowances:
        yield Finding("approve_trap", f"approving the router lets {spender} take tokens too", "unsafe")
    if trial.strange_proxy:
        yield Finding("proxy", "its code lies elsewhere, and no standard says who may exchange it", "unknown")


def _trading(trial: TokenTrial, limits: TrialLimits) -> Iterator[Finding]:
    bought = [trade for trade in trial.buys if trade.ok and trade.received > 0]
    if not bought:
        reason = next((trade.reason for trade in trial.buys if trade.reason), "nothing was tried")
        yield Finding("cannot_buy", f"no purchase succeeded: {reason}", "unknown")
        return
    refused = next((trade for trade in trial.buys if not trade.ok and trade.kind is Kind.SIZE), None)
    if refused is not None:
        yield Finding("buy_limit", f"a purchase for {refused.amount} is refused: {refused.reason}", None)
    if not any(trade.kind is Kind.SIZE for trade in trial.sales):
        yield Finding("not_checked", "no sale was tried", "unknown")
    if not any(trade.kind is Kind.FAR for trade in trial.sales):
        yield Finding("not_checked", "no sale in far blocks was tried", "unknown")
    yield from _sized_sales(trial, limits)
    yield from _other_sales(trial)
    for move in trial.moves:
        if not move.ok:
            yield Finding("no_transfer", f"a transfer between two accounts fails: {move.reason}", "unsafe")


def _sized_sales(trial: TokenTrial, limits: TrialLimits) -> Iterator[Finding]:
    """A sale that fails one block after the purchase is a cool-down when it succeeds later, else a trap."""
    first = [trade for trade in trial.sales if trade.kind is Kind.SIZE]
    retried = {trade.trader: trade for trade in trial.sales if trade.kind is Kind.RETRY}
    failed = [trade for trade in first if not trade.ok]
    for_good = [trade for trade in failed if trade.trader not in retried or not retried[trade.trader].ok]
    if for_good and len(for_good) == len(first):
        yield Finding("cannot_sell", f"no sale of any size succeeds: {for_good[0].reason}", "unsafe")
    elif for_good:
        least = min(trade.amount for trade in for_good)
        yield Finding("sell_limit", f"a sale of {least} fails: {for_good[0].reason}", "unsafe")
    elif failed:
        waited = max(retried[trade.trader].waited_s for trade in failed)
        means: Literal["unsafe"] | None = "unsafe" if waited > limits.max_cool_down_s else None
        yield Finding("cool_down", f"sales need a pause of at most {waited} s after the purchase", means)


_MEANING_OF_KINDS: tuple[tuple[Kind, str, str], ...] = (
    (Kind.WAIT, "sell_stops", "a holder who waited {waited} s cannot sell any more"),
    (Kind.FAR, "sell_stops", "in far blocks nobody can sell any more"),
    (Kind.HALF, "sell_limit", "half of a holding cannot be sold"),
    (Kind.REST, "sell_once", "after a first sale the rest cannot be sold"),
    (Kind.AGAIN, "sell_once", "who bought a second time cannot sell"),
    (Kind.GIVEN, "gift_trap", "tokens that were given to somebody cannot be sold"),
    (Kind.PULLED, "gift_trap", "tokens that an allowance moved cannot be sold"),
    (Kind.LATE, "first_buyers", "after many others have bought, a buyer cannot sell"),
)


def _other_sales(trial: TokenTrial) -> Iterator[Finding]:
    for kind, flag, sentence in _MEANING_OF_KINDS:
        failed = next((trade for trade in trial.sales if trade.kind is kind and not trade.ok), None)
        if failed is not None:
            reason = f"{sentence.format(waited=failed.waited_s)}: {failed.reason}"
            yield Finding(flag, reason, "unsafe")


def _taxes(trial: TokenTrial, limits: TrialLimits) -> Iterator[Finding]:
    worst = (
        ("buy_tax", "purchase", _worst(_tax_bps(trade) for trade in trial.buys if trade.ok)),
        ("sell_tax", "sale", _worst(_tax_bps(trade) for trade in trial.sales if trade.ok)),
        ("transfer_tax", "transfer", _worst(_move_tax_bps(move) for move in trial.moves if move.ok)),
    )
    for flag, name, bps in worst:
        if bps:
            means: Literal["unsafe"] | None = "unsafe" if bps > limits.max_tax_bps else None
            yield Finding(flag, f"a {name} loses up to {bps} bps to the token", means)
        elif bps is None and trial.method == "eth_simulateV1":
            yield Finding("not_checked", f"the tax of a {name} was not measured", "unknown")


def _balances(trial: TokenTrial, limits: TrialLimits) -> Iterator[Finding]:
    for trade in (*trial.buys, *trial.sales):
        if trade.made * BPS_DENOMINATOR > trial.supply * limits.max_made_bps:
            yield Finding("hidden_mint", f"a trade brings {trade.made} new tokens into being", "unsafe")
            break
    for loss in trial.losses:
        lost = loss.before - loss.after
        if lost > _DUST and lost * BPS_DENOMINATOR > loss.before * limits.max_loss_bps:
            reason = f"{loss.holder} did nothing for {loss.within_s} s and holds {loss.after} instead of {loss.before}"
            yield Finding("balance_leak", reason, "unsafe")
            break


_DUST = 2
"""Units that rounding may take."""


def _gas(trial: TokenTrial, limits: TrialLimits) -> Iterator[Finding]:
    gas = max((trade.gas for trade in (*trial.buys, *trial.sales) if trade.ok), default=0)
    gas = max([gas, *(move.gas for move in trial.moves if move.ok)])
    if gas > limits.max_trade_gas:
        yield Finding("gas_heavy", f"one trade uses {gas} gas", "unsafe")


def _switches(trial: TokenTrial, limits: TrialLimits, *, known_issuer: bool) -> Iterator[Finding]:
    """Of everything that one caller can do with one function, one finding for each flag."""
    told: set[tuple[str, str | None, str]] = set()
    for switch in trial.switches or ():
        for finding in _switch(trial, switch, limits, known_issuer=known_issuer):
            key = (finding.flag, switch.caller, switch.call.partition("(")[0])
            if key not in told:
                told.add(key)
                yield finding


def _switch(trial: TokenTrial, switch: Switch, limits: TrialLimits, *, known_issuer: bool) -> Iterator[Finding]:
    who = "anybody" if switch.caller is None else switch.caller
    delayed = switch.caller is not None and switch.delay_s is not None and switch.delay_s >= limits.min_delay_s
    tolerated = switch.caller is not None and (known_issuer or delayed)
    note = f"; a timelock delays it by {switch.delay_s} s" if delayed else ""
    for flag, effect in _effects(trial, switch, limits):
        yield Finding(flag, f"{who} can call {switch.call}: {effect}{note}", None if tolerated else "unsafe")


def _effects(trial: TokenTrial, switch: Switch, limits: TrialLimits) -> Iterator[tuple[str, str]]:
    if switch.upgrade:
        yield "proxy", "its code is exchanged"
        return
    if not switch.named_sells and switch.other_sells:
        yield "blacklist", "a chosen holder cannot sell any more"
    elif not switch.named_sells or not switch.other_sells:
        yield "pausable", "holders cannot sell any more"
    elif max(switch.named_tax_bps, switch.other_tax_bps) > limits.max_tax_bps:
        tax = max(switch.named_tax_bps, switch.other_tax_bps)
        yield "fee_setter", f"a sale loses {tax} bps"
    if switch.made * BPS_DENOMINATOR > trial.supply * limits.max_switch_made_bps:
        yield "hidden_mint", f"{switch.made} new tokens come into being"
    if switch.taken > _DUST:
        yield "balance_leak", f"{switch.taken} tokens of others are taken"


def _worst(taxes: Iterable[int | None]) -> int | None:
    known = [tax for tax in taxes if tax is not None]
    return max(known) if known else None


def _tax_bps(trade: Trade) -> int | None:
    """What did not come back, in bps of what was traded; None for amounts too small for a basis point.

    A purchase: of what the pool paid out. A sale: of what reached the pool. That part follows from the constant product
    (Uniswap V2 white paper, 3.1) without knowing the pool's fee: an input is proportional to out / (reserve - out).
    """
    expected, received, reserve = trade.expected, trade.received, trade.reserve_out
    if expected < BPS_DENOMINATOR or expected >= reserve:
        return None
    if received >= expected:
        return 0
    reached = BPS_DENOMINATOR * received * (reserve - expected) // (expected * (reserve - received))
    share = BPS_DENOMINATOR * received // expected if trade.buys else reached
    return BPS_DENOMINATOR - share


def _move_tax_bps(move: Move) -> int | None:
    if move.sent < BPS_DENOMINATOR:
        return None
    return max(0, BPS_DENOMINATOR - BPS_DENOMINATOR * move.arrived // max(move.sent, move.left))


def _can_sell(trial: TokenTrial) -> tuple[SaleSize, ...]:
    """Of each size the best answer: the first attempt or the one after a pause; None where nothing was bought."""
    found: dict[str, tuple[int, bool | None]] = {
        trade.trader: (trade.expected, None) for trade in trial.buys if trade.kind is Kind.SIZE
    }
    for trade in trial.sales:
        if trade.kind in {Kind.SIZE, Kind.RETRY}:
            amount, ok = found.get(trade.trader, (trade.amount, None))
            found[trade.trader] = (amount if ok is not None else trade.amount, bool(ok) or trade.ok)
    return tuple(SaleSize(amount, ok) for amount, ok in sorted(found.values(), key=lambda each: each[0]))
