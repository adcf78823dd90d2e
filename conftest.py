"""Fixtures, examples, the order of files, and where they write; they live in the test kit, the same for all."""

pytest_plugins = (
    "dexlane.testing.temporary",
    "dexlane.testing.examples",
    "dexlane.testing.fixtures",
    "dexlane.testing.turns",
    "dexlane.testing.long_runs",
)
