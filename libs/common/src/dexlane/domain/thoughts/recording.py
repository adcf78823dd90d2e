"""Decisions with their inputs, as the facts that a service publishes; and the same computed again from documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dexlane.domain.thoughts.calls import Thought, called_again
from dexlane.domain.thoughts.documents import Apart, Fetch, Library, Round, resolve
from dexlane.domain.thoughts.saying import decision_of
from dexlane.events.risk import DecisionRecorded
from dexlane.events.thoughts import DocumentsRecorded

MOST_CHARS_TOLD = 1_000_000
"""Texts of one message; a single document of more goes alone. The broker takes eight million bytes."""


@dataclass(frozen=True)
class Recorded:
    """Facts to publish, documents first; ``keep`` when it is certain that they go out."""

    events: tuple[DocumentsRecorded | DecisionRecorded, ...]
    round: Round

    def keep(self) -> None:
        """The documents need not be told again for a while."""
        self.round.keep()


@dataclass
class Recorder:
    """Writes the decisions of one service. It remembers what it told, and nothing else."""

    library: Library = field(default_factory=Library)

    def recorded(self, thoughts: Sequence[Thought], now_ms: int) -> Recorded:
        """These decisions with what they were computed from. Nothing counts as told before ``keep``."""
        taken = self.library.round(now_ms)
        decisions = [decision_of(thought, inputs_of(taken, thought)) for thought in thoughts]
        documents = _told(taken.texts, decisions[0].chain_id, now_ms) if decisions else ()
        return Recorded((*documents, *decisions), taken)


def inputs_of(taken: Round, thought: Thought) -> str:
    """The document of a call: its name, its occasion, and each argument in a document of its own."""
    arguments = {name: Apart(value) for name, value in thought.arguments.items()}
    return taken.put({"call": thought.call, "arguments": arguments, "occasion": thought.occasion})


def decided_again(inputs_id: str, fetch: Fetch) -> DecisionRecorded:
    """The decision that the recorded inputs lead to with the rules of this version.

    ``DocumentError`` for inputs that are missing or were changed, ``ValueError`` for what this version cannot read.
    """
    inputs = resolve(inputs_id, fetch)
    return decision_of(called_again(inputs["call"], inputs["arguments"], inputs["occasion"]), inputs_id)


def _told(texts: Mapping[str, str], chain_id: int, now_ms: int) -> Iterator[DocumentsRecorded]:
    for names in _batches(texts):
        yield DocumentsRecorded(
            id=DocumentsRecorded.make_id(chain_id, names),
            chain_id=chain_id,
            occurred_at_ms=now_ms,
            documents={name: texts[name] for name in names},
        )


def _batches(texts: Mapping[str, str]) -> Iterator[list[str]]:
    batch: list[str] = []
    chars = 0
    for name, text in texts.items():
        if batch and chars + len(text) > MOST_CHARS_TOLD:
            yield batch
            batch, chars = [], 0
        batch.append(name)
        chars += len(text)
    if batch:
        yield batch
