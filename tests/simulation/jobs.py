"""Worlds side by side: each program lives through its share of the seeds, and hands over what became of each."""

from __future__ import annotations

import gc
import multiprocessing
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from simulation.planted import planted
from simulation.processes import remove_home, simulated_surroundings
from simulation.shape import Shape
from simulation.world import Outcome, run_world

COLLECT_EVERY = 8


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is asked of a program."""

    seeds: Sequence[int]
    series: str = "mixed"
    bug: str | None = None
    trace: bool = False
    replay: bool = False


@dataclass(frozen=True)
class Lived:
    """A world; ``again`` is the digest of its second run, where one was asked for."""

    outcome: Outcome
    again: str | None = None


def worlds(order: Order, jobs: int) -> Iterator[Lived]:
    """Every world of an order. With one job in the order of the seeds, with more as they come to their ends."""
    if jobs == 1:
        yield from _live_through(order)
        return
    spawn = multiprocessing.get_context("spawn")
    pipes, programs = [], []
    for place in range(jobs):
        ours, theirs = spawn.Pipe()
        program = spawn.Process(target=_program, args=(theirs, order, place, jobs), daemon=True)
        program.start()
        theirs.close()
        pipes.append(ours)
        programs.append(program)
    try:
        yield from _collected(pipes)
    finally:
        for pipe in pipes:
            pipe.close()
        for program in programs:
            program.join()


def _collected(pipes: Sequence[Connection]) -> Iterator[Lived]:
    open_pipes = list(pipes)
    while open_pipes:
        for pipe in wait(open_pipes):
            assert isinstance(pipe, Connection)
            lived = pipe.recv()  # EOFError: a program died, and its worlds are not known
            if lived is None:
                open_pipes.remove(pipe)
            else:
                yield lived


def _program(pipe: Connection, order: Order, place: int, of: int) -> None:
    share = Order(
        seeds=order.seeds[place::of], series=order.series, bug=order.bug, trace=order.trace, replay=order.replay
    )
    try:
        for lived in _live_through(share):
            pipe.send(lived)
        pipe.send(None)
    except BrokenPipeError:
        return  # nobody wants to know more


def _live_through(order: Order) -> Iterator[Lived]:
    gc.disable()
    try:
        with simulated_surroundings(), warnings.catch_warnings():
            for place, seed in enumerate(order.seeds, 1):
                yield _lived(order, seed)
                if place == 1:
                    gc.freeze()
                if place % COLLECT_EVERY == 0:
                    gc.collect()
    finally:
        gc.unfreeze()
        gc.enable()
        remove_home()


def _lived(order: Order, seed: int) -> Lived:
    shape = Shape.named(order.series, seed)
    with planted(order.bug):
        outcome = run_world(seed, shape, trace=order.trace)
        return Lived(outcome, run_world(seed, shape).digest if order.replay else None)
