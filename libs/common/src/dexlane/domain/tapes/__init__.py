"""Tapes: what pools recorded on a chain, kept compactly, and replayed with our own maths."""
