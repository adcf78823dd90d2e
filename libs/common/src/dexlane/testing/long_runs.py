"""Many files of tests in one process: the collector does not walk, again and again, what they have in common.

Towards the end of a run millions of objects live on, and walking them stopped a test for seconds: no time limit
in a test holds then. What lives when a file is over is therefore never walked again.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from dexlane.runtime.collector import keep_for_good


def pytest_collection_finish() -> None:
    """What was imported, and all tests, stay."""
    keep_for_good()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, bool, bool]:
    """After a file's last test, and what its fixtures took down."""
    done = yield
    if nextitem is None or nextitem.path != item.path:
        keep_for_good()
    return done
