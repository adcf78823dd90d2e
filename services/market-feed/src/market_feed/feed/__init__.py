"""Following one chain, and being the one that publishes it."""

from market_feed.feed.follower import AppliedBlock, BlockFollower, BrokenAnswer, ChainHandlers, FollowLimits
from market_feed.feed.membership import PoolsChange
from market_feed.feed.writer import MarketWriter, Publisher

__all__ = [
    "AppliedBlock",
    "BlockFollower",
    "BrokenAnswer",
    "ChainHandlers",
    "FollowLimits",
    "MarketWriter",
    "PoolsChange",
    "Publisher",
]
