"""The highest fees that the replacements of one transaction may be raised to: what the trade brings bounds them."""

from __future__ import annotations

from dexlane.domain.circumstances import Market, PlanningRules
from dexlane.domain.gas_value import NativePrice
from dexlane.domain.rollup_fees import dearest_rollup_fee_wei, planned_size
from dexlane.events.execution import Plan
from dexlane.values.amounts import apply_bps


def exit_budget(trade: Plan, native: NativePrice, market: Market, rules: PlanningRules, share_bps: int) -> int:
    """The highest fee per gas, in wei, that this exit may be raised to: a share of what it brings, less the fee of a
    rollup, over its whole gas limit; never above a multiple of the first cap, or what signers sign."""
    most = min(apply_bps(trade.fee_cap.max_fee_per_gas_wei, rules.exit_fee_budget_bps), rules.most_fee_per_gas_wei)
    worth = native.in_wei(trade.quoted_out)
    if worth is None:
        return most
    return min(most, max(0, apply_bps(worth, share_bps) - _data_fee_wei(trade, market)) // trade.gas_limit)


def entry_budget(trade: Plan, native: NativePrice, market: Market, rules: PlanningRules, edge_bps: int) -> int:
    """The highest fee per gas that replacements of an entry may be raised to: a multiple of the first cap, never above
    what signers sign, and where the trade has an edge no more than that brings, over the whole gas limit."""
    cap = trade.fee_cap.max_fee_per_gas_wei
    most = min(apply_bps(cap, rules.entry_fee_budget_bps), rules.most_fee_per_gas_wei)
    if edge_bps > 0:
        gain = apply_bps(trade.amount_in, edge_bps)
        worth = native.in_wei(gain) or 0
        most = min(most, max(0, worth - _data_fee_wei(trade, market)) // trade.gas_limit)
    return max(cap, most)


def _data_fee_wei(trade: Plan, market: Market) -> int:
    terms = market.data_fee
    return 0 if terms is None else dearest_rollup_fee_wei(terms, planned_size(trade), trade.gas_limit)
