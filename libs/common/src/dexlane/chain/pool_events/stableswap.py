"""Events of StableSwap pools with Curve's interface.

They do not say what the pool holds afterwards. An exchange is computed again by the adapter, which must come to the
amount in the event; liquidity events carry amounts and fees, from which the balances follow. Where neither works (one
coin taken out, a ramp, a new fee) the pool has to be read anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from dexlane.chain import abi
from dexlane.chain.answers import RawLog
from dexlane.chain.pool_events.base import PoolEvent, uint
from dexlane.domain.amm.changes import CoinsExchanged, LiquidityShifted, TermsChanged
from dexlane_signer import keccak256

EXCHANGE_TOPIC = "0x8b3e96f2b889fa771c53c981b40daf005f63f637f1869f707052d15a3dd97140"
"""``TokenExchange(address indexed buyer, int128 sold_id, uint256 sold, int128 bought_id, uint256 bought)``."""

_COINS = (2, 3, 4)
"""Numbers of coins that fixed arrays come in; newer pools log lists of any length."""


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


def _topic(signature: str) -> str:
    return "0x" + keccak256(signature.encode()).hex()


def _shifts() -> dict[str, PoolEvent]:
    found: dict[str, PoolEvent] = {}
    for coins in (*_COINS, None):
        lists = f"uint256[{coins or ''}],uint256[{coins or ''}]"
        for name, sign, more in (
            ("AddLiquidity", 1, 2),
            ("RemoveLiquidity", -1, 1),
            ("RemoveLiquidityImbalance", -1, 2),
        ):
            words = None if coins is None else 2 * coins + more
            decode = partial(read_shift, sign=sign, coins=coins)
            found[_topic(f"{name}(address,{lists}{',uint256' * more})")] = PoolEvent(2, words, decode)
    return found


_UNSAID = {
    "RemoveLiquidityOne(address,uint256,uint256)": (2, 2),
    "RemoveLiquidityOne(address,uint256,uint256,uint256)": (2, 3),
    "RemoveLiquidityOne(address,int128,uint256,uint256,uint256)": (2, 4),
    "RampA(uint256,uint256,uint256,uint256)": (1, 4),
    "StopRampA(uint256,uint256)": (1, 2),
    "NewFee(uint256,uint256)": (1, 2),
    "ApplyNewFee(uint256)": (1, 1),
}
"""Signature: topics and words."""

EVENTS: Mapping[str, PoolEvent] = MappingProxyType(
    {
        EXCHANGE_TOPIC: PoolEvent(topics=2, words=4, decode=read_exchange),
        **_shifts(),
        **{_topic(signature): PoolEvent(*shape, read_unsaid) for signature, shape in _UNSAID.items()},
    }
)
