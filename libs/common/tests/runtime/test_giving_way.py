"""Whoever is not in a hurry leaves the processors to a fast trade for a moment, and loses no more than that moment."""

from __future__ import annotations

import asyncio

import pytest

from dexlane.runtime.giving_way import GivingWay

PAUSE_S = 0.2


@pytest.fixture
def way() -> GivingWay:
    return GivingWay(int(PAUSE_S * 1_000))


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def handled_at(way: GivingWay, takes_s: float = 0.0) -> float:
    async with way.turn():
        at_s = now_s()
        await asyncio.sleep(takes_s)
        return at_s


async def test_the_first_message_after_a_silence_waits(way: GivingWay) -> None:
    came_s = now_s()
    assert await handled_at(way) - came_s >= PAUSE_S


async def test_what_comes_in_the_pause_waits_for_its_end_and_no_longer(way: GivingWay) -> None:
    first = asyncio.create_task(handled_at(way))
    await asyncio.sleep(PAUSE_S / 2)
    later = asyncio.create_task(handled_at(way))
    assert abs(await first - await later) < PAUSE_S / 2


async def test_a_backlog_waits_once_however_long_each_message_takes(way: GivingWay) -> None:
    began_s = now_s()
    for _ in range(3):
        await handled_at(way, takes_s=1.5 * PAUSE_S)
    assert now_s() - began_s < PAUSE_S + 3 * 1.5 * PAUSE_S + PAUSE_S / 2


async def test_after_a_silence_the_next_one_waits_again(way: GivingWay) -> None:
    await handled_at(way)
    await asyncio.sleep(2 * PAUSE_S)
    came_s = now_s()
    assert await handled_at(way) - came_s >= PAUSE_S


async def test_a_handler_that_fails_was_a_turn_too(way: GivingWay) -> None:
    with pytest.raises(ValueError, match="broken"):
        async with way.turn():
            raise ValueError("broken")
    came_s = now_s()
    assert await handled_at(way) - came_s < PAUSE_S / 2


async def test_without_a_pause_nothing_waits() -> None:
    came_s = now_s()
    assert await handled_at(GivingWay(0)) - came_s < PAUSE_S
