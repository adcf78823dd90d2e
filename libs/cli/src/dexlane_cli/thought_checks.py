"""Whether recorded decisions are as they were written, and whether they follow from what they were computed from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from dexlane.domain.thoughts.chain import Fault, Head, faults_of_chain, faults_of_contents
from dexlane.domain.thoughts.documents import DocumentError, references
from dexlane.domain.thoughts.recording import decided_again
from dexlane.events.risk import DecisionRecorded
from dexlane.events.thoughts import content_id
from dexlane_cli.thought_sources import Chain, Source, gathered

REMEMBERED_TEXTS = 50_000


@dataclass
class Verified:
    """What was looked at, and what is wrong with it."""

    heads: dict[int, Head | None] = field(default_factory=dict)
    entries: int = 0
    decisions: int = 0
    documents: int = 0
    faults: list[Fault] = field(default_factory=list)


async def verified(source: Source, noted: Iterable[Head] = ()) -> Verified:
    """Check every chain, every archived decision and every document."""
    result = Verified()
    heads = list(noted)
    named: dict[str, str] = {}
    for chain in await source.chains():
        _verify_chain(chain, heads, result)
        named.update(_inputs_of(chain))
    held: set[str] = set()
    referred: dict[str, str] = dict(named)
    async for document_id, text in source.documents():
        result.documents += 1
        held.add(document_id)
        if content_id(text.encode()) != document_id:
            result.faults.append(Fault(None, f"document {document_id} was changed: its contents have another hash"))
            continue
        referred.update(dict.fromkeys(references(text), f"document {document_id}"))
    missing = sorted(referred.keys() - held)
    result.faults += [Fault(None, f"document {name} is missing; {referred[name]} names it") for name in missing]
    return result


def _verify_chain(chain: Chain, noted: list[Head], result: Verified) -> None:
    last = chain.entries[-1] if chain.entries else None
    result.heads[chain.name.chain_id] = None if last is None else Head(last.sequence, last.entry_hash)
    result.entries += len(chain.entries)
    result.decisions += len(chain.decisions)
    result.faults += faults_of_chain(chain.name, chain.entries, noted)
    hashes = {key: None if one is None else one.content_hash for key, one in chain.decisions.items()}
    result.faults += faults_of_contents(chain.entries, hashes)


def _inputs_of(chain: Chain) -> dict[str, str]:
    return {
        one.inputs_id: f"decision {one.id}"
        for one in chain.decisions.values()
        if one is not None and one.inputs_id is not None
    }


class Outcome(StrEnum):
    """What came of deciding again."""

    SAME = "same"
    DIFFERENT = "different"
    FAULTY_INPUTS = "faulty_inputs"
    NO_INPUTS = "no_inputs"


@dataclass(frozen=True, slots=True)
class ReRun:
    """A decision, decided again. ``why`` says what is different or at fault."""

    decision_id: str
    outcome: Outcome
    why: str = ""


async def re_run(source: Source, decisions: Iterable[DecisionRecorded], code: str) -> list[ReRun]:
    """Compute decisions again from their recorded inputs and compare the bytes. ``code`` is what runs here."""
    known: dict[str, str] = {}
    results: list[ReRun] = []
    for decision in decisions:
        if decision.inputs_id is None:
            results.append(_without_inputs(decision))
            continue
        if len(known) > REMEMBERED_TEXTS:
            known.clear()
        await gathered(source, decision.inputs_id, known)
        results.append(_decided(decision, known, code))
    return results


def _without_inputs(decision: DecisionRecorded) -> ReRun:
    said = "; ".join(decision.reasons)
    return ReRun(decision.id, Outcome.NO_INPUTS, f"it names no inputs; {decision.service} said: {said}")


def _decided(decision: DecisionRecorded, known: dict[str, str], code: str) -> ReRun:
    inputs_id = decision.inputs_id or ""
    try:
        again = decided_again(inputs_id, known.get)
    except DocumentError as error:
        return ReRun(decision.id, Outcome.FAULTY_INPUTS, str(error))
    except (ValueError, KeyError, TypeError) as error:
        why = f"document {inputs_id} cannot be read by this version: {' '.join(str(error).split())[:200]}"
        return ReRun(decision.id, Outcome.FAULTY_INPUTS, why + _other_code(decision, code))
    if again.to_wire() == decision.to_wire():
        return ReRun(decision.id, Outcome.SAME)
    differing = ", ".join(_differing(decision, again))
    return ReRun(decision.id, Outcome.DIFFERENT, f"it differs in {differing}{_other_code(decision, code)}")


def _differing(one: DecisionRecorded, other: DecisionRecorded) -> Iterator[str]:
    for name in type(one).model_fields:
        if getattr(one, name) != getattr(other, name):
            yield name


def _other_code(decision: DecisionRecorded, code: str) -> str:
    was = decision.inputs.get("code", "")
    return "" if was == code else f"; it was decided by the rules {was or 'of an older record'}, and {code} runs here"
