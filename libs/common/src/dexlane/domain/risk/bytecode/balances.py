"""How a function moves balances: who is credited, who is debited, and on which ways nobody pays for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dexlane.domain.risk.bytecode import instructions as op
from dexlane.domain.risk.bytecode import ways
from dexlane.domain.risk.bytecode.exploration import Graph
from dexlane.domain.risk.bytecode.expressions import Expression, Word, keys_of, leaves_of, place_of, read_by, stripped
from dexlane.domain.risk.bytecode.roles import ECRECOVER, Roles, privileged_edges, stores, written


class Change(StrEnum):
    """What a write does to a balance. ``SET`` writes something that does not follow from any balance."""

    CREDIT = "credit"
    DEBIT = "debit"
    SET = "set"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Movement:
    """A write to a balance: in which node, whose (the key), what it does and the new value."""

    node: int
    holder: Word
    change: Change
    value: Word


def movements(graph: Graph, roles: Roles) -> list[Movement]:
    """Every write to a balance in a function."""
    found = []
    for index, store in stores(graph):
        place, value = written(store)
        if place in roles.balances:
            found.append(Movement(index, keys_of(store.key)[-1], _change(value, store.key, roles), value))
    return found


def _change(value: Word, key: Word, roles: Roles) -> Change:
    if value == 0:
        return Change.DEBIT
    sign = _sign_of(value, key)
    if sign:
        return Change.CREDIT if sign > 0 else Change.DEBIT
    read = [read_by(leaf) for leaf in leaves_of(value)]
    if any(item is not None and item[1] in roles.balances for item in read):
        return Change.OTHER  # recomputed from balances, as reflection tokens do when they exclude somebody
    return Change.SET


def _sign_of(value: Word, key: Word) -> int:
    """+1 when the old balance is added to, -1 when something is taken from it, 0 when neither is visible."""
    if not isinstance(value, Expression) or value.name not in ("add", "sub"):
        return 0
    a, b = value.parts
    if value.name == "sub":
        return -1 if _is_old(a, key) else _sign_of(a, key)
    for old, other in ((a, b), (b, a)):
        if _is_old(old, key):
            return -1 if isinstance(other, int) and other >> 255 else 1
    return _sign_of(a, key) or _sign_of(b, key)


def _is_old(word: Word, key: Word) -> bool:
    if not isinstance(word, Expression):
        return False
    read = read_by(word)
    return read is not None and (read[0] is key or read[0] == key)


def unpaid_credits(graph: Graph, roles: Roles) -> list[tuple[Movement, bool]]:
    """Credits that some way makes and ends well without debiting anybody; with whether only a privileged caller can.

    A credit of what was paid in with the call (``msg.value``) is paid, unless somebody can set its price. What anybody
    can do only with a call of another contract, a vault's deposit for example, is taken for paid by that call.
    """
    moved = movements(graph, roles)
    debits = {move.node for move in moved if move.change in (Change.DEBIT, Change.OTHER)}
    candidates = [
        move for move in moved if move.change in (Change.CREDIT, Change.SET) and not _paid_in(move.value, roles)
    ]
    found = _passing_without(graph, roles, candidates, debits)
    if all(privileged for _, privileged in found):
        return found
    calls = {index for index, node in enumerate(graph.nodes) if any(c.opcode == op.CALL for c in node.passage.calls)}
    uncalled = {move for move, _ in _passing_without(graph, roles, candidates, debits | calls)}
    return [(move, privileged) for move, privileged in found if privileged or move in uncalled or _priced(move)]


def _priced(move: Movement) -> bool:
    return any(leaf.name == "callvalue" for leaf in leaves_of(move.value))


def _paid_in(value: Word, roles: Roles) -> bool:
    leaves = leaves_of(value)
    reads = [read_by(leaf) for leaf in leaves]
    priced = any(read is not None and roles.revocable(read[1]) for read in reads)
    return not priced and any(leaf.name == "callvalue" for leaf in leaves)


def taken_from_others(graph: Graph, roles: Roles) -> list[tuple[Movement, bool]]:
    """Balances of a holder named by an argument that shrink or are set, on a way that asks neither for an allowance
    nor for a signature; with whether only a privileged caller can."""
    asks = {index for index in range(len(graph.nodes)) if _asks_holder(graph, index, roles)}
    candidates = [
        move
        for move in movements(graph, roles)
        if move.change in (Change.DEBIT, Change.SET)
        and _named_by_caller(move.holder)
        and (move.value == 0 or not isinstance(move.value, int))
    ]
    return _passing_without(graph, roles, candidates, asks, not_himself=True)


def allowances_for_others(graph: Graph, roles: Roles) -> list[tuple[int, bool]]:
    """Nodes that write an allowance of a holder named by an argument, without an allowance or a signature of his."""
    found = []
    for index, store in stores(graph):
        place, value = written(store)
        keys = keys_of(store.key)
        lowered = _sign_of(value, store.key) < 0 or value == 0
        if place in roles.allowances and len(keys) > 1 and _named_by_caller(keys[-2]) and not lowered:
            found.append(Movement(index, keys[-2], Change.SET, value))
    asks = {index for index in range(len(graph.nodes)) if _signed(graph, index)}
    return [
        (move.node, privileged) for move, privileged in _passing_without(graph, roles, found, asks, not_himself=True)
    ]


def _passing_without(
    graph: Graph, roles: Roles, candidates: list[Movement], avoided: set[int], *, not_himself: bool = False
) -> list[tuple[Movement, bool]]:
    """Those candidates that a way from the entry passes and ends well behind, touching none of the avoided nodes."""
    if not candidates:
        return []
    closes = privileged_edges(graph, roles.balances | roles.allowances)
    himself = _edges_of_holder(graph) if not_himself else {}

    def avoids(index: int, place: int) -> bool:
        return graph.nodes[index].successors[place] in avoided or himself.get(index) == place

    def avoids_and_closed(index: int, place: int) -> bool:
        return avoids(index, place) or closes(index, place)

    start = () if 0 in avoided else (0,)
    free, open_to_all = ways.reached(graph, start, avoids), ways.reached(graph, start, avoids_and_closed)
    ends = ways.ways_to(graph, ways.good_ends(graph) - avoided, avoided)
    return [
        (move, move.node not in open_to_all)
        for move in candidates
        if move.node not in avoided and move.node in free and move.node in ends
    ]


def _edges_of_holder(graph: Graph) -> dict[int, int]:
    """Edges that are only taken when the caller is himself the account that an argument names."""
    edges: dict[int, int] = {}
    for index, node in enumerate(graph.nodes):
        if isinstance(node.passage.condition, Expression):
            core, sign = stripped(node.passage.condition)
            named = {part.name for part in core.parts if isinstance(part, Expression)}
            if core.name in ("eq", "sub", "xor") and named == {"caller", "arg"}:
                edges[index] = 0 if sign == (core.name == "eq") else 1
    return edges


def _named_by_caller(holder: Word) -> bool:
    return any(leaf.name in ("arg", "memory") for leaf in leaves_of(holder))


def _asks_holder(graph: Graph, index: int, roles: Roles) -> bool:
    passage = graph.nodes[index].passage
    return any(place_of(key) in roles.allowances for key in passage.loads) or _signed(graph, index)


def _signed(graph: Graph, index: int) -> bool:
    """Whether a signature is recovered here, or a contract is asked for one (EIP-1271)."""
    return any(
        call.opcode == op.STATICCALL and (call.target == ECRECOVER or _named_by_caller(call.target))
        for call in graph.nodes[index].passage.calls
    )
