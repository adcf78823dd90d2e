"""dexlane: dual-lane DEX auto-trading.

The package is layered, and an import contract keeps it so:
``runtime | chain -> domain -> events -> values``.
"""
