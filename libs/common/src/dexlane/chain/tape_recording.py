"""Recording a tape from a node: complete pools at the first block, then every log of them up to the last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dexlane.chain.answers import Header, RawLog, parse_header, parse_log
from dexlane.chain.node import NodeRpc
from dexlane.chain.pool_loading import ChainReader, PoolUnreadable, WatchedPool, load_pool
from dexlane.chain.rpc import RpcClient, RpcError, RpcUnavailable
from dexlane.chain.tape_logs import record_of
from dexlane.domain.tapes.tape import PoolStart, Record, Tape, TapePool, in_chain_order
from dexlane.values.pools import ConcentratedState, ConstantProductState, Pool, Protocol

FIRST_RANGE = 2_000
"""Blocks asked for at once to begin with; providers that allow fewer refuse, and then it is halved."""
LONGEST_RANGE = 10_000

GetLogs = Callable[[int, int], Awaitable[list[RawLog]]]
"""All logs of the recorded pools in blocks ``first`` to ``last``, both included."""


class RecordingFailed(Exception):  # noqa: N818 - named for what happened
    """The node cannot give a consistent recording; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record: pools by address, and blocks ``first`` to ``last``, both included."""

    addresses: tuple[str, ...]
    first: int
    last: int


async def record_tape(
    client: RpcClient, wanted: Recording, progress: Callable[[int], None] = lambda blocks: None
) -> Tape:
    """Record. ``progress`` is told how many blocks were read.

    Raises ``RecordingFailed``, ``RpcError`` or ``RpcUnavailable``.
    """
    rpc = NodeRpc(client)
    before = await _header(rpc, max(wanted.first - 1, 0))
    pools = [await _start(rpc, before, address) for address in wanted.addresses]

    async def get(first: int, last: int) -> list[RawLog]:
        query = {"fromBlock": hex(first), "toBlock": hex(last), "address": list(wanted.addresses)}
        return [parse_log(answer) for answer in await client.call("eth_getLogs", query)]

    logs = await logs_between(get, wanted.first, wanted.last, progress)
    times = await _times(client, logs)
    if (await _header(rpc, before.number)).hash != before.hash:
        raise RecordingFailed(f"block {before.number} left the chain; record again from blocks that are final")
    numbers = {address: index for index, address in enumerate(wanted.addresses)}
    records: list[Record] = []
    for log in logs:
        found = record_of(log, pool=numbers[log.address], timestamp_s=times[log.block_number])
        if found is not None and not isinstance(found, PoolStart):
            records.append(found)
    source = f"node: blocks {wanted.first} to {wanted.last}"
    return Tape(tuple(pools), in_chain_order(records), source, await rpc.chain_id())


async def logs_between(
    get: GetLogs, first: int, last: int, progress: Callable[[int], None] = lambda blocks: None
) -> list[RawLog]:
    """All logs in a range, asked for in parts: half as long after a refusal, slowly longer after an answer.

    Raises the node's ``RpcError`` or ``RpcUnavailable`` when it refuses even a single block.
    """
    logs: list[RawLog] = []
    length, at = FIRST_RANGE, first
    while at <= last:
        end = min(at + length - 1, last)
        try:
            logs += await get(at, end)
        except (RpcError, RpcUnavailable):
            if end == at:
                raise
            length = max((end - at + 1) // 2, 1)
            continue
        progress(end - at + 1)
        at = end + 1
        length = min(length + length // 4 + 1, LONGEST_RANGE)
    return logs


async def _header(rpc: NodeRpc, number: int) -> Header:
    header = await rpc.block(number)
    if header is None:
        raise RecordingFailed(f"the node has no block {number}")
    return header


async def _start(rpc: NodeRpc, before: Header, address: str) -> TapePool:
    """A pool with its whole state after the block before the first one."""
    try:
        reader = await ChainReader.at(rpc, before.hash)
        pool = await _load(reader, address)
    except PoolUnreadable as error:
        raise RecordingFailed(f"in block {before.number} {address} is no V3 pool and no V2 pair: {error}") from error
    except RpcError as error:
        raise RecordingFailed(
            f"the node does not give the state of block {before.number} ({error}); begin with a later block"
        ) from error
    key, state = pool.key, pool.state
    if not isinstance(state, ConcentratedState | ConstantProductState):
        raise RecordingFailed(f"{address} has neither ticks nor two reserves")
    return TapePool(
        protocol=key.protocol,
        fee_pips=key.fee_pips,
        tick_spacing=key.tick_spacing,
        address=key.address,
        token0=key.token0,
        token1=key.token1,
        start=PoolStart(block_number=before.number, state=state, complete=True),
    )


async def _load(reader: ChainReader, address: str) -> Pool:
    try:
        return await load_pool(reader, WatchedPool(address=address, protocol=Protocol.UNISWAP_V3))
    except PoolUnreadable:
        return await load_pool(reader, WatchedPool(address=address, protocol=Protocol.UNISWAP_V2))


async def _times(client: RpcClient, logs: Iterable[RawLog]) -> Mapping[int, int]:
    """When the blocks of the logs were made, by number. Their hashes must be the logs' own."""
    hashes = {log.block_number: log.block_hash for log in logs}
    numbers = sorted(hashes)
    answers: Sequence[Any] = await client.batch([("eth_getBlockByNumber", (hex(number), False)) for number in numbers])
    times = {}
    for number, answer in zip(numbers, answers, strict=True):
        if isinstance(answer, RpcError):
            raise answer
        header = None if answer is None else parse_header(answer)
        if header is None or header.hash != hashes[number]:
            raise RecordingFailed(f"block {number} left the chain while it was read; record blocks that are final")
        times[number] = header.timestamp_s
    return times
