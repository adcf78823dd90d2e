"""Event logs of pools as records of a tape."""

from __future__ import annotations

from dexlane.chain.answers import RawLog
from dexlane.chain.logs import (
    V3_BURN_TOPIC,
    V3_MINT_TOPIC,
    LiquidityChanged,
    PoolSwapped,
    ReservesSynced,
    UnreadableLog,
    decode_log,
)
from dexlane.domain.amm.tick_math import MAX_SQRT_RATIO, MAX_TICK, MIN_SQRT_RATIO, MIN_TICK
from dexlane.domain.tapes.tape import (
    LiquidityRecord,
    PairSwapRecord,
    PoolStart,
    Record,
    ReservesRecord,
    SwapRecord,
)
from dexlane.values.pools import ConcentratedState

V3_INITIALIZE_TOPIC = "0x98636036cb66a9c19a37435efc1e90142190214e8abeb821bdba3f2990dd4c95"
"""``Initialize(uint160 sqrtPriceX96, int24 tick)`` of ``IUniswapV3PoolEvents``: a pool's first event."""

V2_SWAP_TOPIC = "0xd78ad95fa46c994b6551d0da85fc275fe613ce37657fb8d5e3d130840159d822"
"""``Swap(address,uint256,uint256,uint256,uint256,address)`` of ``IUniswapV2Pair``."""

_WORD = 32
_FIRST_AMOUNT = {V3_MINT_TOPIC: 2, V3_BURN_TOPIC: 1}
"""Which word of the data is ``amount0``; other events of liquidity carry no amounts."""


def record_of(log: RawLog, *, pool: int, timestamp_s: int) -> Record | PoolStart | None:
    """What a log adds to a tape: a record, or the start of a pool that is created in it; None for any other event.

    Raises ``UnreadableLog`` when the log is not what its first topic says, or holds values that no pool has.
    """
    if log.topics[:1] == (V3_INITIALIZE_TOPIC,):
        return _start(log)
    record = _record(log, (log.block_number, log.log_index, timestamp_s, pool))
    if record is None:
        return None
    fault = implausible(record)
    if fault:
        raise UnreadableLog(f"log {log.log_index} of block {log.block_number}: {fault}")
    return record


def _record(log: RawLog, place: tuple[int, int, int, int]) -> Record | None:
    if log.topics[:1] == (V2_SWAP_TOPIC,):
        return _pair_swap(log, place)
    change = decode_log(log)
    if isinstance(change, PoolSwapped):
        after = (change.sqrt_price_x96, change.liquidity, change.tick)
        return SwapRecord(*place, change.amount0, change.amount1, *after)
    if isinstance(change, ReservesSynced):
        return ReservesRecord(*place, change.reserve0, change.reserve1)
    if isinstance(change, LiquidityChanged):
        first = _FIRST_AMOUNT.get(log.topics[0])
        amounts = (0, 0) if first is None else (_word(log.data, first), _word(log.data, first + 1))
        edges = (change.tick_lower, change.tick_upper)
        return LiquidityRecord(*place, *edges, change.liquidity_delta, *amounts)
    return None


def _pair_swap(log: RawLog, place: tuple[int, int, int, int]) -> PairSwapRecord:
    if len(log.topics) != 3 or len(log.data) != 4 * _WORD:
        raise UnreadableLog(f"log {log.log_index} of block {log.block_number} is no V2 Swap event")
    in0, in1, out0, out1 = (_word(log.data, word) for word in range(4))
    return PairSwapRecord(*place, in0, in1, out0, out1)


def implausible(record: Record) -> str:
    """Why no pool can have logged this record; empty when one can."""
    if isinstance(record, LiquidityRecord):
        return _position_fault(record)
    if isinstance(record, SwapRecord):
        return _swap_fault(record)
    return "a reserve or amount is out of its range" if min(record[4:]) < 0 or max(record[4:]) >> 256 else ""


def _position_fault(record: LiquidityRecord) -> str:
    if not MIN_TICK <= record.tick_lower < record.tick_upper <= MAX_TICK:
        return f"a position from tick {record.tick_lower} to {record.tick_upper} cannot be"
    if record.amount0 < 0 or record.amount1 < 0:
        return "an amount of a position is negative"
    if max(abs(record.liquidity_delta), record.amount0, record.amount1) >> 128:
        return "a position's liquidity or amount has more than 128 bits"
    return ""


def _swap_fault(record: SwapRecord) -> str:
    if not MIN_TICK - 1 <= record.tick <= MAX_TICK:
        return f"there is no tick {record.tick}"
    if not MIN_SQRT_RATIO <= record.sqrt_price_x96 < MAX_SQRT_RATIO or not 0 <= record.liquidity < 1 << 128:
        return "the price or the liquidity is out of its range"
    if abs(record.amount0) >> 255 or abs(record.amount1) >> 255:
        return "an amount has more than 256 bits"
    return ""


def _start(log: RawLog) -> PoolStart:
    if len(log.topics) != 1 or len(log.data) != 2 * _WORD:
        raise UnreadableLog(f"log {log.log_index} of block {log.block_number} is no Initialize event")
    tick = int.from_bytes(log.data[_WORD:], "big", signed=True)
    state = ConcentratedState(sqrt_price_x96=_word(log.data, 0), tick=tick, liquidity=0)
    return PoolStart(block_number=log.block_number, state=state, complete=True)


def _word(data: bytes, index: int) -> int:
    return int.from_bytes(data[_WORD * index : _WORD * (index + 1)], "big")
