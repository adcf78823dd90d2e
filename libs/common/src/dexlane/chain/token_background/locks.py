"""What a contract that holds tokens lets out, and when: everything that may be a withdrawal is tried, now and later.

What a contract says of itself is no evidence. It is a lock where a call that takes tokens out is refused at one time
and succeeds at a later one; a contract of which nothing ever takes anything out may only be hard to ask. What the one
locker says whose code is known counts, because its code keeps to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dexlane.chain.link import RpcError
from dexlane.chain.token_background.scout import Look, Scout
from dexlane.chain.token_check.asking import address_of, bytes_of, number_of, views, word_of
from dexlane.chain.token_check.probe import Step, arguments, call, selector
from dexlane.chain.token_check.subject import constants, selectors
from dexlane.domain.risk.token_background import Holding, Keeper, Release

DAY_S = 86_400
TIMES_S = (0, DAY_S, 7 * DAY_S, 30 * DAY_S, 90 * DAY_S, 365 * DAY_S, 4 * 365 * DAY_S)
"""Seconds after the block that is stood on at which withdrawals are tried."""
_LAST_S = TIMES_S[-1]
_MOST_FUNCTIONS, _MOST_CALLERS, _SLOTS = 40, 4, 6
_TRY_GAS = 400_000
_MOST_LOCKS = 40
_BENEFICIARIES = ("owner()", "beneficiary()", "admin()", "recipient()")


@dataclass(frozen=True, slots=True)
class _Vault:
    """A contract that holds something: what it can be asked, and in whose name."""

    address: str
    amount: int
    functions: tuple[bytes, ...]
    callers: tuple[str, ...]


async def examine(scout: Scout, token: str, holding: Holding, depositors: Sequence[str]) -> Holding:
    """The holding of a contract with what can be taken out of it, and when. Nothing is known where the node refuses."""
    try:
        vault = await _vault(scout, holding, depositors)
        found = await _releases(scout, token, vault)
    except RpcError as error:
        return replace(holding, note=f"withdrawals could not be tried: {error.message[:80]}")
    amounts = dict(found)
    if amounts.get(_LAST_S, 0) * 100 < holding.amount:
        return replace(holding, note="nothing was seen that takes anything out, so nothing shows a lock")
    if amounts.get(0, 0) >= holding.amount:
        return replace(holding, note="it can be withdrawn at once")
    return replace(holding, keeper=Keeper.LOCK, releases=found, note="withdrawals were tried at several times")


async def _vault(scout: Scout, holding: Holding, depositors: Sequence[str]) -> _Vault:
    at, who = hex(scout.head.number), holding.holder
    answers = await scout.node.batch(
        [
            ("eth_getCode", (who, at)),
            *(("eth_getStorageAt", (who, hex(slot), at)) for slot in range(_SLOTS)),
            *views(at, *((who, call(name)) for name in _BENEFICIARIES)),
        ]
    )
    if isinstance(answers[0], RpcError):
        raise answers[0]
    code = bytes_of(answers[0])
    told = [address_of(answer) for answer in answers[1:]]
    named = [*told[_SLOTS:], *depositors, *told[:_SLOTS], *constants(code)]
    people = [each for each in dict.fromkeys(named) if each and each != who and int(each, 16) > 1 << 96]
    return _Vault(who, holding.amount, selectors(code)[:_MOST_FUNCTIONS], tuple(people[:_MOST_CALLERS]))


async def _releases(scout: Scout, token: str, vault: _Vault) -> tuple[Release, ...]:
    """What some call takes out at each time: all calls now and last, then those that took anything at the others."""
    tried = tuple(_calls(token, vault))
    if not tried:
        return ()
    first, last = await scout.look(*(_look(token, vault, tried, at) for at in (0, _LAST_S)))
    taken = [_taken(vault, found.branches) for found in (first, last)]
    useful = tuple(step for step, *amounts in zip(tried, *taken, strict=True) if max(amounts) > 0)
    if not useful:
        return ()
    between = await scout.look(*(_look(token, vault, useful, at) for at in TIMES_S[1:-1]))
    most = [max(taken[0]), *(max(_taken(vault, found.branches)) for found in between), max(taken[1])]
    return tuple(Release(at, amount) for at, amount in zip(TIMES_S, most, strict=True))


def _look(token: str, vault: _Vault, tried: tuple[Step, ...], ahead_s: int) -> Look:
    held = Step(token, call("balanceOf(address)", vault.address))
    return Look(tried=tried, suffix=(held,), actors=vault.callers, ahead_s=ahead_s)


def _taken(vault: _Vault, branches: Sequence[Sequence[object] | None]) -> list[int]:
    """How much each call took out; zero where it failed."""
    left = [None if branch is None else getattr(branch[-1], "value", None) for branch in branches]
    return [0 if amount is None else max(0, vault.amount - amount) for amount in left]


def _calls(token: str, vault: _Vault) -> Iterator[Step]:
    """Every function with the arguments that withdrawals take, by everybody who may withdraw."""
    for caller in vault.callers:
        shapes: tuple[tuple[int | str, ...], ...] = (
            (token, caller, vault.amount),
            (token, vault.amount, 0),
            (vault.amount, 0, 0),
            (caller, vault.amount, 0),
            (0, 0, 0),
            (1, vault.amount, 0),
        )
        for function in vault.functions:
            for words in shapes:
                data = function + arguments(*words)
                yield Step(vault.address, data, caller, gas=_TRY_GAS, changing=True)


_COUNT = selector("getNumLocksForToken(address)")
_LOCK = selector("tokenLocks(address,uint256)")
UNCX = frozenset({"0x663a5c229c09b049e36dcc11a9b0d4a8eb9db214"})
"""``UniswapV2Locker`` of UNCX on Ethereum: it tells each lock of a pool, with its amount and the date it ends at."""


async def read_terms(scout: Scout, token: str, holding: Holding) -> Holding:
    """The holding of a known locker with its dates, where it tells them."""
    if holding.holder not in UNCX:
        return replace(holding, note="its terms are not read")
    at = hex(scout.head.number)
    word = arguments(token)
    [count] = await scout.node.batch(views(at, (holding.holder, _COUNT + word)))
    number = number_of(count)
    if number is None or number > _MOST_LOCKS:
        return replace(holding, note="it does not tell its locks, or too many")
    asked = ((holding.holder, _LOCK + word + index.to_bytes(32, "big")) for index in range(number))
    locks = [(word_of(told, 1), word_of(told, 3)) for told in await scout.node.batch(views(at, *asked))]
    dated = [(amount, ends) for amount, ends in locks if amount is not None and ends is not None]
    if len(dated) < number or sum(amount for amount, _ in dated) > holding.amount:
        return replace(holding, note="what it tells of its locks does not add up")
    now, free = scout.head.timestamp_s, holding.amount - sum(amount for amount, _ in dated)
    releases = tuple(
        Release(at_s, free + sum(amount for amount, ends in dated if ends <= now + at_s)) for at_s in TIMES_S
    )
    return replace(holding, releases=releases, note=f"{number} locks, as it tells them")
