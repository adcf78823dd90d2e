"""Log lines: complete, in order, and out of the way of what is in a hurry."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from dexlane.runtime.observability import WRITE_AFTER_S, configure_logging


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [orjson.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]


async def test_lines_of_a_busy_moment_are_written_together_a_little_later(capsys: pytest.CaptureFixture[str]) -> None:
    log = configure_logging("test", "INFO")
    log.info("first")
    log.info("second")
    assert lines(capsys) == []
    await asyncio.sleep(5 * WRITE_AFTER_S)
    assert lines(capsys) == ["first", "second"]
    log.info("third")
    await asyncio.sleep(5 * WRITE_AFTER_S)
    assert lines(capsys) == ["third"]


async def test_a_warning_is_written_at_once_with_everything_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    log = configure_logging("test", "INFO")
    log.info("before")
    log.warning("trouble")
    assert lines(capsys) == ["before", "trouble"]


def test_outside_an_event_loop_nothing_waits(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("test", "INFO").info("starting")
    assert lines(capsys) == ["starting"]


def test_what_waits_when_the_loop_ends_is_written_at_exit(capsys: pytest.CaptureFixture[str]) -> None:
    log = configure_logging("test", "INFO")

    async def brief() -> None:
        log.info("last words")

    asyncio.run(brief())
    log.info("after the loop")
    assert lines(capsys) == ["last words", "after the loop"]
