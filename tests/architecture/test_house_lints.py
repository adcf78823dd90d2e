"""House rules that a syntax tree can check. Every rule is proved on a planted breach."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from house_rules import SERVICES, Rule, Source, breaches, name_of, package_of, planted

MONEY = ("dexlane.values", "dexlane.events", "dexlane.domain")
STATISTICS: dict[str, str] = {
    "dexlane.domain.amm.tick_math": "a logarithm finds the tick; near a tick's price exact integers decide",
    "dexlane.domain.market_statistics": "volatility is a statistic of past prices, never an amount",
    "dexlane.domain.fees.blocks": "gas_used_ratio is eth_feeHistory's statistic of past blocks, never an amount",
    "dexlane.domain.fees.outlook": "a probability; the tip is one of the recorded integers",
    "dexlane.domain.routing.curves": "choose among paths; what is returned is quoted exactly",
    "dexlane.domain.routing.cycles": "rank cycles by virtual reserves; sizes and profits are quoted exactly",
    "dexlane.domain.routing.ranking": "ranks cycles by columns; the best are sized and quoted exactly",
}
"""Modules of the pure packages that may use floats, each with its reason."""
FLOAT_FIELDS = {"elapsed_ms"}
CLOCKS: dict[str, str] = {
    "dexlane.runtime.clock": "the clock of all services",
    "dexlane_devnet.clock": "the devnet is a distribution of its own",
    "dexlane_signer.signer": "the signer imports nothing of dexlane; its policy receives the time as an argument",
}
ENVIRONMENT: dict[str, str] = {
    "dexlane.runtime.service": "run() hands the environment to the settings, once",
    "dexlane.testing": "servers may be given by the environment of a test run",
    "dexlane_cli": "a command of people",
    "dexlane_devnet.anvil": "DEXLANE_ANVIL names another anvil",
    "dexlane_devnet.build": "DEXLANE_CACHE names another cache folder",
}
BROAD: dict[str, str] = {
    "dexlane.runtime.consuming": "gives every unforeseen error its class",
    "dexlane.runtime.service": "a background task that ends must end the service",
}
FORBIDDEN_WORDS = {"util", "utils", "helper", "helpers", "misc", "manager", "managers", "enhanced", "engine", "engines"}
WALL_CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today", "datetime.today"}
PACKAGES = {package_of(name) for name in SERVICES}


def no_floats_for_money(source: Source) -> Iterator[str]:
    if not source.within(*MONEY) or source.module in STATISTICS:
        return
    allowed = {id(part) for node in source.walk(ast.AnnAssign) if _is_float_field(node) for part in ast.walk(node)}
    for node in source.walk(ast.Constant, ast.Name):
        if id(node) in allowed:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield f"{source.where}:{node.lineno}: the literal {node.value} is a float"
        if isinstance(node, ast.Name) and node.id in {"float", "complex"}:
            yield f"{source.where}:{node.lineno}: {node.id} cannot hold every amount"


def _is_float_field(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in FLOAT_FIELDS


def no_true_division_of_money(source: Source) -> Iterator[str]:
    if not source.within(*MONEY) or source.module in STATISTICS:
        return
    for node in source.walk(ast.BinOp, ast.AugAssign):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield f"{source.where}:{node.lineno}: '/' makes a float of two integers; use '//' and say how it rounds"


def no_broad_except(source: Source) -> Iterator[str]:
    """A handler that cleans up and raises again swallows nothing and is allowed."""
    if source.module in BROAD:
        return
    for node in source.walk(ast.ExceptHandler):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _raises_again(node):
            yield f"{source.where}:{node.lineno}: name the errors that are expected here"


def _is_broad(kind: ast.expr | None) -> bool:
    if kind is None:
        return True
    parts = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return any(name_of(part).rpartition(".")[2] in {"Exception", "BaseException"} for part in parts)


def _raises_again(node: ast.ExceptHandler) -> bool:
    last = node.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def no_wall_clock(source: Source) -> Iterator[str]:
    if source.module in CLOCKS:
        return
    for node in source.walk(ast.Attribute):
        if any(name_of(node) == clock or name_of(node).endswith("." + clock) for clock in WALL_CLOCK):
            yield f"{source.where}:{_line(node)}: take a Clock instead of {name_of(node)}"
    for line, name in source.imported():
        if name in WALL_CLOCK:
            yield f"{source.where}:{line}: take a Clock instead of importing {name}"


def no_environment_outside_settings(source: Source) -> Iterator[str]:
    if source.within(*ENVIRONMENT) or source.module.rpartition(".")[2] == "settings":
        return
    for node in source.walk(ast.Attribute):
        if name_of(node) in {"os.environ", "os.getenv"}:
            yield f"{source.where}:{_line(node)}: settings modules are the only readers of the environment"
    for line, name in source.imported():
        if name in {"os.environ", "os.getenv"}:
            yield f"{source.where}:{line}: settings modules are the only readers of the environment"


def names_say_what_they_are(source: Source) -> Iterator[str]:
    for part in source.module.split("."):
        for word in part.split("_"):
            if word in FORBIDDEN_WORDS:
                yield f"{source.where}: {word!r} says nothing; name the noun"
    for node in source.walk(ast.ClassDef):
        words = {word.lower() for word in re.findall(r"[A-Z][a-z0-9]*", getattr(node, "name", ""))}
        if words & FORBIDDEN_WORDS:
            yield f"{source.where}:{_line(node)}: a class named {getattr(node, 'name', '')} says nothing"


def nothing_left_to_do(source: Source) -> Iterator[str]:
    for line, comment in source.comments():
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", comment):
            yield f"{source.where}:{line}: do it or leave it out: {comment}"


def no_prints(source: Source) -> Iterator[str]:
    if source.top == "dexlane_cli":
        return
    for node in source.walk(ast.Call):
        if name_of(node) == "print":
            yield f"{source.where}:{_line(node)}: log it, or leave it to the command line"


def no_test_kit_in_sources(source: Source) -> Iterator[str]:
    if source.within("dexlane.testing"):
        return
    for line, name in source.imported():
        if name == "dexlane.testing" or name.startswith("dexlane.testing."):
            yield f"{source.where}:{line}: only tests import dexlane.testing"


def services_are_strangers(source: Source) -> Iterator[str]:
    if source.top == "dexlane_cli":
        return
    for line, name in source.imported():
        top = name.partition(".")[0]
        if top in PACKAGES and top != source.top:
            yield f"{source.where}:{line}: {source.top} imports the service {top}; facts are the only coupling"


def paper_knows_no_signer(source: Source) -> Iterator[str]:
    if source.top != "paper_sim":
        return
    for line, name in source.imported():
        if name.startswith(("dexlane_signer", "dexlane.chain", "eth_account", "coincurve")):
            yield f"{source.where}:{line}: the paper path must not reach a key: {name}"


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


PLANTED: dict[Rule, list[Source]] = {
    no_floats_for_money: [
        planted("half = 0.5"),
        planted("price = float('1')"),
        planted("def quote(amount: float) -> int: ...", "dexlane.events.planted"),
    ],
    no_true_division_of_money: [planted("edge = gain / cost"), planted("share /= 2", "dexlane.values.planted")],
    no_broad_except: [
        planted("try:\n    go()\nexcept Exception:\n    pass"),
        planted("try:\n    go()\nexcept:\n    pass"),
        planted("try:\n    go()\nexcept (ValueError, BaseException) as error:\n    log(error)", "gateway.planted"),
    ],
    no_wall_clock: [
        planted("import time\nnow = time.time()", "gateway.planted"),
        planted("import datetime\nnow = datetime.datetime.now(datetime.UTC)", "gateway.planted"),
        planted("from time import time_ns", "gateway.planted"),
    ],
    no_environment_outside_settings: [
        planted("import os\nurl = os.environ['URL']", "gateway.planted"),
        planted("from os import getenv", "gateway.planted"),
    ],
    names_say_what_they_are: [
        planted("", "dexlane.domain.price_utils"),
        planted("", "dexlane.helpers.price"),
        planted("class RiskManager: ..."),
    ],
    nothing_left_to_do: [planted("x = 1  # TODO: finish"), planted("# FIXME later")],
    no_prints: [planted("print('hello')", "gateway.planted")],
    no_test_kit_in_sources: [planted("from dexlane.testing.builders import a_book", "gateway.planted")],
    services_are_strangers: [
        planted("from portfolio.store import tables", "gateway.planted"),
        planted("import risk_scorer", "gateway.planted"),
    ],
    paper_knows_no_signer: [
        planted("from dexlane_signer import guard", "paper_sim.planted"),
        planted("from dexlane.chain import txmgr", "paper_sim.planted"),
    ],
}
every_rule = pytest.mark.parametrize("rule", PLANTED, ids=lambda rule: rule.__name__)


@every_rule
def test_rule_is_kept_everywhere(rule: Rule) -> None:
    assert breaches(rule) == []


@pytest.mark.parametrize(
    ("rule", "source"),
    [(rule, source) for rule, sources in PLANTED.items() for source in sources],
    ids=lambda item: item.__name__ if callable(item) else None,
)
def test_planted_breach_is_found(rule: Rule, source: Source) -> None:
    assert len(breaches(rule, (source,))) == 1


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (no_floats_for_money, planted("elapsed_ms: float | None = None", "dexlane.events.planted")),
        (no_floats_for_money, planted("ratio = 0.5", "dexlane.runtime.planted")),
        (no_broad_except, planted("try:\n    go()\nexcept BaseException:\n    close()\n    raise")),
        (no_broad_except, planted("try:\n    go()\nexcept ValueError:\n    pass")),
        (no_environment_outside_settings, planted("import os\nx = os.environ", "gateway.settings")),
        (names_say_what_they_are, planted("engine = create_engine()", "dexlane.runtime.journal")),
        (nothing_left_to_do, planted("text = 'TODO'")),
        (services_are_strangers, planted("from gateway.books import Books", "gateway.planted")),
    ],
)
def test_what_is_allowed_is_not_reported(rule: Rule, source: Source) -> None:
    assert breaches(rule, (source,)) == []


@pytest.mark.parametrize("exceptions", [STATISTICS, CLOCKS, BROAD], ids=["statistics", "clocks", "broad"])
def test_every_exception_is_still_needed(exceptions: dict[str, str]) -> None:
    rule: Rule = {id(STATISTICS): no_floats_for_money, id(CLOCKS): no_wall_clock, id(BROAD): no_broad_except}[
        id(exceptions)
    ]
    from house_rules import all_sources

    for module in exceptions:
        (source,) = [source for source in all_sources() if source.module == module]
        stranger = Source(source.path, f"{source.module}_elsewhere", source.text)
        assert breaches(rule, (stranger,)) != [], f"{module} needs no exception any more"
