"""Whether recorded decisions are as they were written, and whether they follow from what they were computed from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dexlane.domain.thoughts.chain import Fault, Head, faults_of_chain, faults_of_contents
from dexlane.domain.thoughts.documents import DocumentError
from dexlane.domain.thoughts.recording import decided_again
from dexlane.events.risk import DecisionRecorded
from dexlane.events.thoughts import content_id
from dexlane.runtime.thought_archive import Asked
from dexlane_cli.thought_sources import Chain, Found, Source, began_by, gathered, referred

REMEMBERED_TEXTS = 50_000


@dataclass
class Verified:
    """What was looked at, and what is wrong with it."""

    heads: dict[int, Head | None] = field(default_factory=dict)
    entries: int = 0
    decisions: int = 0
    documents: int = 0
    no_longer_kept: int = 0
    """Documents that only decisions from before their part of the chain began name, and that are not there."""
    faults: list[Fault] = field(default_factory=list)


async def verified(source: Source, noted: Iterable[Head] = ()) -> Verified:
    """Check every chain, every archived decision, every document, and that there is every one that decisions name."""
    result = Verified()
    heads = list(noted)
    named: dict[str, str] = {}
    named_before: dict[str, str] = {}
    for chain in await source.chains():
        _verify_chain(chain, heads, result)
        for found in _found_in(chain):
            if found.decision.inputs_id is not None:
                by = named_before if found.is_from_before else named
                by[found.decision.inputs_id] = f"decision {found.decision.id}"
    links = await _links(source, result)
    missing = _missing(named, links)
    result.faults += [Fault(None, f"document {name} is missing; {missing[name]} names it") for name in sorted(missing)]
    result.no_longer_kept = len(_missing(named_before, links).keys() - missing.keys())
    return result


def _found_in(chain: Chain) -> Iterator[Found]:
    """Archived decisions, those too that are not in the chain."""
    began = began_by(chain.entries)
    sequences = {entry.about: entry.sequence for entry in chain.entries}
    for decision in chain.decisions.values():
        if decision is not None:
            yield Found(decision, began(sequences.get(decision.id, 0)))


async def _links(source: Source, result: Verified) -> dict[str, set[str]]:
    """What each document names. What a changed one says counts for nothing."""
    links: dict[str, set[str]] = {}
    async for document_id, text in source.documents():
        result.documents += 1
        if content_id(text.encode()) == document_id:
            links[document_id] = referred(text)
        else:
            links[document_id] = set()
            result.faults.append(Fault(None, f"document {document_id} was changed: its contents have another hash"))
    return links


def _missing(named: Mapping[str, str], links: Mapping[str, set[str]]) -> dict[str, str]:
    """Documents that are named, by these or by one another, and are not there; with what names them. What nothing
    leads to any more is on its way out of the archive, and may lack what it names."""
    seen, missing, waiting = set(named), dict[str, str](), list(named.items())
    while waiting:
        document_id, names_it = waiting.pop()
        if document_id not in links:
            missing[document_id] = names_it
            continue
        new = links[document_id] - seen
        seen |= new
        waiting += [(part, f"document {document_id}") for part in new]
    return missing


def _verify_chain(chain: Chain, noted: list[Head], result: Verified) -> None:
    last = chain.entries[-1] if chain.entries else None
    result.heads[chain.name.chain_id] = None if last is None else Head(last.sequence, last.entry_hash)
    result.entries += len(chain.entries)
    result.decisions += len(chain.decisions)
    result.faults += faults_of_chain(chain.name, chain.entries, noted)
    hashes = {key: None if one is None else one.content_hash for key, one in chain.decisions.items()}
    result.faults += faults_of_contents(chain.entries, hashes)


class Outcome(StrEnum):
    """What came of deciding again."""

    SAME = "same"
    DIFFERENT = "different"
    FAULTY_INPUTS = "faulty_inputs"
    NO_INPUTS = "no_inputs"
    NO_LONGER_KEPT = "no_longer_kept"


@dataclass(frozen=True, slots=True)
class ReRun:
    """A decision, decided again. ``why`` says what is different or at fault."""

    decision_id: str
    outcome: Outcome
    why: str = ""


async def re_run(source: Source, asked: Asked, code: str) -> list[ReRun]:
    """Compute decisions again from their recorded inputs and compare the bytes. ``code`` is what runs here."""
    known: dict[str, str] = {}
    results: list[ReRun] = []
    async for found in source.find(asked):
        decision = found.decision
        if decision.inputs_id is None:
            results.append(_without_inputs(decision))
            continue
        if len(known) > REMEMBERED_TEXTS:
            known.clear()
        await gathered(source, decision.inputs_id, known)
        results.append(_decided(found, known, code))
    return results


def _without_inputs(decision: DecisionRecorded) -> ReRun:
    said = "; ".join(decision.reasons)
    return ReRun(decision.id, Outcome.NO_INPUTS, f"it names no inputs; {decision.service} said: {said}")


def _decided(found: Found, known: dict[str, str], code: str) -> ReRun:
    decision = found.decision
    inputs_id = decision.inputs_id or ""
    try:
        again = decided_again(inputs_id, known.get)
    except DocumentError as error:
        if found.is_from_before and error.document_id not in known:
            why = f"document {error.document_id} is no longer kept: the chain was begun anew after this decision"
            return ReRun(decision.id, Outcome.NO_LONGER_KEPT, why)
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
