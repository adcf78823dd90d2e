"""What is known of the bus before the first decision."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import nats.errors
import pytest

from dexlane.chain.execution.last_values import load_last_values
from dexlane.chain.execution.side_values import SideValues
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Transient


async def test_a_broker_that_does_not_answer_at_the_start_is_waited_for_and_halts_nobody() -> None:
    async def silence(*_: object, **__: object) -> None:
        raise nats.errors.TimeoutError

    bus = cast("Bus", SimpleNamespace(realm="main", js=SimpleNamespace(stream_info=silence)))
    with pytest.raises(Transient, match="last values of chain 1"):
        await load_last_values(bus, SideValues(), 1)
