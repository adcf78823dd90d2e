"""A held token whose owner switches a tax on: found by the next check, sold at what the tax leaves, on a real chain."""

from __future__ import annotations

from typing import Any

import pytest

from dexlane.chain.rpc import RpcClient
from dexlane.chain.token_check.check import Question, try_token
from dexlane.domain.circumstances import Holdings, Market, Planned, PlanningRules
from dexlane.domain.exits import HeldPosition, evaluate_exit, warned
from dexlane.domain.planning import plan_exit
from dexlane.domain.pool_book import PoolBook
from dexlane.domain.risk.evidence import TrialFacts
from dexlane.domain.risk.token_changes import turned
from dexlane.domain.risk.token_verdict import TrialLimits, judge, trial_facts
from dexlane.events.control import Status
from dexlane.events.portfolio import ExitReason, ExitTriggered
from dexlane.events.risk import TokenFlagged
from dexlane.testing.builders import WETH, a_block_ref, a_book, a_fee_quote, an_exit, an_exposure
from dexlane.values.books import Book, Mode
from dexlane.values.chains import BlockRef
from dexlane.values.pools import ConstantProductState, Pool, PoolKey, Protocol
from dexlane.values.tokens import Token
from dexlane_devnet import ADDRESSES, Devnet, account
from dexlane_devnet.contracts import calldata
from dexlane_devnet.zoo import FAMILIES, KEEPER, Specimen, release
from tokens.zoo_run import V2, zoo_chain

pytestmark = pytest.mark.integration
HOLDER, ROUTER, ETHER = account("test-10").address, ADDRESSES.v2_router02, 10**18
FOREVER = (1 << 256) - 1
SWAP = "(uint256,uint256,address[],address,uint256)"
TAX_PERCENT = 30


async def sent(devnet: Devnet, sender: str, to: str, data: str, wei: int = 0) -> bool:
    request = {"from": sender, "to": to, "data": data, "value": hex(wei), "gas": hex(3_000_000)}
    return bool((await devnet.rpc("eth_sendTransactionSync", request))["status"] == "0x1")


async def held(devnet: Devnet, token: str) -> int:
    data = calldata("balanceOf(address)", HOLDER)
    return int(await devnet.rpc("eth_call", {"to": token, "data": data}, "latest"), 16)


async def checked(client: RpcClient, specimen: Specimen) -> TrialFacts:
    verdict = judge(await try_token(client, Question(specimen.token, V2)), TrialLimits())
    return trial_facts(specimen.token, verdict)


async def market_of(devnet: Devnet, specimen: Specimen, token: Token) -> Market:
    answer = await devnet.rpc("eth_call", {"to": specimen.pool, "data": calldata("getReserves()")}, "latest")
    first, second = int(answer[2:66], 16), int(answer[66:130], 16)
    sides = sorted((token, WETH), key=lambda each: int(each.address, 16))
    key = PoolKey(address=specimen.pool, protocol=Protocol.UNISWAP_V2, token0=sides[0], token1=sides[1], fee_pips=3_000)
    book = PoolBook()
    book.put(Pool(key=key, state=ConstantProductState(reserve0=first, reserve1=second)), a_block_ref())
    return Market(
        chain_id=1, block=a_block_ref(), timestamp_s=1, next_base_fee_wei=10**9, age_ms=0, block_time_s=12,
        pool_book=book, fee_quote=a_fee_quote(), status=Status.ACTIVE,
    )  # fmt: skip


def triggered(specimen: Specimen, facts: TrialFacts, token: Token, book: Book, quantity: int) -> ExitTriggered:
    """What the portfolio makes of the flag that a check raised."""
    block = BlockRef(number=500, hash="0x" + "1" * 64)
    flag = TokenFlagged(
        id="1" * 32, chain_id=1, occurred_at_ms=1, token=specimen.token, flag="failed_trial", reason=facts.reasons[0],
        block=block, sell_tax_bps=facts.lost_in_a_sale_bps,
    )  # fmt: skip
    holding = HeldPosition(token, WETH, quantity, ETHER, 0, warned(None, flag))
    signal = evaluate_exit(book.exits, holding, None)
    assert signal is not None
    assert signal.reason is ExitReason.TOKEN_FLAGGED
    fields: dict[str, Any] = {"token": token, "quote": WETH, "quantity": quantity, "mode": Mode.LIVE}
    return an_exit(**fields, reason=signal.reason, detail=signal.detail, sell_tax_bps=signal.sell_tax_bps)


async def test_a_tax_that_is_switched_on_while_a_token_is_held_is_found_and_left_at_its_price() -> None:
    family = next(each for each in FAMILIES if each.name == "FeeSetter")
    async with zoo_chain() as (devnet, client):
        specimen = await release(devnet, family, 3)
        token = Token(address=specimen.token, symbol="ZOO", decimals=18)
        await devnet.rpc("anvil_setBalance", HOLDER, hex(100 * ETHER))
        path, back = [str(WETH.address), specimen.token], [specimen.token, str(WETH.address)]
        buy = "swapExactETHForTokensSupportingFeeOnTransferTokens(uint256,address[],address,uint256)"
        assert await sent(devnet, HOLDER, ROUTER, calldata(buy, 0, path, HOLDER, FOREVER), ETHER // 10)
        before = await checked(client, specimen)
        assert await sent(devnet, KEEPER, specimen.token, calldata("setFee(uint256)", TAX_PERCENT))
        after = await checked(client, specimen)
        assert (before.sell_tax_bps, after.sell_tax_bps) == (0, pytest.approx(TAX_PERCENT * 100, abs=2))
        assert [finding.flag for finding in turned(before, after)] == ["tax_raised", "failed_trial"]

        book, quantity = a_book(quote=WETH, mode=Mode.LIVE), await held(devnet, specimen.token)
        exit_ = triggered(specimen, after, token, book, quantity)
        book = book.model_copy(update={"accounts": {exit_.lane: exit_.account}})
        holdings = Holdings(exposure=an_exposure(at_work=0, open_positions=0, realised_today=0))
        market, rules = await market_of(devnet, specimen, token), PlanningRules()
        plans = [
            plan_exit(each, book, holdings, market, rules)
            for each in (exit_, exit_.model_copy(update={"sell_tax_bps": 0}))
        ]
        assert all(isinstance(each, Planned) for each in plans), plans
        taxed, blind = (each.plan for each in plans if isinstance(each, Planned))
        assert await sent(devnet, HOLDER, specimen.token, calldata("approve(address,uint256)", ROUTER, FOREVER))
        sell = f"swapExactTokensForTokensSupportingFeeOnTransferTokens{SWAP}"
        least = (blind.minimum_out, taxed.minimum_out)
        calls = [calldata(sell, quantity, minimum, back, HOLDER, FOREVER) for minimum in least]
        assert not await sent(devnet, HOLDER, ROUTER, calls[0]), "a plan that does not know the tax sells nothing"
        assert await sent(devnet, HOLDER, ROUTER, calls[1])
        assert await held(devnet, WETH.address) == pytest.approx(taxed.quoted_out, rel=0.001)
        assert await held(devnet, specimen.token) == 0
