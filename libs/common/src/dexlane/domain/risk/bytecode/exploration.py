"""From code to graphs: one of the dispatcher, one of each function, within a budget of steps.

A node is a block in a state; two ways that lead to the same block with the same knowledge meet there. What the budget
cuts off is remembered as unexplored, and a block counts as one that can end well unless every visit of it ended badly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import Field

from dexlane.domain.risk.bytecode.expressions import Expression, Forge, Word
from dexlane.domain.risk.bytecode.instructions import Program
from dexlane.domain.risk.bytecode.machine import Machine, Passage, State
from dexlane.domain.risk.bytecode.names import SIGNATURES
from dexlane.values.base import Value

FIRST_SELECTORS = (0x70A08231, 0xDD62ED3E, 0xA9059CBB, 0x23B872DD)
"""balanceOf, allowance, transfer, transferFrom: walked first, because the rest is judged by what they use."""


class Budget(Value):
    """How far code is walked. Steps are instructions, counted on every way that is taken."""

    total_steps: int = Field(default=200_000, ge=1)
    function_steps: int = Field(default=40_000, ge=1)
    visits_of_a_block: int = Field(
        default=8, ge=1, description="states in which a block is entered from one calling context"
    )


@dataclass(slots=True)
class Node:
    """A block in a state: what it did, and the numbers of the nodes behind it (None: not explored)."""

    offset: int
    passage: Passage
    successors: list[int | None] = field(default_factory=list)
    successor_offsets: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Graph:
    """All explored nodes of one function; node 0 is the entry.

    ``spent`` tells that the steps were used up. That a block was not entered in every state is ordinary: loops.
    """

    nodes: list[Node] = field(default_factory=list)
    spent: bool = False
    steps: int = 0


@dataclass(slots=True)
class Contract:
    """What was walked of a program: the dispatcher with the fallback, and the functions by selector.

    ``by_name``: the dispatcher tells no selectors, so there may be functions with unusual names.
    """

    program: Program
    dispatcher: Graph
    functions: Mapping[int, Graph]
    unwalked: tuple[int, ...]
    steps: int
    by_name: bool = False

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """Every graph."""
        return (self.dispatcher, *self.functions.values())


def explore(program: Program, budget: Budget) -> Contract:
    """Walk a whole program. Never more than ``budget.total_steps`` and one block."""
    machine = Machine(program, Forge())
    entries: dict[int, State] = {}
    dispatcher = _graph(machine, State(0, [], {}), budget, budget.total_steps, entries)
    left = budget.total_steps - dispatcher.steps
    if not entries and any(node.passage.end == "lost" for node in dispatcher.nodes):
        return _explore_by_name(program, machine.forge, budget, dispatcher)
    order = [s for s in FIRST_SELECTORS if s in entries] + sorted(s for s in entries if s not in FIRST_SELECTORS)
    functions: dict[int, Graph] = {}
    for selector in order:
        if left <= 0:
            break
        functions[selector] = _graph(machine, entries[selector], budget, left, None)
        left -= functions[selector].steps
    unwalked = tuple(selector for selector in order if selector not in functions)
    return Contract(program, dispatcher, functions, unwalked, budget.total_steps - left)


def _explore_by_name(program: Program, forge: Forge, budget: Budget, dispatcher: Graph) -> Contract:
    """Dispatchers that compute where to jump, as Vyper's do, are asked for the functions with usual names."""
    functions: dict[int, Graph] = {}
    steps = dispatcher.steps
    for selector in (*FIRST_SELECTORS, *(known for known in SIGNATURES if known not in FIRST_SELECTORS)):
        if steps >= budget.total_steps:
            break
        machine = Machine(program, forge, selector)
        graph = _graph(machine, State(0, [], {}), budget, budget.total_steps - steps, None)
        steps += graph.steps
        if any(node.passage.end in ("stop", "return") for node in graph.nodes):
            functions[selector] = graph
    return Contract(program, dispatcher, functions, (), steps, by_name=True)


def deployed_by(contract: Contract) -> bytes | None:
    """The runtime code inside creation code: what the program copies from itself and returns. None: it is no creation
    code."""
    if contract.functions:
        return None
    for node in contract.dispatcher.nodes:
        returned = node.passage.returned
        if isinstance(returned, Expression) and returned.name == "code":
            begin, length = returned.numbers
            code = contract.program.code[begin : begin + length]
            if 0 < len(code) < len(contract.program.code):
                return code
    return None


def _graph(machine: Machine, start: State, budget: Budget, left: int, entries: dict[int, State] | None) -> Graph:
    graph, targets = Graph(), machine.program.jump_targets
    most = min(left, budget.function_steps)
    numbers: dict[tuple[object, ...], int] = {}
    visits: dict[tuple[Word, ...], int] = {}
    waiting: list[tuple[State, int, int]] = [(start, -1, 0)]
    while waiting:
        state, parent, place = waiting.pop()
        key = state.key()
        number = numbers.get(key)
        if number is None:
            context = (state.offset, *(word for word in state.stack if word in targets))
            graph.spent = graph.spent or graph.steps >= most
            if graph.spent or visits.get(context, 0) >= budget.visits_of_a_block:
                continue
            visits[context] = visits.get(context, 0) + 1
            number = numbers[key] = len(graph.nodes)
            node = Node(state.offset, machine.walk(state))
            graph.nodes.append(node)
            graph.steps += node.passage.steps
            following = _following(node.passage, entries)
            node.successors = [None] * len(following)
            node.successor_offsets = [after.offset for after in following]
            waiting.extend((after, number, index) for index, after in enumerate(following))
            node.passage.successors = []
        if parent >= 0:
            graph.nodes[parent].successors[place] = number
    return graph


def _following(passage: Passage, entries: dict[int, State] | None) -> list[State]:
    """Where to go on; in the dispatcher, the entry of a function is set aside instead."""
    if entries is None or passage.condition is None:
        return passage.successors
    found = selected(passage.condition)
    if found is None:
        return passage.successors
    selector, when_true = found
    entry, other = passage.successors if when_true else reversed(passage.successors)
    entries.setdefault(selector, entry)
    passage.condition = None
    return [other]


def selected(condition: Word) -> tuple[int, bool] | None:
    """The selector that a condition of the dispatcher asks for, and whether it is a hit when the condition holds."""
    if not isinstance(condition, Expression):
        return None
    if condition.name == "iszero":
        inner = selected(condition.parts[0])
        return None if inner is None else (inner[0], not inner[1])
    if condition.name not in ("eq", "xor", "sub") or len(condition.numbers) != 1:
        return None
    number, word = condition.numbers[0], next(part for part in condition.parts if isinstance(part, Expression))
    selector = number if word.name == "selector" else _left_aligned(number, word)
    return (selector, condition.name == "eq") if selector is not None and 0 < selector < 1 << 32 else None


def _left_aligned(number: int, word: Expression) -> int | None:
    """The selector in a comparison of the first word of the input, the rest of it masked off, as early Vyper does."""
    first = word.parts[1] if word.name == "and" else word
    begins = isinstance(first, Expression) and first.name == "arg" and first.parts[0] == 0
    return number >> 224 if begins and number >> 224 << 224 == number else None
