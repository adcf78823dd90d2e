"""What happens when: the recorded day and the synthetic traders merged on one recorded clock (pure)."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from dexlane_devnet.synthetic import BASE_TRADERS, TRADERS, Intention, intentions, walk
from dexlane_devnet.tape import Tape, TapeEvent


@dataclass(frozen=True, slots=True)
class Rewind:
    """The day is over: bring liquidity and price of the recorded pool back to the start of the tape."""


Action = TapeEvent | Intention | Rewind


@dataclass(frozen=True, slots=True)
class Step:
    """One action at ``at_ms`` recorded milliseconds since the start of the first pass."""

    at_ms: int
    pass_number: int
    action: Action


def steps(tape: Tape, seed: int, *, synthetic: bool = True) -> Iterator[Step]:
    """All steps in time order, endless: the day is replayed pass after pass, the traders never repeat themselves."""
    day_ms = 1000 * tape.duration_s
    streams: list[Iterator[Step]] = [_recorded(tape, day_ms)]
    if synthetic:
        streams += [
            (Step(item.at_ms, item.at_ms // day_ms, item) for item in intentions(seed, trader)) for trader in TRADERS
        ]
    return heapq.merge(*streams, key=lambda step: step.at_ms)


def synthetic_intentions(seed: int) -> Iterator[Intention]:
    """What happens on Base, where nothing is recorded: the leader and the traders on one clock, endless."""
    streams = [walk(seed), *(intentions(seed, trader) for trader in BASE_TRADERS)]
    return heapq.merge(*streams, key=lambda item: item.at_ms)


def _recorded(tape: Tape, day_ms: int) -> Iterator[Step]:
    start = tape.events[0].timestamp
    number = 0
    while True:
        for event in tape.events:
            yield Step(number * day_ms + 1000 * (event.timestamp - start), number, event)
        number += 1
        yield Step(number * day_ms, number, Rewind())
