"""An exit that a person asks for."""

from __future__ import annotations

from dexlane.events.market import BlockApplied
from dexlane.events.portfolio import ExitReason, ExitTriggered, PositionChanged


def manual_exit(
    position: PositionChanged, head: BlockApplied, occasion: str, detail: str, now_ns: int
) -> ExitTriggered:
    """The exit of a whole position; the same occasion is the same exit."""
    who = (position.book_id, position.account, position.token.address, position.position_version)
    return ExitTriggered(
        id=ExitTriggered.make_id(*who, f"{ExitReason.MANUAL.value}-{occasion}"),
        chain_id=position.chain_id,
        occurred_at_ms=now_ns // 1_000_000,
        quantity=position.quantity,
        reason=ExitReason.MANUAL,
        detail=detail,
        block=head.block,
        received_at_ns=now_ns,
        **{name: getattr(position, name) for name in ("book_id", "mode", "lane", "account", "token", "quote")},
        strategy=position.strategy,
    )
