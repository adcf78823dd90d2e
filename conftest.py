"""Fixtures shared by all members; they live in the test kit so that every member's tests find the same ones."""

pytest_plugins = ("dexlane.testing.fixtures",)
