"""What the storage of a token means, told by what its standard functions read, and who may write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from dexlane.domain.risk.bytecode import ways
from dexlane.domain.risk.bytecode.exploration import Contract, Graph
from dexlane.domain.risk.bytecode.expressions import Expression, Place, Word, keys_of, leaves_of, place_of, read_by
from dexlane.domain.risk.bytecode.machine import Store

BALANCE_OF, ALLOWANCE, TRANSFER, TRANSFER_FROM, APPROVE = 0x70A08231, 0xDD62ED3E, 0xA9059CBB, 0x23B872DD, 0x095EA7B3
TRANSFERS = (TRANSFER, TRANSFER_FROM)
ECRECOVER = 1
"""The precompile that tells who signed (yellow paper, appendix E)."""
_SMALLEST_ADDRESS = 1 << 64
"""Numbers below are no address that somebody holds the key of: they are precompiles, sizes and small constants."""


@dataclass(frozen=True, slots=True)
class Writer:
    """A function that writes a place: whether only some callers may, and what it can write (None: anything)."""

    selector: int
    privileged: bool
    constant: int | None


@dataclass(frozen=True, slots=True)
class Roles:
    """Balances, allowances, the places that something other than a transfer or an approval writes, and the offices:
    places that hold an address with a privilege."""

    balances: frozenset[Place]
    allowances: frozenset[Place]
    writers: Mapping[Place, tuple[Writer, ...]]
    offices: frozenset[Place]

    def settable(self, place: Place) -> bool:
        """Whether a function writes this place, be it only once and for ever."""
        return place in self.writers

    def revocable(self, place: Place) -> bool:
        """Whether functions set this place to what their caller says, or back and forth."""
        writers = self.writers.get(place, ())
        return any(writer.constant is None for writer in writers) or len({writer.constant for writer in writers}) > 1


def roles_of(contract: Contract) -> Roles:
    """Read the roles off the functions that ERC-20 names."""
    balances = frozenset(_returned_places(contract.functions.get(BALANCE_OF), 1))
    allowances = frozenset(_returned_places(contract.functions.get(ALLOWANCE), 2))
    known = balances | allowances
    writers: dict[Place, list[Writer]] = {}
    for selector, graph in contract.functions.items():
        if selector in (*TRANSFERS, APPROVE):
            continue
        for place, writer in _writes(selector, graph, known):
            if place not in known and writer not in writers.setdefault(place, []):
                writers[place].append(writer)
    offices = frozenset(place for graph in contract.functions.values() for place in _offices(graph, known))
    return Roles(balances, allowances, {place: tuple(found) for place, found in writers.items()}, offices)


def _offices(graph: Graph, known: frozenset[Place]) -> Iterator[Place]:
    """Places that hold an address which the caller must be."""
    for node in graph.nodes:
        condition = node.passage.condition
        if isinstance(condition, Expression) and privilege(condition, known) is not None:
            for leaf in condition.leaves:
                read = read_by(leaf)
                if read is not None and read[1].depth == 0:
                    yield read[1]


def _returned_places(graph: Graph | None, arguments: int) -> Iterator[Place]:
    """Places that a function returns something of and whose keys are its arguments, in their order."""
    returned = [node.passage.returned for node in graph.nodes] if graph else []
    for leaf in (leaf for word in returned if word is not None for leaf in leaves_of(word)):
        read = read_by(leaf)
        if read is not None:
            keys = keys_of(read[0])
            if len(keys) == arguments and all(_is_argument(key, number) for number, key in enumerate(keys)):
                yield read[1]


def _is_argument(key: Word, number: int) -> bool:
    return isinstance(key, Expression) and any(
        leaf.name == "arg" and leaf.parts[0] == 4 + 32 * number for leaf in key.leaves
    )


def _writes(selector: int, graph: Graph, known: frozenset[Place]) -> Iterator[tuple[Place, Writer]]:
    well = ways.end_well(graph)
    open_to_all = ways.reached(graph, closed=privileged_edges(graph, known))
    by_signature = any(effect.target == ECRECOVER for node in graph.nodes for effect in node.passage.calls)
    for index, store in stores(graph):
        if not well[index]:
            continue
        place, value = written(store)
        if any(read is not None and read[1] == place for read in map(read_by, leaves_of(value))):
            continue  # counts up or down from what was there: a sum, not a setting
        if place.depth and all(is_caller(key) or (by_signature and _recovered(key)) for key in keys_of(store.key)):
            continue  # everybody writes about himself, in person or by a signature
        constant = value if isinstance(value, int) else None
        yield place, Writer(selector, index not in open_to_all, constant)


def _recovered(key: Word) -> bool:
    return isinstance(key, Expression) and {leaf.name for leaf in key.leaves} <= {"memory", "returned"}


def stores(graph: Graph) -> Iterator[tuple[int, Store]]:
    """Every SSTORE with the number of its node."""
    for index, node in enumerate(graph.nodes):
        for store in node.passage.stores:
            yield index, store


def written(store: Store) -> tuple[Place, Word]:
    """The place that an SSTORE writes and the new value of it. Solidity packs: (old & mask) | (new << shift)."""
    value = store.value
    if isinstance(value, Expression) and value.name == "or":
        for kept, new in (value.parts, tuple(reversed(value.parts))):
            shift = _kept_shift(kept, store.key)
            if shift is not None:
                return place_of(store.key, shift), _unshifted(new, shift)
    shift = _kept_shift(value, store.key)
    return (place_of(store.key), value) if shift is None else (place_of(store.key, shift), 0)


def _kept_shift(kept: Word, key: Word) -> int | None:
    """The lowest bit that a masked read of ``key`` does not keep."""
    if not isinstance(kept, Expression):
        return None
    if kept.name == "field":
        word, (shift, width) = kept.parts[0], kept.numbers
        return width if isinstance(word, Expression) and word.parts[0] == key and shift == 0 else None
    if kept.name != "and" or not kept.numbers:
        return None
    word = kept.parts[1] if isinstance(kept.parts[0], int) else kept.parts[0]
    if isinstance(word, Expression) and word.name == "sload" and word.parts[0] == key:
        return (~kept.numbers[0] & (kept.numbers[0] + 1)).bit_length() - 1
    return None


def _unshifted(new: Word, shift: int) -> Word:
    if isinstance(new, int):
        return new >> shift
    if new.name == "mul" and 1 << shift in new.parts:
        return new.parts[1] if new.parts[0] == 1 << shift else new.parts[0]
    return new.parts[1] if new.name == "shl" and new.parts[0] == shift else new


def privileged_edges(graph: Graph, known: frozenset[Place]) -> Callable[[int, int], bool]:
    """The edges that only callers with a privilege take, as a test of (node, place)."""
    taken: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if node.passage.condition is not None:
            when_true = privilege(node.passage.condition, known)
            if when_true is not None:
                taken[index] = 0 if when_true else 1
    return lambda index, place: taken.get(index) == place


def privilege(condition: Word, known: frozenset[Place]) -> bool | None:
    """Whether a condition holds (or fails) only for callers with a privilege; None when it does not ask for one.

    A privilege is to be an address that is stored or written in the code, or to be marked in a list.
    """
    if not isinstance(condition, Expression):
        return None
    if condition.name == "iszero":
        inner = privilege(condition.parts[0], known)
        return None if inner is None else not inner
    if condition.name in ("or", "and"):
        found = [privilege(part, known) for part in condition.parts]
        return True if True in found else None
    if condition.name in ("eq", "sub", "xor"):
        if _names_caller(*condition.parts) or _listed(condition, known):
            return condition.name == "eq"
        return None
    return True if _listed(condition, known) else None


def _names_caller(a: Word, b: Word) -> bool:
    caller, other = (a, b) if is_caller(a) else (b, a)
    if not is_caller(caller):
        return False
    if isinstance(other, int):
        return other >= _SMALLEST_ADDRESS
    reads = [read_by(leaf) for leaf in other.leaves]
    return any(read is not None and read[1].depth == 0 for read in reads)


def is_caller(word: Word) -> bool:
    """Whether a word is who calls, or who began the transaction."""
    return isinstance(word, Expression) and word.name in ("caller", "origin")


def _listed(word: Expression, known: frozenset[Place]) -> bool:
    """A mark in a mapping whose last key is the caller: one byte, or compared with a number, or in a role's list."""
    compared = word.name == "eq" and any(isinstance(part, int) for part in word.parts)
    leaves = [word] if word.name in ("field", "sload") else list(word.leaves) if compared else []
    for leaf in leaves:
        read = read_by(leaf)
        if read is None or read[1] in known or read[1].depth == 0 or not is_caller(keys_of(read[0])[-1]):
            continue
        if compared or read[1].depth > 1 or (leaf.name == "field" and leaf.numbers[1] == 8):
            return True
    return False
