"""Events of StableSwap pools with Curve's interface.

They do not say what the pool holds afterwards. An exchange is computed again by the adapter, which must come to the
amount in the event; liquidity events carry amounts and fees, from which the balances follow. Where neither works (one
coin taken out, a ramp, a new fee) the pool has to be read anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from dexlane.chain import abi
from dexlane.chain.answers import RawLog
from dexlane.chain.pool_events.base import PoolEvent, uint
from dexlane.domain.amm.changes import CoinsExchanged, LiquidityShifted, TermsChanged

EXCHANGE_TOPIC = "0x8b3e96f2b889fa771c53c981b40daf005f63f637f1869f707052d15a3dd97140"
"""``TokenExchange(address indexed buyer, int128 sold_id, uint256 sold, int128 bought_id, uint256 bought)``."""


def read_exchange(log: RawLog) -> CoinsExchanged:
    """Coins by their place in the contract."""
    data = log.data
    return CoinsExchanged(uint(data, 0, 8), uint(data, 1), uint(data, 2, 8), uint(data, 3))


def read_shift(log: RawLog, *, sign: int, coins: int | None) -> LiquidityShifted:
    """Amounts and fees per coin: two arrays in place, or two lists by their offsets."""
    if coins is None:
        frame = abi.Frame(log.data)
        amounts, fees = frame.words(0), frame.words(1)
    else:
        amounts = [uint(log.data, place) for place in range(coins)]
        fees = [uint(log.data, coins + place) for place in range(coins)]
    return LiquidityShifted(tuple(sign * amount for amount in amounts), tuple(fees) or (0,) * len(amounts))


def read_unsaid(_log: RawLog) -> TermsChanged:
    """What the event leaves out, only the pool can say."""
    return TermsChanged("its event does not say what it holds now")


class _Shift(NamedTuple):
    """A liquidity event: whether amounts come or go, coins (None: lists of any length), words of data."""

    sign: int
    coins: int | None
    words: int | None


SHIFTS: Mapping[str, _Shift] = MappingProxyType(
    {
        "0x26f55a85081d24974e85c6c00045d0f0453991e95873f52bff0d21af4079a768": _Shift(1, 2, 6),
        "0x7c363854ccf79623411f8995b362bce5eddff18c927edc6f5dbbb5e05819a82c": _Shift(-1, 2, 5),
        "0x2b5508378d7e19e0d5fa338419034731416c4f5b219a10379956f764317fd47e": _Shift(-1, 2, 6),
        "0x423f6495a08fc652425cf4ed0d1f9e37e571d9b9529b1c1c23cce780b2e7df0d": _Shift(1, 3, 8),
        "0xa49d4cf02656aebf8c771f5a8585638a2a15ee6c97cf7205d4208ed7c1df252d": _Shift(-1, 3, 7),
        "0x173599dbf9c6ca6f7c3b590df07ae98a45d74ff54065505141e7de6c46a624c2": _Shift(-1, 3, 8),
        "0x3f1915775e0c9a38a57a7bb7f1f9005f486fb904e1f84aa215364d567319a58d": _Shift(1, 4, 10),
        "0x9878ca375e106f2a43c3b599fc624568131c4c9a4ba66a14563715763be9d59d": _Shift(-1, 4, 9),
        "0xb964b72f73f5ef5bf0fdc559b2fab9a7b12a39e47817a547f1f0aee47febd602": _Shift(-1, 4, 10),
        "0x189c623b666b1b45b83d7178f39b8c087cb09774317ca2f53c2d3c3726f222a2": _Shift(1, None, None),
        "0x347ad828e58cbe534d8f6b67985d791360756b18f0d95fd9f197a66cc46480ea": _Shift(-1, None, None),
        "0x3631c28b1f9dd213e0319fb167b554d76b6c283a41143eb400a0d1adb1af1755": _Shift(-1, None, None),
    }
)
"""Of two, three and four coins and of lists, three each: ``AddLiquidity(address indexed, amounts, fees, uint256
invariant, uint256 supply)``, ``RemoveLiquidity`` without the invariant, ``RemoveLiquidityImbalance`` like the first."""

UNSAID: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "0x9e96dd3b997a2a257eec4df9bb6eaf626e206df5f543bd963682d143300be310": (
            2,
            2,
        ),  # RemoveLiquidityOne(address,uint256,uint256)
        "0x5ad056f2e28a8cec232015406b843668c1e36cda598127ec3b8c59b8c72773a0": (
            2,
            3,
        ),  # RemoveLiquidityOne(address,uint256,uint256,uint256)
        "0x6f48129db1f37ccb9cc5dd7e119cb32750cabdf75b48375d730d26ce3659bbe1": (
            2,
            4,
        ),  # RemoveLiquidityOne(address,int128,uint256,uint256,uint256)
        "0xa2b71ec6df949300b59aab36b55e189697b750119dd349fcfa8c0f779e83c254": (
            1,
            4,
        ),  # RampA(uint256,uint256,uint256,uint256)
        "0x46e22fb3709ad289f62ce63d469248536dbc78d82b84a3d7e74ad606dc201938": (1, 2),  # StopRampA(uint256,uint256)
        "0xbe12859b636aed607d5230b2cc2711f68d70e51060e6cca1f575ef5d2fcc95d1": (1, 2),  # NewFee(uint256,uint256)
        "0xa8715770654f54603947addf38c689adbd7182e21673b28bcf306a957aaba215": (1, 1),  # ApplyNewFee(uint256)
    }
)
"""Topics and words of events that leave something out."""

EVENTS: Mapping[str, PoolEvent] = MappingProxyType(
    {
        EXCHANGE_TOPIC: PoolEvent(topics=2, words=4, decode=read_exchange),
        **{
            topic: PoolEvent(2, shift.words, partial(read_shift, sign=shift.sign, coins=shift.coins))
            for topic, shift in SHIFTS.items()
        },
        **{topic: PoolEvent(*shape, read_unsaid) for topic, shape in UNSAID.items()},
    }
)
