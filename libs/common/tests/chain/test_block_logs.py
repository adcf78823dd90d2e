"""What a node is asked for, and when its answer is not believed to be whole."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

import pytest

from dexlane.chain.answers import RawLog
from dexlane.chain.block_logs import MOST_ADDRESSES, LogsWanted
from dexlane.chain.bloom import bloom_mask
from dexlane.chain.logs import V2_SYNC_TOPIC
from dexlane.chain.node import NodeRpc
from dexlane.chain.pool_events import POOL_EVENTS
from dexlane.testing.builders import V2_POOL, V3_POOL_500, a_hash, an_address

FEW = [V2_POOL, V3_POOL_500]
MANY = [an_address(str(number)) for number in range(MOST_ADDRESSES + 1)]


def a_log(address: str) -> RawLog:
    return RawLog(address, (V2_SYNC_TOPIC,), b"", 1, a_hash("block"), a_hash("tx"), 0)


def bloom_of(*items: str) -> int:
    return reduce(or_, map(bloom_mask, items), 0)


def test_few_pools_are_asked_for_by_address_and_many_by_topic() -> None:
    assert list(LogsWanted(FEW).addresses) == FEW
    assert LogsWanted(MANY[:-1]).by_topic is False
    assert (LogsWanted(MANY).by_topic, list(LogsWanted(MANY).addresses)) == (True, [])


def test_each_pool_that_a_sparse_bloom_names_must_have_logged() -> None:
    wanted, bloom = LogsWanted(FEW), bloom_of(*FEW, V2_SYNC_TOPIC)
    assert wanted.may_lack(bloom, [])
    assert wanted.may_lack(bloom, [a_log(V2_POOL)])
    assert not wanted.may_lack(bloom, [a_log(V2_POOL), a_log(V3_POOL_500)])
    assert not wanted.may_lack(0, [])


def test_a_full_bloom_is_believed_about_no_single_pool_but_about_an_empty_answer() -> None:
    wanted, full = LogsWanted(FEW), 2**2_048 - 1
    assert wanted.may_lack(full, [])
    assert not wanted.may_lack(full, [a_log(V2_POOL)])


def test_an_empty_answer_by_topic_is_doubted_when_the_bloom_names_an_event_of_pools() -> None:
    wanted = LogsWanted(MANY)
    assert wanted.may_lack(bloom_of(V2_SYNC_TOPIC), [])
    assert not wanted.may_lack(bloom_of(V2_SYNC_TOPIC), [a_log(V2_POOL)])
    assert not wanted.may_lack(bloom_of(*MANY[:3]), [])


class Asked:
    """Keeps the request, answers with no logs."""

    def __init__(self) -> None:
        self.filter: dict[str, Any] = {}

    async def call(self, method: str, *params: Any) -> list[Any]:
        assert method == "eth_getLogs"
        [self.filter] = params
        return []


@pytest.mark.parametrize("watched", [FEW, MANY])
async def test_the_node_gets_addresses_or_the_topics_of_every_event_that_changes_a_pool(watched: list[str]) -> None:
    client = Asked()
    await NodeRpc(client).logs(a_hash("block"), LogsWanted(watched).addresses)  # type: ignore[arg-type]
    restriction = {"topics": [list(POOL_EVENTS)]} if watched is MANY else {"address": FEW}
    assert client.filter == {"blockHash": a_hash("block"), **restriction}
