"""What a privileged caller can put in the way of a transfer, told by the conditions that a transfer asks.

A guard of a transfer is a branch of which one side moves balances and the other cannot (it reverts, or returns without
having moved anything). It is held against the token when what it compares is settable: a mark in a list, a switch, a
limit, a time, or a privileged address together with a switch that decides whether it is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from dexlane.domain.risk.bytecode import ways
from dexlane.domain.risk.bytecode.balances import movements
from dexlane.domain.risk.bytecode.exploration import Graph
from dexlane.domain.risk.bytecode.expressions import MASK, Expression, Place, Word, keys_of, leaves_of, read_by
from dexlane.domain.risk.bytecode.roles import Roles

_EQUALITIES = frozenset({"eq", "sub", "xor"})
_COMPARISONS = frozenset({"lt", "gt", "slt", "sgt"}) | _EQUALITIES
_CLOCKS = frozenset({"timestamp", "number"})
_PERSONS = frozenset({"arg", "caller", "origin"})
_ADDRESS_BITS = 160
_AMOUNTS = frozenset({0x24, 0x44})
"""Where ``transfer`` and ``transferFrom`` have their amount."""
_ARITHMETIC = frozenset({"add", "sub", "mul", "div", "mix"})
_PLAIN = frozenset({"arg", "caller", "origin", "sload", "field", "timestamp", "number", "self"})


class Restriction(StrEnum):
    """The ways to stop a transfer."""

    LISTED = "list"
    UNLISTED = "allow list"
    SWITCH = "switch"
    LIMIT = "limit"
    TIME = "time"
    IDENTITY = "identity"
    FOREIGN = "foreign"


class Limit(NamedTuple):
    """A restriction, and the place in storage that decides about it; None when it is written in the code."""

    kind: Restriction
    place: Place | None


def limits_of(graph: Graph, roles: Roles) -> frozenset[Limit]:
    """Every restriction that some caller can set on this transfer function."""
    marked = frozenset(move.node for move in movements(graph, roles))
    return frozenset(limit for guard in ways.guards(graph, marked) for limit in _limits_of_guard(graph, guard, roles))


def _limits_of_guard(graph: Graph, guard: ways.Guard, roles: Roles) -> Iterator[Limit]:
    condition, dies = _stripped(graph.nodes[guard.node].passage.condition, guard.dies_when_true)
    if condition is None:
        return
    own = [*_direct(condition, dies, roles), *_refused_elsewhere(graph, condition, roles)]
    yield from own
    if own or not _asks_who_or_when(condition, roles):
        return
    for index in guard.circumstances:
        around, _ = _stripped(graph.nodes[index].passage.condition, True)
        if around is not None:
            for limit in _direct(around, True, roles):
                if limit.place is not None and roles.settable(limit.place):
                    yield Limit(Restriction.IDENTITY, limit.place)


def _stripped(condition: Word | None, dies: bool) -> tuple[Expression | None, bool]:
    """A condition without its negations; None for one that only guards arithmetic."""
    while isinstance(condition, Expression) and condition.name == "iszero":
        condition, dies = condition.parts[0], not dies
    if not isinstance(condition, Expression) or _is_arithmetic_check(condition):
        return None, dies
    return condition, dies


def _direct(condition: Expression, dies: bool, roles: Roles) -> Iterator[Limit]:
    """Restrictions whose deciding place or number is in the condition itself."""
    if condition.name in ("and", "or"):
        for part in condition.parts:
            inner, inner_dies = _stripped(part, dies)
            if inner is not None:
                yield from _direct(inner, inner_dies, roles)
        return
    if condition.name == "returned":
        yield from _foreign(condition, roles)
    places = _places(condition, roles)
    for leaf, place in places.items():
        kind = _kind(condition, leaf, dies, roles)
        if kind is not None:
            yield Limit(kind, place)
    if not places and condition.name in _COMPARISONS:
        kind = _compared_with_number(condition)
        if kind is not None:
            yield Limit(kind, None)


def _places(condition: Expression, roles: Roles) -> dict[Expression, Place]:
    """What a condition reads from declared slots that is neither a balance, an allowance nor somebody's office."""
    reads = ((leaf, read_by(leaf)) for leaf in sorted(condition.leaves, key=lambda leaf: leaf.serial))
    others = roles.balances | roles.allowances | roles.offices
    return {
        leaf: read[1]
        for leaf, read in reads
        if read is not None and read[1] not in others and isinstance(read[1].root, int)
    }


def _foreign(condition: Expression, roles: Roles) -> Iterator[Limit]:
    """The yes or no of another contract whose address is settable."""
    for leaf in leaves_of(condition.parts[1]):
        read = read_by(leaf)
        if read is not None and roles.settable(read[1]):
            yield Limit(Restriction.FOREIGN, read[1])


