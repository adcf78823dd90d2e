"""What has to be known about a token before anything is tried: its block, its pool, and who might have a say in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from dexlane.chain.keccak import keccak256
from dexlane.chain.link import RpcError
from dexlane.chain.token_check.asking import (
    Head,
    Node,
    NoSubjectError,
    address_of,
    bytes_of,
    number_of,
    timestamp_of,
    views,
    word_of,
)
from dexlane.chain.token_check.pools import Traded, Where, find_pool
from dexlane.chain.token_check.probe import NOBODY, call, selector
from dexlane.chain.token_check.venues import Pool
from dexlane.chain.token_facts import is_execution_failure
from dexlane.domain.risk.bytecode.instructions import minimal_proxy_target
from dexlane.domain.risk.bytecode.proxies import BEACON_SLOT, IMPLEMENTATION_SLOTS

MAX_SLOTS = 24
MAX_AUTHORITIES = 5
MAX_BIRTHS = 20
LOG_BLOCKS, NEAR_BLOCKS = 5_000, 100
ADMIN_SLOT = "0xb53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103"
"""EIP-1967, admin: keccak256("eip1967.proxy.admin") - 1."""
ZEPPELIN_ADMIN_SLOT = "0x10d6a54a4754c8869d6886b5f5d7fbfa5b4522237ea5c60d11bc4e7a1ff9390b"
"""OpenZeppelin before EIP-1967, which USDC uses: keccak256("org.zeppelinos.proxy.admin")."""
_ADMIN_SLOTS = (ADMIN_SLOT, ZEPPELIN_ADMIN_SLOT)
_PROXY_SLOTS = (*IMPLEMENTATION_SLOTS, *_ADMIN_SLOTS)
_OWN_FUNCTIONS = frozenset(
    selector(signature)
    for signature in (
        "totalSupply()", "balanceOf(address)", "transfer(address,uint256)", "transferFrom(address,address,uint256)",
    )
)  # fmt: skip
_OWNERSHIP = keccak256(b"OwnershipTransferred(address,address)")
_ROLE = keccak256(b"RoleGranted(bytes32,address,address)")
_TRANSFER = keccak256(b"Transfer(address,address,uint256)")
_ADDRESS_MASK = (1 << 160) - 1
_NO_FUNCTIONS = frozenset(bytes.fromhex(each) for each in ("ffffffff", "4e487b71", "08c379a0"))
"""A mask, and the selectors of ``Panic`` and ``Error``."""
_SHL, _DELEGATECALL = 0x1B, 0xF4
_DELEGATED = bytes.fromhex("ef0100")
"""How the code of an account begins that hands its calls on (EIP-7702): a key still owns it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A token with a pool. ``callers`` may have rights; ``targets`` are the contracts whose functions rule it."""

    token: str
    head: Head
    pool: Pool
    supply: int
    decimals: int | None
    callers: tuple[str, ...]
    targets: Mapping[str, bytes]
    contracts: frozenset[str]
    """Which of the callers have code."""
    strange_proxy: bool
    missing: tuple[str, ...] = ()
    """What could not be looked at, in sentences."""
    block_ms: int | None = None
    """The time between the last blocks, rather too short than too long; None where the node does not tell it."""


async def read_subject(node: Node, token: str, where: Where, head: Head) -> Subject:
    """Ask for everything. ``NoSubjectError`` without code or pool, ``Transient`` without an answer."""
    at = hex(head.number)
    first, logged, traded = await asyncio.gather(
        _looks(node, token, at), _logged(node, token, head), find_pool(node, token, where, at), return_exceptions=True
    )
    for told in (first, traded, logged):
        if isinstance(told, BaseException):
            raise told
    return await _subject(node, token, head, first, (traded, logged))


async def _looks(node: Node, token: str, at: str) -> list[Any]:
    """Code, what it says of itself, slots. Raises for an account that is no token."""
    first = await node.batch(
        [
            ("eth_getCode", (token, at)),
            *views(at, *((token, call(name)) for name in ("totalSupply()", "decimals()", "owner()", "getOwner()"))),
            *(("eth_getStorageAt", (token, slot, at)) for slot in _PROXY_SLOTS),
            *(("eth_getStorageAt", (token, hex(slot), at)) for slot in range(MAX_SLOTS)),
        ]
    )
    for answer in first:
        if isinstance(answer, RpcError) and not is_execution_failure(answer):
            raise answer
    if not bytes_of(first[0]):
        raise NoSubjectError("there is no contract at this address", is_token=False)
    if number_of(first[1]) is None:
        raise NoSubjectError("totalSupply() gives no number: the contract is no token", is_token=False)
    return first


async def _subject(node: Node, token: str, head: Head, first: Sequence[Any], found: tuple[Traded, Logged]) -> Subject:
    traded, logged = found
    code, rest = bytes_of(first[0]), first[5:]
    plain = [each for answer in rest[len(_PROXY_SLOTS) :] for each in _packed(answer)]
    direct, beacon, admins = _proxied(code, rest[: len(_PROXY_SLOTS)])
    behind = _distinct([*direct, beacon], set())
    named = [address_of(first[3]), address_of(first[4]), *admins, *logged.titled, *plain, *constants(code)]
    excluded: set[str | None] = {token, traded.pool.pair, traded.pool.quote, NOBODY, *traded.contracts, *behind}
    subject = Subject(
        token=token,
        head=head,
        pool=traded.pool,
        supply=number_of(first[1]) or 0,
        decimals=_places(first[2]),
        callers=tuple(_distinct([*named, *logged.born], excluded)),
        targets={token: code},
        contracts=frozenset(),
        strange_proxy=is_strange_proxy(code, next(iter(direct), None)),
        block_ms=logged.block_ms,
    )
    subject = await _with_codes(node, subject, behind)
    return replace(subject, missing=tuple(_missing(subject, len(_distinct(named, excluded)), len(behind), logged)))


def _proxied(code: bytes, slots: Sequence[Any]) -> tuple[list[str], str | None, list[str | None]]:
    """The contracts whose code a proxy runs, the beacon that names one, and the admins of proxies."""
    found = dict(zip(_PROXY_SLOTS, map(_slot, slots), strict=True))
    direct = [found[slot] for slot in IMPLEMENTATION_SLOTS if slot != BEACON_SLOT]
    admins = [found[slot] for slot in _ADMIN_SLOTS]
    return _distinct([*direct, minimal_proxy_target(code)], set()), found[BEACON_SLOT], admins


def _missing(subject: Subject, named: int, behind: int, logged: Logged) -> Iterator[str]:
    """What keeps somebody's rights, or the code that counts, out of sight. ``named``: accounts beyond those that were
    only given first tokens."""
    if named > MAX_AUTHORITIES:
        yield f"{named - MAX_AUTHORITIES} accounts that may have rights were not tried: there are too many"
    if behind > 1:
        yield f"{behind} contracts are named by the slots of proxies: which one's code runs is not known"
    if logged.refused:
        yield "the node does not tell the events of owners and roles"
    elif not logged.roles and subject.head.number > LOG_BLOCKS and any(map(_has_roles, subject.targets.values())):
        yield f"it has roles, and none was granted in the last {LOG_BLOCKS} blocks: who has them is not known"


def _has_roles(code: bytes) -> bool:
    return selector("hasRole(bytes32,address)") in selectors(code)


@dataclass(frozen=True, slots=True)
class Logged:
    """Who appears in events of owners and roles (``titled``), and of first tokens (``born``). ``roles``: one of them
    granted a role; ``refused``: the node did not tell owners and roles. ``block_ms``: the time between its blocks."""

    titled: tuple[str, ...]
    born: tuple[str, ...]
    roles: bool
    refused: bool
    block_ms: int | None


async def _logged(node: Node, token: str, head: Head) -> Logged:
    """Read events of the last blocks, and how fast those came."""
    first = max(0, head.number - LOG_BLOCKS)
    span = {"address": token, "fromBlock": hex(first), "toBlock": hex(head.number)}
    since = (first, max(0, head.number - NEAR_BLOCKS))
    titles, births, *headers = await node.batch(
        [
            ("eth_getLogs", ({**span, "topics": [["0x" + _OWNERSHIP.hex(), "0x" + _ROLE.hex()]]},)),
            ("eth_getLogs", ({**span, "topics": ["0x" + _TRANSFER.hex(), "0x" + "0" * 64]},)),
            *(("eth_getBlockByNumber", (hex(number), False)) for number in since),
        ]
    )
    refused = not isinstance(titles, list)
    told = [] if refused else [list(log.get("topics", ())) for log in titles]
    first_tokens = births[:MAX_BIRTHS] if isinstance(births, list) else []
    return Logged(
        titled=tuple(_people(told)),
        born=tuple(_people([log.get("topics", ()) for log in first_tokens])),
        roles=any(topics and topics[0] == "0x" + _ROLE.hex() for topics in told),
        refused=refused,
        block_ms=_pace(head, dict(zip(since, map(timestamp_of, headers), strict=True))),
    )


def _pace(head: Head, times: Mapping[int, int | None]) -> int | None:
    """The shortest of the mean times between blocks since each of these, in ms: a later moment is never too few blocks
    ahead. None where one of them is not told."""
    known = [
        (head.timestamp_s - at_s) * 1_000 // max(1, head.number - number)
        for number, at_s in times.items()
        if at_s is not None
    ]
    return min(known) if len(known) == len(times) else None


def _people(logs: Sequence[Sequence[str]]) -> list[str]:
    found = (int(topic, 16) for topics in logs for topic in topics[1:])
    return [f"0x{topic:040x}" for topic in found if _like_an_address(topic)]


async def _with_codes(node: Node, subject: Subject, behind: Sequence[str]) -> Subject:
    """With the code of what lies behind a proxy, and told which callers are contracts."""
    at = hex(subject.head.number)
    callers = subject.callers[:MAX_AUTHORITIES]
    answers = await node.batch([("eth_getCode", (address, at)) for address in (*behind, *callers)])
    for answer in answers:
        if isinstance(answer, RpcError):
            raise answer
    targets = dict(subject.targets)
    for address, answer in zip(behind, answers, strict=False):
        targets[address] = bytes_of(answer)
    codes = [bytes_of(answer) for answer in answers[len(behind) :]]
    with_code = {who for who, code in zip(callers, codes, strict=True) if code and not code.startswith(_DELEGATED)}
    return replace(subject, callers=callers, targets=targets, contracts=frozenset(with_code))


def opcodes(code: bytes) -> Iterator[tuple[int, bytes]]:
    """Each instruction and what it pushes."""
    at = 0
    while at < len(code):
        operation = code[at]
        width = operation - 0x5F if 0x60 <= operation <= 0x7F else 0
        yield operation, code[at + 1 : at + 1 + width]
        at += 1 + width


def constants(code: bytes) -> list[str]:
    """Addresses that are written into the code."""
    found = []
    for operation, pushed in opcodes(code):
        value = int.from_bytes(pushed, "big")
        if operation in {0x73, 0x7F} and _like_an_address(value):
            found.append(f"0x{value:040x}")
    return found


@lru_cache(maxsize=64)
def selectors(code: bytes) -> tuple[bytes, ...]:
    """Four-byte constants of the code: all its functions, and a few that are none.

    Compilers write a constant with zeros at its end as a shorter one and a shift.
    """
    found = [pushed.rjust(4, b"\0") for operation, pushed in opcodes(code) if operation in {0x61, 0x62, 0x63}]
    found += [
        (int.from_bytes(short, "big") << shift - 224 & 0xFFFFFFFF).to_bytes(4, "big") for short, shift in shifted(code)
    ]
    return tuple(each for each in dict.fromkeys(found) if each[:2] != b"\0\0" and each not in _NO_FUNCTIONS)


def shifted(code: bytes) -> Iterator[tuple[bytes, int]]:
    """Constants of at most four bytes that are moved to the first four of a word, and by how many bits."""
    before, last = (0, b""), (0, b"")
    for operation, pushed in opcodes(code):
        if operation == _SHL and len(last[1]) == 1 and last[1][0] > 224 and 0 < len(before[1]) <= 4:
            yield before[1], last[1][0]
        before, last = last, (operation, pushed)


@lru_cache(maxsize=64)
def delegates(code: bytes) -> bool:
    """Whether the code can run the code of another contract in its own place."""
    return any(operation == _DELEGATECALL for operation, _ in opcodes(code))


def is_strange_proxy(code: bytes, standard: str | None) -> bool:
    """Whether the code hands calls on to a place that no standard names: delegatecall, without all functions of its own
    that say who has how many tokens and move them. A beacon is no such ``standard``: whoever rules it exchanges the
    code, and it is not asked who that is."""
    return delegates(code) and standard is None and not set(selectors(code)) >= _OWN_FUNCTIONS


def _distinct(found: Sequence[str | None], excluded: set[str | None]) -> list[str]:
    return [each for each in dict.fromkeys(found) if each is not None and each not in excluded]


def _like_an_address(value: int) -> bool:
    """Between 2^96 and 2^160: smaller numbers are amounts, flags and precompiles."""
    return 1 << 96 < value <= _ADDRESS_MASK and value != _ADDRESS_MASK


def _places(answer: Any) -> int | None:
    value = word_of(answer, 0)
    return value if value is not None and value <= 77 else None


def _packed(answer: Any) -> list[str]:
    """The addresses that a slot may hold: alone, or beside a few small values, as Solidity packs them."""
    value = word_of(answer, 0) or 0
    parts = (value,) if value <= _ADDRESS_MASK else (value & _ADDRESS_MASK, value >> 8 & _ADDRESS_MASK)
    return [f"0x{part:040x}" for part in parts if value < 1 << 192 and _like_an_address(part)]


def _slot(answer: Any) -> str | None:
    value = word_of(answer, 0)
    return f"0x{value:040x}" if value is not None and _like_an_address(value) else None
