"""Whole systems, started the way a user starts them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dexlane.testing.stack import Stack
from ports import free_shift


def _running(home: Path, *arguments: str) -> Iterator[Stack]:
    stack = Stack(home, free_shift())
    stack.start(*arguments)
    try:
        stack.wait_ready()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def quiet_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything but the recorded flow: only what the test does moves the chain."""
    yield from _running(tmp_path_factory.mktemp("quiet"), "--no-flow")


@pytest.fixture(scope="module")
def flowing_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything, as `make run` starts it."""
    yield from _running(tmp_path_factory.mktemp("flowing"))
