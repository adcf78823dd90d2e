"""Final slots that are still looked at: a reorganisation deeper than finality must never pass unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from dexlane.chain.execution.slots import Slot
from dexlane.runtime.errors import Fatal


class FinalWatch:
    """The slots that became final in the last blocks.

    Only the newest of them is asked about at every block: as long as its block is canonical, so are all before it.
    ``on_end`` is told the intent of a slot that is looked at no more.
    """

    def __init__(self, blocks: int, on_end: Callable[[str], None]) -> None:
        self._blocks = blocks
        self._on_end = on_end
        self._slots: dict[str, Slot] = {}

    def take(self, slots: Iterable[Slot]) -> None:
        """Look at these from now on."""
        self._slots.update({slot.intent.id: slot for slot in slots if slot.state.included is not None})

    def newest(self, tip: int) -> Sequence[Slot]:
        """The slot in the highest block, as a list of one, or an empty one. Slots too far below the tip are let go."""
        for intent_id, slot in list(self._slots.items()):
            if included_at(slot) <= tip - self._blocks:
                del self._slots[intent_id]
                self._on_end(intent_id)
        return [max(self._slots.values(), key=included_at)] if self._slots else []

    @property
    def all(self) -> Sequence[Slot]:
        """Every slot that is looked at."""
        return list(self._slots.values())

    def let_go(self, slot: Slot) -> None:
        """It is open again."""
        self._slots.pop(slot.intent.id, None)


def included_at(slot: Slot) -> int:
    """The number of the block that includes the slot."""
    return 0 if slot.state.included is None else slot.state.included.block.number


def deep_reorg(undone: Sequence[Slot]) -> Fatal:
    """Why trading stops when final slots were undone."""
    return Fatal(
        f"a reorganisation undid {len(undone)} final transactions of account {undone[0].intent.account}, the first "
        f"with nonce {min(slot.nonce for slot in undone)}: their slots are open again; compare the books with the "
        "chain before trading goes on, and raise the confirmations"
    )
