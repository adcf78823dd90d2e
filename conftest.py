"""Fixtures and the order of files, shared by all members; they live in the test kit so that all tests find the same."""

pytest_plugins = ("dexlane.testing.fixtures", "dexlane.testing.turns")
