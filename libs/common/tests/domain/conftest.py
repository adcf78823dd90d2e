"""Hypothesis without a wall-clock deadline: the machine is shared, and a rule is no slower for being checked slowly."""

from __future__ import annotations

from hypothesis import settings

if settings.get_current_profile_name() == "default":
    settings.register_profile("dexlane", deadline=None)
    settings.load_profile("dexlane")
