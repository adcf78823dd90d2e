"""Following one chain, and being the one that publishes it."""

from market_feed.feed.follower import AppliedBlock, BlockFollower, ChainHandlers, FollowLimits
from market_feed.feed.writer import MarketWriter, Publisher

__all__ = [
    "AppliedBlock",
    "BlockFollower",
    "ChainHandlers",
    "FollowLimits",
    "MarketWriter",
    "Publisher",
]
