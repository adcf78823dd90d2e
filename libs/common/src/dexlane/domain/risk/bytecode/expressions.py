"""What is known about a word on the stack: a number, or an expression over inputs and storage.

Equal expressions of one analysis are the same object, so they are compared and hashed by identity. An expression that
grows beyond ``LARGEST`` parts is replaced by a *mix* that only remembers what it was made of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

MASK = (1 << 256) - 1
LARGEST = 200

DECIDED_BY_INPUTS = frozenset(
    {"caller", "origin", "self", "callvalue", "calldatasize", "arg", "selector", "timestamp", "number"}
)
_LEAVES = DECIDED_BY_INPUTS | {"sload", "field", "returned", "memory", "environment", "unknown"}
_BOOLEAN = frozenset({"eq", "lt", "gt", "slt", "sgt", "iszero"})


class Expression:
    """A node: ``name`` says what it is, ``parts`` what it is made of, ``leaves`` what it depends on.

    ``sload`` has the key as its part and is a leaf: what decides the key is not what decides the value. ``field`` is a
    part of a stored word: (sload, shift, width) in bits. ``map`` is the slot of a mapping's entry: (base, key).
    """

    __slots__ = ("leaves", "name", "parts", "serial", "size")

    def __init__(self, name: str, parts: tuple[Word, ...], serial: int) -> None:
        self.name = name
        self.serial = serial
        self.parts = parts
        inner = [part for part in parts if isinstance(part, Expression)]
        self.size: int = 1 + sum(part.size for part in inner)
        if name in _LEAVES:
            self.leaves: frozenset[Expression] = frozenset((self,))
        else:
            self.leaves = frozenset().union(*(part.leaves for part in inner))

    @property
    def numbers(self) -> tuple[int, ...]:
        """The parts that are numbers, in their order: of a field its shift and its width."""
        return tuple(part for part in self.parts if isinstance(part, int))

    def __repr__(self) -> str:
        inner = ", ".join(hex(part) if isinstance(part, int) else repr(part) for part in self.parts)
        return f"{self.name}({inner})" if inner else self.name


Word: TypeAlias = "int | Expression"


def _signed(word: int) -> int:
    return word - (1 << 256) if word >> 255 else word


def _sign_extended(size: int, word: int) -> int:
    bits = 8 * (size + 1)
    if bits >= 256:
        return word
    low = word & ((1 << bits) - 1)
    return (low - (1 << bits)) & MASK if low >> (bits - 1) else low


_FOLDED: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: (a + b) & MASK,
    "mul": lambda a, b: (a * b) & MASK,
    "sub": lambda a, b: (a - b) & MASK,
    "div": lambda a, b: a // b if b else 0,
    "mod": lambda a, b: a % b if b else 0,
    "exp": lambda a, b: pow(a, b, 1 << 256),
    "signextend": _sign_extended,
    "lt": lambda a, b: int(a < b),
    "gt": lambda a, b: int(a > b),
    "slt": lambda a, b: int(_signed(a) < _signed(b)),
    "sgt": lambda a, b: int(_signed(a) > _signed(b)),
    "eq": lambda a, b: int(a == b),
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "byte": lambda i, a: (a >> (8 * (31 - i))) & 0xFF if i < 32 else 0,
    "shl": lambda s, a: (a << s) & MASK if s < 256 else 0,
    "shr": lambda s, a: a >> s if s < 256 else 0,
}


class Forge:
    """Makes the expressions of one analysis, each once."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, tuple[Word, ...]], Expression] = {}

    def make(self, name: str, *parts: Word) -> Expression:
        """The expression of this name and these parts, as it is."""
        key = (name, parts)
        known = self._made.get(key)
        if known is None:
            known = Expression(name, parts, len(self._made))
            if known.size > LARGEST and name in _LEAVES:
                known = self.make("unknown")
            elif known.size > LARGEST and name != "mix":
                known = self.make("mix", *sorted(known.leaves, key=lambda leaf: leaf.serial)[: LARGEST // 2])
            self._made[key] = known
        return known

    def binary(self, name: str, a: Word, b: Word) -> Word:
        """The result of an operation on two words, simplified where that is needed to recognise it."""
        if isinstance(a, int) and isinstance(b, int):
            folded = _FOLDED.get(name)
            return folded(a, b) if folded is not None else self.make(name, a, b)
        special = _SPECIAL.get(name)
        simple = special(self, a, b) if special is not None else None
        return self.make(name, a, b) if simple is None else simple

    def is_zero(self, a: Word) -> Word:
        """ISZERO; of a comparison twice negated the comparison remains."""
        if isinstance(a, int):
            return int(a == 0)
        if a.name in ("caller", "origin", "self"):
            return 0
        if a.name == "iszero":
            inner = a.parts[0]
            if isinstance(inner, Expression) and inner.name in _BOOLEAN:
                return inner
        return self.make("iszero", a)


def _add(forge: Forge, a: Word, b: Word) -> Word | None:
    if isinstance(b, int):
        a, b = b, a
    if a == 0:
        return b
    if isinstance(a, int) and isinstance(b, Expression) and b.name == "add" and isinstance(b.parts[0], int):
        return forge.binary("add", (a + b.parts[0]) & MASK, b.parts[1])
    return forge.make("add", a, b)


def _sub(forge: Forge, a: Word, b: Word) -> Word | None:
    if a is b:
        return 0
    if b == 0:
        return a
    if isinstance(a, Expression) and a.name == "add" and isinstance(a.parts[0], int):
        if a.parts[1] is b:
            return a.parts[0]
        if isinstance(b, int):
            return forge.binary("add", (a.parts[0] - b) & MASK, a.parts[1])
    return None


def _mul(_forge: Forge, a: Word, b: Word) -> Word | None:
    if a == 0 or b == 0:
        return 0
    return b if a == 1 else a if b == 1 else None


def _div(forge: Forge, a: Word, b: Word) -> Word | None:
    if isinstance(b, int) and isinstance(a, Expression) and b and b & (b - 1) == 0:
        return _shifted_right(forge, a, b.bit_length() - 1)
    return None


def _shr(forge: Forge, shift: Word, a: Word) -> Word | None:
    return _shifted_right(forge, a, shift) if isinstance(shift, int) and isinstance(a, Expression) else None


def _shl(_forge: Forge, shift: Word, a: Word) -> Word | None:
    return a if shift == 0 else None


def _shifted_right(forge: Forge, a: Expression, bits: int) -> Word | None:
    if bits == 0:
        return a
    if a.name == "arg" and a.parts[0] == 0 and bits == 224:
        return forge.make("selector")
    if a.name == "sload" and bits < 256:
        return forge.make("field", a, bits, 256 - bits)
    return None


def _and(forge: Forge, a: Word, b: Word) -> Word | None:
    if a is b:
        return a
    mask, word = (a, b) if isinstance(a, int) else (b, a)
    if not isinstance(mask, int) or not isinstance(word, Expression):
        return None
    return _masked(forge, mask, word) if mask else 0


def _masked(forge: Forge, mask: int, word: Expression) -> Word | None:
    """A masked word, where the mask takes a field out of it; None where it clears one to write it anew."""
    shift = (mask & -mask).bit_length() - 1
    width = mask.bit_length() - shift
    if mask >> shift != (1 << width) - 1 or (shift and mask >> 255):
        return None
    if word.name == "sload":
        return word if width == 256 else forge.make("field", word, shift, width)
    if word.name == "field" and not shift:
        return word if word.numbers[1] <= width else forge.make("field", word.parts[0], word.numbers[0], width)
    # Addresses and selectors are clean: a mask takes nothing away from them.
    clean = word.name in ("arg", "caller", "origin", "self", "selector", "iszero") and width >= 8
    return word if clean and not shift else None


def _or(_forge: Forge, a: Word, b: Word) -> Word | None:
    return b if a == 0 else a if b == 0 else None


def _eq(forge: Forge, a: Word, b: Word) -> Word | None:
    if a is b:
        return 1
    return forge.is_zero(b) if a == 0 else forge.is_zero(a) if b == 0 else None


def _lt(forge: Forge, a: Word, b: Word) -> Word | None:
    if a is b or b == 0:
        return 0
    return forge.is_zero(forge.is_zero(b)) if a == 0 else forge.is_zero(a) if b == 1 else None


def _gt(forge: Forge, a: Word, b: Word) -> Word | None:
    return _lt(forge, b, a)


def _xor(_forge: Forge, a: Word, b: Word) -> Word | None:
    return 0 if a is b else None


_SPECIAL: dict[str, Callable[[Forge, Word, Word], Word | None]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "shr": _shr,
    "shl": _shl,
    "and": _and,
    "or": _or,
    "eq": _eq,
    "lt": _lt,
    "gt": _gt,
    "xor": _xor,
}


def stripped(condition: Expression) -> tuple[Expression, bool]:
    """A condition without its negations, and whether it still holds when the original does."""
    sign = True
    while condition.name == "iszero" and isinstance(condition.parts[0], Expression):
        condition, sign = condition.parts[0], not sign
    return condition, sign


class Place(NamedTuple):
    """Where something is stored: the declared slot, through how many mappings, which word of a struct, which bit."""

    root: Word
    depth: int
    offset: int
    shift: int


def place_of(slot: Word, shift: int = 0) -> Place:
    """The place that a storage key lies in, whatever the keys of its mappings."""
    depth = offset = 0
    while isinstance(slot, Expression):
        if slot.name == "map":
            slot, depth = slot.parts[0], depth + 1
        elif slot.name == "add" and slot.numbers:
            offset, slot = offset + slot.numbers[0], slot.parts[1]
        else:
            break
    return Place(slot, depth, offset, shift)


def keys_of(slot: Word) -> tuple[Word, ...]:
    """The keys of a mapping's entry, the outermost mapping first; empty for a plain slot."""
    keys: list[Word] = []
    while isinstance(slot, Expression) and slot.name in ("map", "add"):
        if slot.name == "map":
            keys.append(slot.parts[1])
            slot = slot.parts[0]
        else:
            slot = slot.parts[1]
    return tuple(reversed(keys))


def read_by(leaf: Expression) -> tuple[Word, Place] | None:
    """The storage key and the place that a leaf was read from; None when it is no stored word."""
    if leaf.name == "sload":
        return leaf.parts[0], place_of(leaf.parts[0])
    if leaf.name == "field" and isinstance(leaf.parts[0], Expression):
        key = leaf.parts[0].parts[0]
        return key, place_of(key, leaf.numbers[0])
    return None


def leaves_of(word: Word) -> frozenset[Expression]:
    """What a word depends on; nothing for a number."""
    return word.leaves if isinstance(word, Expression) else frozenset()
