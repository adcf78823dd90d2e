"""Decisions on record: what they were computed from, what is said about them, and how they are computed again."""
