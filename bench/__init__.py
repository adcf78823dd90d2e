"""Measurements of what is promised. Run with ``make bench``; never part of the tests."""
