"""Size budgets: what does not fit in the head does not get in."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from house_rules import (
    MAX_CLASS_LINES,
    MAX_FILE_LINES,
    MAX_FUNCTION_LINES,
    MAX_POSITIONAL,
    MAX_PUBLIC_METHODS,
    Function,
    Rule,
    Source,
    breaches,
    lines_of,
    name_of,
    planted,
)

COMMAND_DECORATORS = ("app.command", "app.callback")
"""Options of a command are keyword arguments of people; typer passes them by name."""


def functions(source: Source) -> Iterator[Function]:
    for node in source.walk(ast.FunctionDef, ast.AsyncFunctionDef):
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        yield node


def classes(source: Source) -> Iterator[ast.ClassDef]:
    for node in source.walk(ast.ClassDef):
        assert isinstance(node, ast.ClassDef)
        yield node


def short_files(source: Source) -> Iterator[str]:
    lines = len(source.text.splitlines())
    if lines > MAX_FILE_LINES:
        yield f"{source.where}: {lines} lines, at most {MAX_FILE_LINES}"


def short_functions(source: Source) -> Iterator[str]:
    for node in functions(source):
        if lines_of(node) > MAX_FUNCTION_LINES:
            yield f"{source.where}:{node.lineno}: {node.name} has {lines_of(node)} lines, at most {MAX_FUNCTION_LINES}"


def short_classes(source: Source) -> Iterator[str]:
    for node in classes(source):
        if lines_of(node) > MAX_CLASS_LINES:
            yield f"{source.where}:{node.lineno}: {node.name} has {lines_of(node)} lines, at most {MAX_CLASS_LINES}"


def few_public_methods(source: Source) -> Iterator[str]:
    for node in classes(source):
        methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
        public = [name for name in methods if not name.startswith("_")]
        if len(public) > MAX_PUBLIC_METHODS:
            yield f"{source.where}:{node.lineno}: {node.name} has {len(public)} public methods"


def few_parameters(source: Source) -> Iterator[str]:
    for node in functions(source):
        if any(name_of(decorator).endswith(COMMAND_DECORATORS) for decorator in node.decorator_list):
            continue
        positional = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        count = len([name for name in positional if name not in {"self", "cls"}])
        if count > MAX_POSITIONAL:
            yield f"{source.where}:{node.lineno}: {node.name} takes {count} parameters by position"


def _function_of(lines: int, parameters: str = "") -> str:
    return f"def planted({parameters}):\n" + "    pass\n" * (lines - 1)


def _class_of(methods: int, filler: int = 0) -> str:
    body = "".join(f"    def method_{number}(self): ...\n" for number in range(methods))
    return "class Planted:\n" + body + "    x = 1\n" * filler


RULES: dict[Rule, tuple[str, str]] = {
    short_files: ("x = 1\n" * 401, "x = 1\n" * 400),
    short_functions: (_function_of(51), _function_of(50)),
    short_classes: (_class_of(0, 250), _class_of(0, 249)),
    few_public_methods: (_class_of(16), _class_of(15) + "    def _private(self): ...\n"),
    few_parameters: (_function_of(2, "a, b, c, d, e, f"), _function_of(2, "self, a, b, c, d, e, *, f, g")),
}
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)


@every_rule
def test_budget_is_kept_everywhere(rule: Rule) -> None:
    assert breaches(rule) == []


@every_rule
def test_planted_excess_is_found(rule: Rule) -> None:
    too_much, _ = RULES[rule]
    assert len(breaches(rule, (planted(too_much),))) == 1


@every_rule
def test_exact_budget_is_allowed(rule: Rule) -> None:
    _, just_enough = RULES[rule]
    assert breaches(rule, (planted(just_enough),)) == []


def test_options_of_commands_are_not_counted() -> None:
    text = "@app.command('up')\n" + _function_of(2, "a, b, c, d, e, f")
    assert breaches(few_parameters, (planted(text),)) == []
