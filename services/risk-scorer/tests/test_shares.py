"""Who holds the liquidity of pools with LP tokens is read beside the verdicts and told in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dexlane.chain.abi import uint
from dexlane.chain.link import Request, RpcError, RpcUnavailable
from dexlane.domain.risk.lp_shares import BURNED, LOCKERS, LpShares, keepers
from dexlane.testing.builders import V2_POOL, a_block_ref, a_pool_v2, a_pool_v3, an_entry_opportunity
from risk_scorer.tokens import ShareDesk

DEAD, LOCKER = "0x000000000000000000000000000000000000dead", next(iter(LOCKERS[1]))


class LpNode:
    """Answers about the LP tokens of one pool: 1,000 of them, some kept."""

    def __init__(self) -> None:
        self.kept = {DEAD: 600, LOCKER: 250}
        self.total: Any = 1_000
        self.down = False
        self.asked: set[str] = set()

    async def batch(self, requests: Sequence[Request], *, timeout_s: float | None = None) -> list[Any]:
        """As ``RpcClient.batch``."""
        if self.down:
            raise RpcUnavailable("not connected")
        return [self._answer(call["to"], call["data"]) for _, (call, _) in requests]

    def _answer(self, pool: str, data: str) -> Any:
        self.asked.add(pool)
        if len(data) > 10:
            return "0x" + uint(self.kept.get("0x" + data[-40:], 0)).hex()
        return self.total if not isinstance(self.total, int) else "0x" + uint(self.total).hex()


def desk(bench: Any, node: LpNode) -> ShareDesk:
    return ShareDesk(1, node, bench.clock, bench.moments, 1.0)


async def test_burned_and_locked_shares_are_read_with_their_block(bench: Any) -> None:
    node = LpNode()
    shares = desk(bench, node)
    await shares.gather([a_pool_v2(), a_pool_v3()], a_block_ref(100))
    assert node.asked == {V2_POOL}
    seen = shares.of([V2_POOL, a_pool_v3().key.address])[V2_POOL]
    assert (seen.block, seen.value.total) == (100, 1_000)
    assert (seen.value.burned_bps, seen.value.locked_bps) == (6_000, 2_500)
    assert set(seen.value.held) == set(keepers(1))


async def test_what_the_node_does_not_tell_is_not_known(bench: Any) -> None:
    node = LpNode()
    shares = desk(bench, node)
    node.total = RpcError(3, "execution reverted", "0x")
    await shares.gather([a_pool_v2()], a_block_ref(100))
    node.total = "0x12"
    await shares.gather([a_pool_v2()], a_block_ref(101))
    node.down = True
    await shares.gather([a_pool_v2()], a_block_ref(102))
    assert shares.of([V2_POOL]) == {}


async def test_verdicts_tell_what_is_known_and_score_it_not(bench: Any) -> None:
    opportunity = an_entry_opportunity(block=a_block_ref(100), deadline_block=102)
    before = await bench.scorer.judge(opportunity)
    bench.scorer.desk.shares = desk(bench, LpNode())
    await bench.scorer.desk.shares.gather([a_pool_v2()], a_block_ref(100))
    after = await bench.scorer.judge(opportunity)
    liquidity = next(factor for factor in after.factors if factor.category == "liquidity")
    assert f"of the liquidity of pool {V2_POOL} 60.00 % is burned, 25.00 % with lockers" in liquidity.reasons
    assert after.risk_score == before.risk_score


def test_a_pool_without_lp_tokens_has_no_shares() -> None:
    nothing = LpShares(pool=V2_POOL, total=0, held=dict.fromkeys(BURNED, 0))
    assert nothing.burned_bps is None
    assert nothing.locked_bps is None


def test_more_than_everything_is_everything() -> None:
    assert LpShares(pool=V2_POOL, total=10, held={DEAD: 11}).burned_bps == 10_000
