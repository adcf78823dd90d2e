"""Which examples property tests try.

The same ones at every run, made from the test itself, so that a red test is about what was changed. ``make explore``
tries others; what it finds becomes an ``@example`` or a narrower rule. Without a deadline: the machine is
shared, and a rule is no slower for being checked slowly.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, derandomize=False, print_blob=True)
settings.load_profile("same")
