"""Deterministic simulation: the real services in one process, on a virtual clock, with every fault drawn from a seed.

``python -m simulation`` runs seeds; ``world.py`` says what a world is made of, ``invariants.py`` what must always hold,
``planted.py`` which bugs it must notice.
"""
