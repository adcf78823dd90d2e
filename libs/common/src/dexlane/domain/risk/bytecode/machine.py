"""Walks one block of code on words that are only partly known.

Memory is remembered word by word at the offsets that were written; what was copied there in bulk is unknown. The
results of calls are unknown. Storage reads name their key: a word that was written earlier in the same call still reads
as the word before it, which is what makes "balance = balance + x" visible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dexlane.domain.risk.bytecode import instructions as op
from dexlane.domain.risk.bytecode.expressions import DECIDED_BY_INPUTS, Expression, Forge, Word, stripped
from dexlane.domain.risk.bytecode.instructions import Program

DEEPEST_STACK = 1_024
MOST_MEMORY_WORDS = 256
MOST_INPUTS = 4

_BINARY = {
    0x01: "add", 0x02: "mul", 0x03: "sub", 0x04: "div", 0x05: "sdiv", 0x06: "mod", 0x07: "smod", 0x0A: "exp",
    0x0B: "signextend", 0x10: "lt", 0x11: "gt", 0x12: "slt", 0x13: "sgt", 0x14: "eq", 0x16: "and", 0x17: "or",
    0x18: "xor", 0x1A: "byte", 0x1B: "shl", 0x1C: "shr", 0x1D: "sar",
}  # fmt: skip
_INPUTS = {
    0x30: "self", 0x32: "origin", 0x33: "caller", 0x34: "callvalue", 0x36: "calldatasize", 0x42: "timestamp",
    0x43: "number",
}  # fmt: skip
_ENVIRONMENT = frozenset({0x38, 0x3A, 0x3D, 0x41, 0x44, 0x45, 0x46, 0x47, 0x48, 0x4A, 0x58, 0x59, 0x5A})
_ASKS_ABOUT = frozenset({0x31, 0x3B, 0x3F, 0x40, 0x49})
_DROPPED = {0x3C: 4, 0x3E: 3, 0x5D: 2, 0x5E: 3}
"""Bulk copies and TSTORE: how many words they take off the stack."""


@dataclass(frozen=True, slots=True)
class Store:
    """SSTORE of ``value`` at ``key``."""

    key: Word
    value: Word


@dataclass(frozen=True, slots=True)
class Call:
    """A call of another contract. ``opcode`` tells which kind, ``result`` stands for its success, ``inputs`` are the
    words behind the selector as far as they are known."""

    opcode: int
    target: Word
    result: Word
    inputs: tuple[Word, ...]


@dataclass(slots=True)
class State:
    """Where the walk is and what it knows there."""

    offset: int
    stack: list[Word]
    memory: dict[Word, Word]
    assumed: dict[Expression, bool] = field(default_factory=dict)

    def copy(self, offset: int) -> State:
        """The same knowledge somewhere else."""
        return State(offset, list(self.stack), dict(self.memory), self.assumed)

    def assuming(self, offset: int, condition: Expression, holds: bool) -> State:
        """The same knowledge somewhere else, and the outcome of a condition that only the inputs decide."""
        after = self.copy(offset)
        core, sign = stripped(condition)
        if all(leaf.name in DECIDED_BY_INPUTS for leaf in core.leaves):
            after.assumed = {**self.assumed, core: holds == sign}
        return after

    def key(self) -> tuple[object, ...]:
        """Equal only for states from which the same follows. Memory that was written in another order differs."""
        return (
            self.offset,
            tuple(self.stack),
            tuple(self.memory),
            tuple(self.memory.values()),
            tuple(self.assumed.items()),
        )


@dataclass(slots=True)
class Passage:
    """What one block did: storage written and contracts called, storage keys read, how it ends, and where it goes on.

    ``end`` is ``""`` where it goes on, else ``stop``, ``return``, ``revert``, ``selfdestruct`` or ``lost`` (a jump to
    an unknown place). With a ``condition`` the first successor is taken when it is not zero, the second when it is.
    """

    stores: list[Store] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    loads: list[Word] = field(default_factory=list)
    condition: Word | None = None
    returned: Word | None = None
    end: str = ""
    successors: list[State] = field(default_factory=list)
    steps: int = 0


class Machine:
    """Walks blocks of one program, with the selector of the call unknown or given."""

    def __init__(self, program: Program, forge: Forge, selector: int | None = None) -> None:
        self.program = program
        self.forge = forge
        self.selector = selector

    def walk(self, state: State) -> Passage:
        """From ``state`` to the end of its block. ``state`` is used up."""
        passage, stack = Passage(), state.stack
        instructions, begin = self.program.instructions, state.offset
        while not passage.end and not passage.successors:
            opcode, operand, following = instructions.get(state.offset, (op.STOP, 0, 0))
            if opcode == op.JUMPDEST and state.offset != begin:
                passage.successors.append(state)
                break
            passage.steps += 1
            try:
                if op.PUSH0 <= opcode <= op.PUSH32:
                    stack.append(operand)
                elif op.DUP1 <= opcode <= op.DUP16:
                    stack.append(stack[op.DUP1 - opcode - 1])
                elif op.SWAP1 <= opcode <= op.SWAP16:
                    depth = op.SWAP1 - opcode - 2
                    stack[-1], stack[depth] = stack[depth], stack[-1]
                else:
                    self._other(opcode, state, passage, following)
            except IndexError:
                passage.end = "revert"  # stack underflow: the real machine fails here too
            if len(stack) > DEEPEST_STACK:
                passage.end = "revert"
            state.offset = following
        return passage

    def _other(self, opcode: int, state: State, passage: Passage, following: int) -> None:
        stack, forge = state.stack, self.forge
        name = _BINARY.get(opcode)
        if name is not None:
            first = stack.pop()
            stack.append(forge.binary(name, first, stack.pop()))
        elif opcode == op.POP:
            stack.pop()
        elif opcode == op.JUMPDEST:
            return
        elif (plain := _INPUTS.get(opcode)) is not None:
            stack.append(forge.make(plain))
        elif opcode in _ENVIRONMENT:
            stack.append(forge.make("environment", opcode))
        elif (handler := _HANDLERS.get(opcode)) is not None:
            handler(self, state, passage, following)
        else:
            _rare(forge, opcode, stack, passage)


def remember(memory: dict[Word, Word], offset: Word, word: Word) -> None:
    """Write a word to memory; beyond ``MOST_MEMORY_WORDS`` new offsets are not remembered."""
    if offset in memory or len(memory) < MOST_MEMORY_WORDS:
        memory[offset] = word


def _jump(machine: Machine, state: State, passage: Passage, _following: int) -> None:
    target = state.stack.pop()
    _goto(machine, state, passage, target)


def _jump_if(machine: Machine, state: State, passage: Passage, following: int) -> None:
    target, condition = state.stack.pop(), state.stack.pop()
    taken = _known_outcome(condition, state.assumed)
    if isinstance(condition, int) or taken is not None:
        if taken:
            _goto(machine, state, passage, target)
        else:
            passage.successors.append(state.copy(following))
        return
    if isinstance(target, int) and target in machine.program.jump_targets:
        passage.condition = condition
        passage.successors.append(state.assuming(target, condition, True))
        passage.successors.append(state.assuming(following, condition, False))
    else:
        passage.successors.append(state.copy(following))


def _known_outcome(condition: Word, assumed: dict[Expression, bool]) -> bool | None:
    if isinstance(condition, int):
        return condition != 0
    core, sign = stripped(condition)
    known = assumed.get(core)
    return None if known is None else known == sign


def _goto(machine: Machine, state: State, passage: Passage, target: Word) -> None:
    if isinstance(target, Expression):
        passage.end = "lost"
    elif target in machine.program.jump_targets:
        passage.successors.append(state.copy(target))
    else:
        passage.end = "revert"


def _keccak(machine: Machine, state: State, _passage: Passage, _following: int) -> None:
    begin, length = state.stack.pop(), state.stack.pop()
    state.stack.append(hashed(machine.forge, state.memory, begin, length))


def _load_memory(machine: Machine, state: State, _passage: Passage, _following: int) -> None:
    offset = state.stack.pop()
    known = state.memory.get(offset)
    if known is None and isinstance(offset, int):
        known = _end_of_word(machine, state.memory.get(offset + 28))
    state.stack.append(machine.forge.make("memory", offset) if known is None else known)


def _end_of_word(machine: Machine, written: Word | None) -> Word | None:
    """The selector, where the first word of the input was written 28 bytes further, as early Vyper does."""
    if isinstance(written, Expression) and written.name == "arg" and written.parts[0] == 0:
        return machine.forge.make("selector")
    first = isinstance(written, int) and machine.selector is not None and written == machine.selector << 224
    return machine.selector if first else None


def _store_memory(_machine: Machine, state: State, _passage: Passage, _following: int) -> None:
    offset = state.stack.pop()
    remember(state.memory, offset, state.stack.pop())


def _store_byte(_machine: Machine, state: State, _passage: Passage, _following: int) -> None:
    offset = state.stack.pop()
    state.stack.pop()
    state.memory.pop(offset, None)


def _load_storage(machine: Machine, state: State, passage: Passage, _following: int) -> None:
    key = state.stack.pop()
    passage.loads.append(key)
    state.stack.append(machine.forge.make("sload", key))


def _store_storage(_machine: Machine, state: State, passage: Passage, _following: int) -> None:
    key = state.stack.pop()
    passage.stores.append(Store(key, state.stack.pop()))


def _load_input(machine: Machine, state: State, _passage: Passage, _following: int) -> None:
    offset = state.stack.pop()
    if offset == 0 and machine.selector is not None:
        state.stack.append(machine.selector << 224)
    else:
        state.stack.append(machine.forge.make("arg", offset))


def _copy_input(machine: Machine, state: State, _passage: Passage, _following: int) -> None:
    """Vyper copies the selector to the end of a word; other copies are not remembered."""
    destination, begin, length = state.stack.pop(), state.stack.pop(), state.stack.pop()
    if isinstance(destination, int) and begin == 0 and length == 4:
        selector = machine.forge.make("selector") if machine.selector is None else machine.selector
        remember(state.memory, destination - 28, selector)


def _copy_code(machine: Machine, state: State, _passage: Passage, _following: int) -> None:
    destination, begin, length = state.stack.pop(), state.stack.pop(), state.stack.pop()
    if not isinstance(begin, int) or not isinstance(length, int):
        return
    if isinstance(destination, int) and length <= 32:  # an entry of a jump table, to the end of a word
        entry = machine.program.code[begin : begin + length].ljust(length, b"\0")
        remember(state.memory, destination + length - 32, int.from_bytes(entry, "big"))
    else:
        remember(state.memory, destination, machine.forge.make("code", begin, length))


def _call(machine: Machine, state: State, passage: Passage, following: int) -> None:
    opcode, stack = machine.program.code[state.offset], state.stack
    _gas, target = stack.pop(), stack.pop()
    if opcode in (op.CALL, op.CALLCODE):
        stack.pop()
    begin, _length, out, out_length = stack.pop(), stack.pop(), stack.pop(), stack.pop()
    result = machine.forge.make("environment", opcode, following)
    passage.calls.append(Call(opcode, target, result, _inputs(machine, state.memory, begin)))
    if out_length != 0:
        remember(state.memory, out, machine.forge.make("returned", following, target))
    stack.append(result)


def _inputs(machine: Machine, memory: dict[Word, Word], begin: Word) -> tuple[Word, ...]:
    offsets = [machine.forge.binary("add", 4 + 32 * number, begin) for number in range(MOST_INPUTS)]
    return tuple(memory[offset] for offset in offsets if offset in memory)


def _return(_machine: Machine, state: State, passage: Passage, _following: int) -> None:
    begin, _length = state.stack.pop(), state.stack.pop()
    passage.returned = state.memory.get(begin)
    passage.end = "return"


def _rare(forge: Forge, opcode: int, stack: list[Word], passage: Passage) -> None:
    """What needs no memory: negation, inputs by index, questions about others, ends, logs, creations."""
    if opcode == 0x15:
        stack.append(forge.is_zero(stack.pop()))
    elif opcode == 0x19:
        stack.append(forge.binary("xor", (1 << 256) - 1, stack.pop()))
    elif opcode in _ASKS_ABOUT:
        stack.append(forge.make("asked", opcode, stack.pop()))
    elif opcode in (0x08, 0x09):
        stack.append(forge.make("modular", stack.pop(), stack.pop(), stack.pop()))
    elif op.LOG0 <= opcode <= op.LOG4:
        del stack[-2 - (opcode - op.LOG0) :]
    elif opcode in _DROPPED:
        del stack[-_DROPPED[opcode] :]
    elif opcode == 0x5C:
        stack.append(forge.make("environment", opcode, stack.pop()))
    elif opcode in (op.CREATE, op.CREATE2):
        del stack[-3 - (opcode == op.CREATE2) :]
        stack.append(forge.make("environment", opcode))
    else:
        passage.end = {op.STOP: "stop", op.SELFDESTRUCT: "selfdestruct"}.get(opcode, "revert")


def hashed(forge: Forge, memory: dict[Word, Word], begin: Word, length: Word) -> Word:
    """KECCAK256 of remembered memory: the entry of a mapping where it looks like one, else an opaque hash.

    Solidity hashes key then slot, Vyper slot then key, and hand-written code (Solady) overlaps them. The base is the
    last piece that is a number or a mapping's entry itself; the other pieces are keys.
    """
    pieces = _pieces(memory, begin, length)
    bases = [index for index, piece in enumerate(pieces) if _may_be_base(piece)]
    if len(pieces) == 1 and bases:
        return forge.make("array", pieces[0])
    if len(pieces) < 2 or not bases:
        return forge.make("keccak", *pieces) if pieces else forge.make("keccak", forge.make("memory", begin))
    nested = [index for index in bases if isinstance(pieces[index], Expression)]
    base_index = len(pieces) - 1 if len(pieces) - 1 in bases else (nested or bases)[-1]
    slot = pieces[base_index]
    for index, piece in enumerate(pieces):
        if index != base_index:
            slot = forge.make("map", slot, piece)
    return slot


def _may_be_base(piece: Word) -> bool:
    if isinstance(piece, int):
        return True
    return piece.name in ("map", "array") or (piece.name == "add" and _may_be_base(piece.parts[1]))


def _pieces(memory: dict[Word, Word], begin: Word, length: Word) -> list[Word]:
    if not isinstance(length, int) or not 0 < length <= 160:
        return []
    if isinstance(begin, int):
        found = [(at, word) for at, word in memory.items() if isinstance(at, int) and begin - 31 <= at < begin + length]
        if begin % 32 == 0 and length % 32 == 0:
            found = [(at, word) for at, word in found if at >= begin]
        return [word for _, word in sorted(found, key=lambda item: item[0])]
    return []


_HANDLERS: dict[int, Callable[[Machine, State, Passage, int], None]] = {
    op.CALLDATALOAD: _load_input,
    op.CALLDATACOPY: _copy_input,
    op.JUMP: _jump,
    op.JUMPI: _jump_if,
    op.KECCAK256: _keccak,
    op.MLOAD: _load_memory,
    op.MSTORE: _store_memory,
    op.MSTORE8: _store_byte,
    op.SLOAD: _load_storage,
    op.SSTORE: _store_storage,
    op.CODECOPY: _copy_code,
    op.CALL: _call,
    op.CALLCODE: _call,
    op.DELEGATECALL: _call,
    op.STATICCALL: _call,
    op.RETURN: _return,
}
