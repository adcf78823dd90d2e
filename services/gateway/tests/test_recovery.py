"""What the gateway asks of the bus before it begins."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import nats.errors
import pytest

from dexlane.events.thoughts import ThoughtsChained
from dexlane.runtime.bus import Bus
from dexlane.runtime.errors import Transient
from gateway.projections.recovery import last_value


async def test_a_bus_that_does_not_tell_a_last_value_is_waited_for() -> None:
    async def silence(*_: object) -> None:
        raise nats.errors.TimeoutError

    bus = cast("Bus", SimpleNamespace(realm="main", js=SimpleNamespace(get_last_msg=silence)))
    with pytest.raises(Transient, match="could not be read"):
        await last_value(bus, ThoughtsChained, 1, "")
