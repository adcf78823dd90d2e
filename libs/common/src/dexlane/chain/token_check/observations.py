"""The trial as evidence that can be told and looked at again: block, method and raw values of everything."""

from __future__ import annotations

from collections.abc import Iterator

from dexlane.chain.token_check.subject import Subject
from dexlane.domain.risk.token_trial import Observation, Switch, TokenTrial, Trade

CALLED, READ = "eth_call", "eth_getStorageAt"
MAX_SWITCHES_TOLD = 60


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
