"""How large a trade is, in both of its figures."""

from __future__ import annotations

from pydantic import Field

from dexlane.values.amounts import Amount
from dexlane.values.base import Value


class TradeSize(Value):
    """One size: an amount, and the same as a share of the lane's capital (rounded down). The amount is what is traded;
    the share is never computed from anything else."""

    amount: Amount = Field(gt=0, description="quote units")
    share_bps: int = Field(ge=0, description="of the capital of the lane")
    held_by: str | None = Field(default=None, description="the control that held it down; None when none did")
    reason: str
