"""Fixtures, the order of files and the place of what they write; they live in the test kit, the same for all."""

pytest_plugins = ("dexlane.testing.temporary", "dexlane.testing.fixtures", "dexlane.testing.turns")
