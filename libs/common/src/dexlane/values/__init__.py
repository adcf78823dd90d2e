"""Frozen values shared by every layer: amounts, chains, tokens, pools, routes and books."""
