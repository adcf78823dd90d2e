"""The sanctions list and the compliance rules: those that ship with dexlane, or files of the operator."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from dexlane.domain.risk.compliance import ComplianceRules
from dexlane.domain.risk.sanctions import SanctionsList
from dexlane.runtime.errors import Misconfigured


@cache
def built_in_sanctions() -> SanctionsList:
    """The list that ships with dexlane, with what is known of its history."""
    return SanctionsList.parse(_text("sanctions_default.txt"))


@cache
def built_in_rules() -> ComplianceRules:
    """The rules that ship with dexlane: an example to be replaced by the operator's own."""
    return ComplianceRules.parse(_text("compliance_default.toml"))


def load_sanctions(path: Path | None) -> SanctionsList:
    """The list of a file, or the built-in one. ``Misconfigured`` for a file that cannot be used as a whole."""
    return built_in_sanctions() if path is None else _loaded(SanctionsList, path, "the sanctions list")


def load_rules(path: Path | None) -> ComplianceRules:
    """The rules of a TOML file, or the built-in ones. ``Misconfigured`` for a file that cannot be used as a whole."""
    return built_in_rules() if path is None else _loaded(ComplianceRules, path, "the compliance file")


def _loaded(kind: type[Any], path: Path, what: str) -> Any:
    try:
        return kind.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{what} {path} cannot be used: {error}") from error


def _text(name: str) -> str:
    return (files("dexlane.runtime") / name).read_text(encoding="utf-8")
