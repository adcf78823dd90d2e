"""What exploring leaves out is said: functions beyond the limit, and measurements that break off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from dexlane.chain.link import RpcError
from dexlane.chain.token_check import switches
from dexlane.chain.token_check.asking import Head
from dexlane.chain.token_check.exploring import Ask, Explorer
from dexlane.chain.token_check.probe import Exploration, Told
from dexlane.chain.token_check.subject import Subject
from dexlane.chain.token_check.venues import Pool, UniswapV2
from dexlane.testing.told_node import ToldNode

TOKEN, OWNER = "0x" + "7" * 40, "0x" + "5" * 40
DONE = Told(ok=True, gas=1, size=32, word=10**18)


def nobody(method: str, params: Sequence[Any]) -> None:
    """A node that knows nothing of the slots it is asked for."""
    assert method == "eth_getStorageAt", params


@dataclass
class Answered(Explorer):
    """Every call succeeds and every holder sells; ``broken`` of the measurements break off in this state."""

    broken: int = 0
    state: int = 2

    async def ask(self, asks: Sequence[Ask]) -> list[Exploration | RpcError]:
        """Answers without a node."""
        return [self._answer(ask) for ask in asks]

    def _answer(self, ask: Ask) -> Exploration:
        lost = self.broken if ask.suffix else 0
        whole = (DONE,) * (len(ask.suffix) + 1)
        branches = tuple(None if at < lost else whole for at in range(len(ask.tried)))
        return Exploration((DONE,) * len(ask.steps), branches, lost if self.state == 2 else 0)


def subject(functions: int) -> Subject:
    """A token with an owner and so many functions."""
    code = b"".join(b"\x63" + (0x11111111 + number).to_bytes(4, "big") for number in range(functions))
    head = Head(1, "0x" + "0" * 64, 1, 10**9, 30_000_000, "0x" + "0" * 40, "0x" + "0" * 64)
    weth = "0x" + "3" * 40
    pool = Pool(UniswapV2("0x" + "6" * 40), weth, weth, "0x" + "4" * 40, 10**20, 10**24)
    targets: Mapping[str, bytes] = {TOKEN: code}
    return Subject(TOKEN, head, pool, 10**27, 18, (OWNER,), targets, frozenset(), strange_proxy=False)


async def explored(functions: int, **broken: int) -> tuple[str, ...]:
    found = await Answered(ToldNode(nobody), subject(functions), simulates=True, **broken).explore()
    assert found.switches is not None
    return found.missing


async def test_functions_beyond_the_limit_are_said_and_those_within_it_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(switches, "MAX_MEASURED", 10**6)
    assert await explored(switches.MAX_SELECTORS) == ()
    assert await explored(switches.MAX_SELECTORS + 3) == ("3 functions were not tried: there are too many",)
    assert switches.MAX_SELECTORS >= 60, "benign tokens with roles and votes have so many"


@pytest.mark.parametrize("state", [0, 2])
async def test_a_switch_whose_measurement_breaks_off_is_said(state: int) -> None:
    assert await explored(1, broken=1, state=state) == ("1 calls could not be measured: they use too much gas",)
    assert await explored(1) == ()
