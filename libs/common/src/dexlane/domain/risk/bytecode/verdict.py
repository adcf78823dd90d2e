"""The verdict on a piece of runtime code: flags, a score, and the reason of each flag in a sentence."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from dexlane.domain.risk.bytecode import instructions as op
from dexlane.domain.risk.bytecode.balances import allowances_for_others, movements, taken_from_others, unpaid_credits
from dexlane.domain.risk.bytecode.exploration import Budget, Contract, Graph, deployed_by, explore
from dexlane.domain.risk.bytecode.expressions import Expression, Place, leaves_of, read_by
from dexlane.domain.risk.bytecode.flags import LEAST_OF_INCOMPLETE, WORST, CodeFinding, CodeFlag, score_of
from dexlane.domain.risk.bytecode.instructions import MAX_CODE_BYTES, minimal_proxy_target, program_of, without_metadata
from dexlane.domain.risk.bytecode.limits import Limit, Restriction, limits_of
from dexlane.domain.risk.bytecode.machine import Call
from dexlane.domain.risk.bytecode.names import SUGGESTED, name_of
from dexlane.domain.risk.bytecode.proxies import STANDARDS
from dexlane.domain.risk.bytecode.roles import BALANCE_OF, TRANSFER, TRANSFER_FROM, TRANSFERS, Roles, roles_of
from dexlane.values.base import Value

DEFAULT_BUDGET = Budget()
_STOPPED_BY = {
    Restriction.LISTED: "a list that addresses can be put on",
    Restriction.UNLISTED: "a list that addresses must be on",
    Restriction.SWITCH: "a switch",
    Restriction.LIMIT: "a limit",
    Restriction.TIME: "a time",
    Restriction.IDENTITY: "who takes part, as long as that is asked",
    Restriction.FOREIGN: "a call that can be made to fail",
}


class CodeVerdict(Value):
    """What was found in a piece of runtime code.

    ``complete`` is False when something could not be judged; ``notes`` say what. Such a verdict is no statement about
    what was not found, and scores at least 50.
    """

    score: int = Field(ge=0, le=WORST)
    findings: tuple[CodeFinding, ...]
    complete: bool
    notes: tuple[str, ...]
    steps: int = Field(ge=0, description="instructions walked")

    @property
    def flags(self) -> tuple[CodeFlag, ...]:
        """The flags, each once, sorted."""
        return tuple(sorted({finding.flag for finding in self.findings}))


def judge_code(code: bytes, budget: Budget = DEFAULT_BUDGET) -> CodeVerdict:
    """Judge runtime code, or creation code by the runtime code in it. Every input gives a verdict, and the same input
    the same verdict; the work is bounded by the budget."""
    if not code:
        return unreadable("there is no code")
    if len(code) > MAX_CODE_BYTES:
        return unreadable(f"{len(code)} bytes are more than a contract may have ({MAX_CODE_BYTES})")
    target = minimal_proxy_target(code)
    if target is not None:
        return _forwarding(target)
    contract = explore(program_of(without_metadata(code)), budget)
    runtime = deployed_by(contract)
    if runtime is not None:
        contract = explore(program_of(without_metadata(runtime)), budget)
    return _judged(contract)


def unreadable(reason: str) -> CodeVerdict:
    """The verdict on what cannot be judged at all: the worst score."""
    return CodeVerdict(score=WORST, findings=(), complete=False, notes=(reason,), steps=0)


def _forwarding(target: str) -> CodeVerdict:
    finding = CodeFinding(flag=CodeFlag.PROXY, reason=f"every call is passed on to {target} (EIP-1167)")
    score = max(LEAST_OF_INCOMPLETE, score_of([finding]))
    return CodeVerdict(
        score=score, findings=(finding,), complete=False, notes=("the code that counts lies elsewhere",), steps=0
    )


def _judged(contract: Contract) -> CodeVerdict:
    roles = roles_of(contract)
    notes = tuple(_gaps(contract, roles))
    found = [*_calls(contract), *_mints(contract, roles), *_leaks(contract, roles)]
    found += [*_limits(contract, roles), *_fees(contract, roles)]
    if notes:
        known = {finding.flag for finding in found}
        found += [finding for finding in _by_name(contract) if finding.flag not in known]
    findings = tuple(sorted(set(found), key=lambda finding: (finding.flag, finding.reason)))
    score = score_of(findings)
    if not contract.functions and not findings:
        score = WORST
    elif notes:
        score = max(score, LEAST_OF_INCOMPLETE)
    return CodeVerdict(score=score, findings=findings, complete=not notes, notes=notes, steps=contract.steps)


def _gaps(contract: Contract, roles: Roles) -> Iterator[str]:
    """What could not be judged."""
    if not contract.functions:
        yield "no function is recognised"
    elif BALANCE_OF not in contract.functions:
        yield "there is no balanceOf(address): this is no token, or its code lies elsewhere"
    elif not roles.balances:
        yield "balanceOf(address) reads no balance that is stored in this contract"
    elif not any(movements(graph, roles) for graph in _transfer_graphs(contract)):
        yield "no transfer function moves the balances that balanceOf(address) reads"
    if contract.by_name:
        yield "only functions with usual names were found: the dispatcher computes where to jump"
    if contract.unwalked:
        yield f"{len(contract.unwalked)} function(s) were not walked: the budget was used up"
    spent = sorted(selector for selector, graph in contract.functions.items() if graph.spent)
    if spent:
        yield f"not walked to the end: {', '.join(name_of(selector) for selector in spent)}"


def _transfer_graphs(contract: Contract) -> list[Graph]:
    return [contract.functions[selector] for selector in TRANSFERS if selector in contract.functions]


def _calls(contract: Contract) -> Iterator[CodeFinding]:
    for selector, graph in ((None, contract.dispatcher), *contract.functions.items()):
        where = "the fallback" if selector is None else name_of(selector)
        for node in graph.nodes:
            if node.passage.end == "selfdestruct":
                yield CodeFinding(flag=CodeFlag.SELFDESTRUCT, reason=f"{where} can destroy the contract")
            for call in node.passage.calls:
                if call.opcode in (op.DELEGATECALL, op.CALLCODE):
                    yield from _foreign_code(call, where, fallback=selector is None)


def _foreign_code(call: Call, where: str, *, fallback: bool) -> Iterator[CodeFinding]:
    yield CodeFinding(flag=CodeFlag.DELEGATECALL, reason=f"{where} runs other code on this storage")
    reads = [read_by(leaf) for leaf in leaves_of(call.target)]
    slots = [read[1].root for read in reads if read is not None and read[1].depth == 0]
    standards = sorted({STANDARDS[slot] for slot in slots if isinstance(slot, int) and slot in STANDARDS})
    if standards:
        yield CodeFinding(flag=CodeFlag.PROXY, reason=f"the code can be exchanged ({', '.join(standards)})")
    elif fallback:
        how = "the code of another contract" if isinstance(call.target, int) else "code whose address is looked up"
        yield CodeFinding(flag=CodeFlag.PROXY, reason=f"calls are passed on to {how}")


def _who(privileged: bool) -> str:
    return "a privileged caller" if privileged else "anybody"


def _mints(contract: Contract, roles: Roles) -> Iterator[CodeFinding]:
    for selector, graph in contract.functions.items():
        for _, privileged in unpaid_credits(graph, roles):
            reason = f"by {name_of(selector)} {_who(privileged)} can raise a balance while nobody's falls"
            yield CodeFinding(flag=CodeFlag.HIDDEN_MINT, reason=reason)


def _leaks(contract: Contract, roles: Roles) -> Iterator[CodeFinding]:
    for selector, graph in contract.functions.items():
        if selector != TRANSFER:
            for _, privileged in taken_from_others(graph, roles):
                reason = f"by {name_of(selector)} {_who(privileged)} can take a balance without its holder's allowance"
                yield CodeFinding(flag=CodeFlag.BALANCE_LEAK, reason=reason)
        if selector != TRANSFER_FROM:
            for _, privileged in allowances_for_others(graph, roles):
                reason = f"by {name_of(selector)} {_who(privileged)} can write allowances of others"
                yield CodeFinding(flag=CodeFlag.BALANCE_LEAK, reason=reason)


def _limits(contract: Contract, roles: Roles) -> Iterator[CodeFinding]:
    for selector in TRANSFERS:
        if selector not in contract.functions:
            continue
        for limit in limits_of(contract.functions[selector], roles):
            yield from _stopped(name_of(selector), limit, roles)


def _stopped(where: str, limit: Limit, roles: Roles) -> Iterator[CodeFinding]:
    writers = roles.writers.get(limit.place, ()) if limit.place is not None else ()
    revocable = limit.place is not None and roles.revocable(limit.place)
    final = bool(writers) and not revocable
    setters = ", ".join(sorted({name_of(writer.selector) for writer in writers}))
    written = f"written {'one way ' if final else ''}by {setters}" if setters else "fixed"
    reason = f"{where} can be stopped by {_STOPPED_BY[limit.kind]} ({_at(limit.place)}, {written})"
    yield CodeFinding(flag=CodeFlag.SELL_LIMIT, reason=reason, final=final)
    if limit.kind == Restriction.LISTED and writers:
        yield CodeFinding(flag=CodeFlag.BLACKLIST, reason=reason, final=final)
    if limit.kind == Restriction.SWITCH and revocable:
        yield CodeFinding(flag=CodeFlag.PAUSABLE, reason=reason)


def _fees(contract: Contract, roles: Roles) -> Iterator[CodeFinding]:
    for selector in TRANSFERS:
        for move in movements(contract.functions[selector], roles) if selector in contract.functions else ():
            for leaf in leaves_of(move.value):
                read = read_by(leaf)
                if read is not None and read[1].depth == 0 and roles.revocable(read[1]):
                    reason = f"what {name_of(selector)} moves depends on a settable number ({_at(read[1])})"
                    yield CodeFinding(flag=CodeFlag.FEE_SETTER, reason=reason)


def _at(place: Place | None) -> str:
    if place is None:
        return "in the code"
    root = "a computed slot" if isinstance(place.root, Expression) else f"slot {place.root:#x}"
    bit = f", bit {place.shift}" if place.shift else ""
    return f"{'mapping at ' if place.depth else ''}{root}{bit}"


def _by_name(contract: Contract) -> Iterator[CodeFinding]:
    for selector in (*contract.functions, *contract.unwalked):
        if selector in SUGGESTED:
            reason = f"it has a function {name_of(selector)}; what it does could not be seen"
            yield CodeFinding(flag=SUGGESTED[selector], reason=reason)
