"""Whole systems, started the way a user starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dexlane.testing.stack import Stack


def _shift(offset: int) -> int:
    """Ports of their own for each test process."""
    return 1_000 + os.getpid() % 110 * 100 + offset


def _running(home: Path, offset: int, *arguments: str) -> Iterator[Stack]:
    stack = Stack(home, _shift(offset))
    stack.start(*arguments)
    try:
        stack.wait_ready()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def quiet_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything but the recorded flow: only what the test does moves the chain."""
    yield from _running(tmp_path_factory.mktemp("quiet"), 0, "--no-flow")


@pytest.fixture(scope="module")
def flowing_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything, as `make run` starts it."""
    yield from _running(tmp_path_factory.mktemp("flowing"), 50)
