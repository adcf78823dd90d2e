"""The trial as evidence that can be told and looked at again: block, method and raw values of everything."""

from __future__ import annotations

from collections.abc import Iterator

from dexlane.chain.token_check.subject import Subject
from dexlane.domain.risk.token_background import SOON_S, Background, Holding
from dexlane.domain.risk.token_trial import Observation, Switch, TokenTrial, Trade

CALLED, READ = "eth_call", "eth_getStorageAt"
MAX_SWITCHES_TOLD, MAX_HOLDERS_TOLD = 60, 10


def observations(subject: Subject, trial: TokenTrial) -> tuple[Observation, ...]:
    """Everything that the verdict rests on."""
    return tuple(
        Observation(what=what, block=trial.block, method=method, raw=raw) for what, method, raw in _told(subject, trial)
    )


def _told(subject: Subject, trial: TokenTrial) -> Iterator[tuple[str, str, dict[str, str]]]:
    pool = subject.pool
    yield "block", "eth_getBlockByNumber", {"number": str(subject.head.number), "hash": subject.head.hash}
    yield (
        "pool",
        CALLED,
        {
            "router": pool.venue.allowed,
            "pair": pool.pair,
            "quote": pool.quote,
            "reserve_quote": str(pool.reserve_quote),
            "reserve_token": str(pool.reserve_token),
        },
    )
    yield "supply", CALLED, {"total": str(subject.supply), "decimals": str(subject.decimals)}
    callers = {f"caller_{at}": who for at, who in enumerate(subject.callers)}
    yield "who may have rights", READ, callers | {"contracts": ",".join(sorted(subject.contracts))}
    for trade in (*trial.buys, *trial.sales):
        yield ("purchase" if trade.buys else "sale", trial.method, _trade(trade))
    for move in trial.moves:
        raw = {"sent": move.sent, "left": move.left, "arrived": move.arrived, "gas": move.gas}
        yield f"transfer {move.kind}", trial.method, {name: str(value) for name, value in raw.items()} | _outcome(move)
    for loss in trial.losses:
        lost = {"before": str(loss.before), "after": str(loss.after), "within_s": str(loss.within_s)}
        yield "balance", trial.method, {"holder": loss.holder, **lost}
    for switch in (trial.switches or ())[:MAX_SWITCHES_TOLD]:
        yield "switch", trial.method, _switch(switch)
    if trial.background is not None:
        yield from _background(trial.background)


def _background(found: Background) -> Iterator[tuple[str, str, dict[str, str]]]:
    if found.birth is not None:
        yield (
            "age",
            "eth_getCode",
            {
                "block": str(found.birth.block),
                "seconds": str(found.age_s),
                "exact": str(found.birth.exact).lower(),
            },
        )
    for what, shares in (("liquidity", found.liquidity), ("holders", found.holders)):
        if shares is None:
            continue
        numbers = {"total": shares.total, "in_pools": shares.in_pools, "from_block": shares.from_block}
        largest = shares.largest_bps(SOON_S)
        raw = {name: str(number) for name, number in numbers.items()}
        raw |= {"kept_bps": str(shares.kept_bps(SOON_S)), "largest_bps": str(largest)}
        yield what, "eth_getLogs", raw
        for holding in shares.holdings[:MAX_HOLDERS_TOLD]:
            yield f"holder of {what}", CALLED, _holding(holding)
    if found.past is not None:
        past = found.past
        numbers = {"now": past.now, "most": past.most, "most_block": past.most_block, "from_block": past.from_block}
        yield "liquidity over time", "eth_getLogs", {name: str(number) for name, number in numbers.items()}
    for sentence in found.missing:
        yield "not seen", "none", {"reason": sentence}


def _holding(holding: Holding) -> dict[str, str]:
    releases = ", ".join(f"{amount} after {after_s} s" for after_s, amount in holding.releases)
    return {
        "holder": holding.holder,
        "amount": str(holding.amount),
        "keeper": holding.keeper.value,
        "releases": releases,
        "note": holding.note,
    }


def _trade(trade: Trade) -> dict[str, str]:
    numbers = {
        "amount": trade.amount,
        "expected": trade.expected,
        "received": trade.received,
        "reserve_out": trade.reserve_out,
        "waited_s": trade.waited_s,
        "made": trade.made,
        "gas": trade.gas,
    }
    raw = {name: str(value) for name, value in numbers.items()}
    return {"kind": trade.kind.value, "trader": trade.trader, **raw, **_outcome(trade)}


def _outcome(done: object) -> dict[str, str]:
    ok, reason = bool(getattr(done, "ok", False)), str(getattr(done, "reason", ""))
    return {"outcome": "succeeded" if ok else f"failed: {reason}"}


def _switch(switch: Switch) -> dict[str, str]:
    return {
        "call": switch.call,
        "caller": switch.caller or "anybody",
        "delay_s": "none" if switch.delay_s is None else str(switch.delay_s),
        "named_sells": str(switch.named_sells).lower(),
        "other_sells": str(switch.other_sells).lower(),
        "named_tax_bps": str(switch.named_tax_bps),
        "other_tax_bps": str(switch.other_tax_bps),
        "made": str(switch.made),
        "taken": str(switch.taken),
        "upgrade": str(switch.upgrade).lower(),
    }