def _refused_elsewhere(graph: Graph, condition: Expression, roles: Roles) -> Iterator[Limit]:
    """The success of a call that a setting can make fail: of a settable contract, which may refuse as it likes, or of
    one that is told a settable address, such as a router that pays somebody who takes no ether."""
    if condition.name != "environment":
        return
    for call in (call for node in graph.nodes for call in node.passage.calls if call.result is condition):
        told = [word for word in call.inputs if isinstance(word, Expression) and _is_stored_address(word)]
        for leaf in frozenset().union(leaves_of(call.target), *map(leaves_of, told)):
            read = read_by(leaf)
            if read is not None and roles.settable(read[1]):
                yield Limit(Restriction.FOREIGN, read[1])


def _is_stored_address(word: Expression) -> bool:
    return word.name == "field" and word.numbers[1] == _ADDRESS_BITS


def _kind(condition: Expression, leaf: Expression, dies: bool, roles: Roles) -> Restriction | None:
    read = read_by(leaf)
    if read is None:
        return None
    key, place = read
    alone = condition is leaf or (condition.name == "eq" and any(isinstance(part, int) for part in condition.parts))
    if alone and place.depth:
        personal = any(leaf.name in _PERSONS for part in keys_of(key) for leaf in leaves_of(part))
        return (Restriction.LISTED if dies else Restriction.UNLISTED) if personal else None
    if alone:
        switch = leaf.name == "field" and leaf.numbers[1] == 8 and roles.settable(place)
        return Restriction.SWITCH if switch else None
    return _compared(condition, leaf, roles) if condition.name in _COMPARISONS else None


def _compared(condition: Expression, leaf: Expression, roles: Roles) -> Restriction | None:
    """What the side opposite to a stored word is: an amount, a time, an address."""
    a, b = condition.parts
    own, opposite = (a, b) if leaf in leaves_of(a) else (b, a)
    if leaf in leaves_of(opposite) or any(_is_balance(x, roles) for x in leaves_of(own)):
        return None
    names = {x.name for x in leaves_of(opposite)}
    if names & _CLOCKS:
        return Restriction.TIME
    if condition.name in _EQUALITIES:
        return (
            Restriction.IDENTITY
            if names & _PERSONS and isinstance(opposite, Expression) and not opposite.parts[1:]
            else None
        )
    shared = any(x.name == "arg" for x in leaves_of(a) & leaves_of(b))
    return Restriction.LIMIT if "arg" in names and not shared else None


def _is_balance(leaf: Expression, roles: Roles) -> bool:
    read = read_by(leaf)
    return read is not None and read[1] in roles.balances | roles.allowances


def _compared_with_number(condition: Expression) -> Restriction | None:
    """An amount, a time or an address against a number in the code. Bounds of integer types are none."""
    numbers = condition.numbers
    word = next((part for part in condition.parts if isinstance(part, Expression)), None)
    if len(numbers) != 1 or word is None or not _could_be_meant(numbers[0]):
        return None
    names = {leaf.name for leaf in word.leaves}
    if names & _CLOCKS and names <= _CLOCKS:
        return Restriction.TIME
    if condition.name in _EQUALITIES:
        return Restriction.IDENTITY if word.name in _PERSONS and numbers[0] >> 64 else None
    return Restriction.LIMIT if word.name == "arg" and word.parts[0] in _AMOUNTS else None


def _could_be_meant(number: int) -> bool:
    """Whether a number is neither a dead address nor the end of the range of an integer type."""
    return number > 1 and (number + 1) & number != 0 and number & (number - 1) != 0


def _asks_who_or_when(condition: Expression, roles: Roles) -> bool:
    """Whether a condition compares an address, a plain amount or a time with something that is no balance."""
    places = {read[1] for leaf in condition.leaves if (read := read_by(leaf)) is not None}
    if condition.name not in _COMPARISONS:
        return condition.name in ("field", "sload") and any(place.depth for place in places)
    if places & (roles.balances | roles.allowances):
        return False
    if any(not _could_be_meant(number) for number in condition.numbers):
        return False
    names = {leaf.name for leaf in condition.leaves}
    plain = all(not isinstance(part, Expression) or part.name not in _ARITHMETIC for part in condition.parts)
    return plain and bool(names & {"arg", "caller", "origin", "timestamp", "number"}) and names <= _PLAIN


def _is_arithmetic_check(condition: Expression) -> bool:
    """Overflow and underflow checks compare a result with what it was made of, or with the largest number."""
    if condition.name in ("and", "or"):
        return any(isinstance(part, Expression) and _is_arithmetic_check(part) for part in condition.parts)
    if condition.name == "iszero":
        inner = condition.parts[0]
        return isinstance(inner, Expression) and _is_arithmetic_check(inner)
    if condition.name not in _COMPARISONS or len(condition.parts) != 2:
        return False
    a, b = condition.parts
    return _made_of(a, b) or _made_of(b, a) or _of_largest(a) or _of_largest(b)


def _made_of(result: Word, operand: Word) -> bool:
    if not isinstance(result, Expression) or result.name not in ("add", "sub", "mul", "div", "mix"):
        return False
    return any(part is operand or part == operand or _made_of(part, operand) for part in result.parts)


def _of_largest(word: Word) -> bool:
    return isinstance(word, Expression) and word.name in ("sub", "xor", "div") and word.parts[0] == MASK
