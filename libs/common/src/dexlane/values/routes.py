"""Legs and routes."""

from __future__ import annotations

from pydantic import Field, model_validator

from dexlane.values.amounts import Amount
from dexlane.values.base import Value
from dexlane.values.chains import Address
from dexlane.values.pools import Protocol


class Leg(Value):
    """One swap in one pool."""

    pool: Address
    protocol: Protocol
    fee_pips: int = Field(ge=0, lt=1_000_000)
    token_in: Address
    token_out: Address

    @model_validator(mode="after")
    def _two_tokens(self) -> Leg:
        if self.token_in == self.token_out:
            raise ValueError("a leg trades two different tokens")
        return self


class Route(Value):
    """Legs in order, each starting with what the one before it gave. At most four."""

    legs: tuple[Leg, ...] = Field(min_length=1, max_length=4)

    @model_validator(mode="after")
    def _connected(self) -> Route:
        for before, after in zip(self.legs, self.legs[1:], strict=False):
            if before.token_out != after.token_in:
                raise ValueError("each leg must start with the token that the leg before it gave")
        return self

    @property
    def token_in(self) -> str:
        """What the route is paid with."""
        return self.legs[0].token_in

    @property
    def token_out(self) -> str:
        """What the route gives."""
        return self.legs[-1].token_out

    @property
    def is_cycle(self) -> bool:
        """True when the route ends in the token it started with, as a price gap does."""
        return self.legs[0].token_in == self.legs[-1].token_out


class PlannedPath(Value):
    """One path of a split: how much goes along it, and the least it may bring. Smallest units of its ends."""

    route: Route
    amount_in: Amount = Field(gt=0)
    minimum_out: Amount = Field(gt=0)
