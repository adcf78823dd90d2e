"""Following chains: blocks in order, and which pools are watched in them."""

from market_feed.feed.follower import (
    AppliedBlock,
    BlockFollower,
    ChainHandlers,
    FollowLimits,
    swapped_amounts,
)
from market_feed.feed.membership import PoolsChange

__all__ = ["AppliedBlock", "BlockFollower", "ChainHandlers", "FollowLimits", "PoolsChange", "swapped_amounts"]
