"""Why a quote cannot be given."""

from __future__ import annotations


class InsufficientLiquidity(ValueError):  # noqa: N818 - the glossary's word, named like the contracts' revert reason
    """The pool cannot carry this order: the contract would revert, or would move no token at all."""
