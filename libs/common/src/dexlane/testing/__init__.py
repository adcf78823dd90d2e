"""The test kit: builders, a chain in memory, real servers. Imported by tests only."""
