"""What people say about trading: halts, resets of breakers, and the emergency stop."""

from gateway.statuses.keeper import OPERATOR, StatusKeeper, StatusRefused

__all__ = ["OPERATOR", "StatusKeeper", "StatusRefused"]
