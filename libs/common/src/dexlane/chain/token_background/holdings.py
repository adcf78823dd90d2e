"""Who holds a token: accounts that its events and its code name, by their balances, and of what kind each is."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dexlane.chain.deployments import deployments
from dexlane.chain.link import RpcError
from dexlane.chain.token_background import locks
from dexlane.chain.token_background.events import Events, account, topic, words
from dexlane.chain.token_background.scout import Scout
from dexlane.chain.token_check.asking import address_of, bytes_of, number_of, views
from dexlane.chain.token_check.probe import call
from dexlane.domain.risk.lp_shares import BURNED, keepers
from dexlane.domain.risk.token_background import Holding, Keeper, Shares

MAX_CANDIDATES = 120
MAX_EXAMINED = 2
"""Contracts whose withdrawals are tried: those that hold most."""
_DELEGATED = bytes.fromhex("ef0100")
_WORTH_BPS = 100
"""Contracts that hold less than one per cent are not examined."""
_NOBODY = "0x" + "0" * 40


@dataclass(frozen=True, slots=True)
class Held:
    """What is asked about: a token, how much of it there is, its transfers, accounts besides those in them, the tokens
    whose pools with it are no holders, and a pool that is none."""

    token: str
    total: int
    transfers: Events
    named: Sequence[str] = ()
    quotes: frozenset[str] = frozenset()
    pool: str | None = None


async def read_shares(scout: Scout, held: Held) -> Shares:
    """The holders. ``RpcError`` when the node refuses."""
    received = _received(held.transfers)
    by_amount = sorted(received, key=lambda who: (-received[who], who))
    candidates = list(dict.fromkeys([*BURNED, *held.named, *by_amount]))[:MAX_CANDIDATES]
    balances = await scout.balances(held.token, candidates)
    owned = {who: amount for who, amount in balances.items() if amount > 0}
    codes = await _codes(scout, list(owned))
    pools = await _pools(scout, held, [who for who, code in codes.items() if code])
    kinds = {who: _kind(who, code, keepers(scout.chain_id)) for who, code in codes.items()}
    holdings = [
        Holding(holder=who, amount=amount, keeper=kinds[who], note=_NOTES.get(kinds[who], ""))
        for who, amount in sorted(owned.items(), key=lambda each: (-each[1], each[0]))
        if who not in pools
    ]
    return Shares(
        total=held.total,
        in_pools=sum(owned.get(pool, 0) for pool in pools),
        holdings=tuple(await _examined(scout, held, holdings)),
        from_block=held.transfers.from_block,
    )


_NOTES = {Keeper.BURNED: "an address that nobody has a key to", Keeper.KEY: "an account without code"}


def _received(transfers: Events) -> dict[str, int]:
    """What each account was sent in the window."""
    found: dict[str, int] = {}
    for log in transfers.logs:
        who, data = account(topic(log, 2)), words(log)
        found[who] = found.get(who, 0) + (data[0] if data else 0)
    found.pop(_NOBODY, None)
    return found


async def _codes(scout: Scout, accounts: Sequence[str]) -> dict[str, bytes]:
    answers = await scout.node.batch([("eth_getCode", (who, hex(scout.head.number))) for who in accounts])
    for answer in answers:
        if isinstance(answer, RpcError):
            raise answer
    return {who: bytes_of(answer) for who, answer in zip(accounts, answers, strict=True)}


def _kind(who: str, code: bytes, known: Collection[str]) -> Keeper:
    if who in BURNED:
        return Keeper.BURNED
    if who in known:
        return Keeper.LOCKER
    return Keeper.CONTRACT if code and not code.startswith(_DELEGATED) else Keeper.KEY


async def _pools(scout: Scout, held: Held, contracts: Sequence[str]) -> frozenset[str]:
    """Those of the contracts that a known factory names for the token and a quote, and the pool that is traded.

    In a pool with any other token, and in a contract of many pools, somebody may lay a part of the supply aside.
    """
    at, exchanges = hex(scout.head.number), deployments().exchanges
    factories = {exchange.factory for exchange in exchanges if exchange.chain_id == scout.chain_id}
    names = ("token0()", "token1()", "factory()", "fee()")
    told = await scout.node.batch(views(at, *((who, call(name)) for who in contracts for name in names)))
    asked: list[tuple[str, tuple[str, bytes]]] = []
    for index, who in enumerate(contracts):
        first, second, factory, fee = told[4 * index : 4 * index + 4]
        pair, made_by = (address_of(first), address_of(second)), address_of(factory)
        other = pair[1] if pair[0] == held.token else pair[0] if pair[1] == held.token else None
        if other in held.quotes and made_by in factories:
            pips = number_of(fee)
            name = "getPair(address,address)" if pips is None else "getPool(address,address,uint24)"
            arguments: list[int | str] = [str(pair[0]), str(pair[1])]
            arguments += [] if pips is None else [pips]
            asked.append((who, (str(made_by), call(name, *arguments))))
    answers = await scout.node.batch(views(at, *(question for _, question in asked))) if asked else []
    named = {who for (who, _), answer in zip(asked, answers, strict=True) if address_of(answer) == who}
    return frozenset(named | ({held.pool} if held.pool else set()))


async def _examined(scout: Scout, held: Held, holdings: Sequence[Holding]) -> list[Holding]:
    """With the terms of lockers, and with what the largest contracts let out."""
    senders = _senders(held.transfers)
    large = [each for each in holdings if each.keeper is Keeper.CONTRACT and _is_large(each, held)][:MAX_EXAMINED]
    tasks = [locks.examine(scout, held.token, each, senders.get(each.holder, ())) for each in large]
    tasks += [locks.read_terms(scout, held.token, each) for each in holdings if each.keeper is Keeper.LOCKER]
    better: Mapping[str, Holding] = {each.holder: each for each in await asyncio.gather(*tasks)}
    return [better.get(each.holder, each) for each in holdings]


def _is_large(holding: Holding, held: Held) -> bool:
    return holding.amount * 10_000 >= held.total * _WORTH_BPS


def _senders(transfers: Events) -> dict[str, tuple[str, ...]]:
    """Who sent to each account: a depositor may be the one who withdraws."""
    found: dict[str, dict[str, None]] = {}
    for log in transfers.logs:
        found.setdefault(account(topic(log, 2)), {})[account(topic(log, 1))] = None
    return {who: tuple(senders)[:3] for who, senders in found.items()}
