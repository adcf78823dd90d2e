"""What a member imports, it also declares: an image installs nothing but that.

In the developers' environment everything is installed, so a forgotten dependency shows only in production.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from importlib import metadata

import pytest
from house_rules import SERVICES, Source, all_sources, package_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dexlane_cli.commands import COMMANDS

BY_NAME: dict[str, tuple[str, ...]] = {
    "dexlane.runtime.endpoints": ("websockets",),  # uvicorn is told to use it by a word
    "dexlane.runtime.journal": ("aiosqlite", "asyncpg"),  # named in database URLs
}
"""Distributions that a module needs without importing them."""
COMMAND_MODULES = sorted({f"dexlane_cli.{command.target.partition(':')[0]}" for command in COMMANDS.values()})
MEMBERS = {
    **{f"dexlane-{name}": (f"{package_of(name)}.app",) for name in SERVICES},
    "dexlane-cli": ("dexlane_cli.main", *COMMAND_MODULES),
}
"""Distribution to the modules that its console script starts, or imports by a name."""
EXTRAS = {"dexlane-cli": frozenset({"fees", "tapes"})}
"""Extras whose parts are imported only when used, with a sentence that names the extra where they are missing."""
OURS = {source.top for source in all_sources()}


@cache
def installed_by(distribution: str, extras: frozenset[str] = frozenset()) -> frozenset[str]:
    """The distribution and everything that comes with it."""
    found: set[str] = set()
    _collect(distribution, extras, found, set())
    return frozenset(found)


def _collect(name: str, extras: frozenset[str], found: set[str], seen: set[tuple[str, frozenset[str]]]) -> None:
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    found.add(canonicalize_name(name))
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        environments: list[dict[str, str]] = [{"extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(requirement.marker.evaluate(one) for one in environments):
            _collect(requirement.name, frozenset(requirement.extras), found, seen)


def modules_behind(*modules: str) -> set[Source]:
    """The sources of ours that importing these modules brings along."""
    known = {source.module: source for source in all_sources()}
    waiting, found = [*modules], set[Source]()
    while waiting:
        name = waiting.pop()
        source = known.get(name) or known.get(name.rpartition(".")[0])
        if source is None or source in found:
            continue
        found.add(source)
        waiting += [imported for _, imported in source.imported() if imported.partition(".")[0] in OURS]
        waiting += [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)]
    return found


def needed_by(sources: Iterable[Source]) -> dict[str, str]:
    """Distribution to the first module that needs it."""
    owners = metadata.packages_distributions()
    needed: dict[str, str] = {}
    for source in sources:
        tops = {name.partition(".")[0] for _, name in source.imported()} - OURS - sys.stdlib_module_names
        for top in tops - {"__future__"}:
            needed.setdefault(canonicalize_name(owners[top][0]), source.module)
        for name in BY_NAME.get(source.module, ()):
            needed.setdefault(name, source.module)
    return needed


def undeclared(distribution: str, *modules: str) -> list[str]:
    present = installed_by(distribution, EXTRAS.get(distribution, frozenset()))
    needed = needed_by(modules_behind(*modules))
    return sorted(f"{name} (for {why})" for name, why in needed.items() if name not in present)


@pytest.mark.parametrize("distribution", MEMBERS)
def test_everything_that_is_needed_is_declared(distribution: str) -> None:
    assert undeclared(distribution, *MEMBERS[distribution]) == []


def test_forgotten_dependency_would_be_found() -> None:
    assert "dexlane-signer" not in installed_by("dexlane-paper-sim")
    assert "coincurve (for dexlane_signer.keys)" in undeclared("dexlane-paper-sim", "dexlane_signer.keys")


def test_paper_sim_is_installed_without_anything_that_signs() -> None:
    assert installed_by("dexlane-paper-sim") & {"dexlane-signer", "coincurve", "eth-account", "eth-keys"} == frozenset()
