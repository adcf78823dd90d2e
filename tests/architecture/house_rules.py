"""Reading the sources of all members, for the tests of this folder."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from io import StringIO
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARIES = ("cli", "common", "devnet", "signer")
SERVICES = (
    "fast-executor",
    "gas-oracle",
    "gateway",
    "market-feed",
    "paper-sim",
    "portfolio",
    "risk-scorer",
    "smart-executor",
)
MAX_POSITIONAL = 5
MAX_FUNCTION_LINES = 50
MAX_FILE_LINES = 400
MAX_CLASS_LINES = 250
MAX_PUBLIC_METHODS = 15

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file of a member's ``src`` folder."""

    path: Path
    module: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        try:
            return ast.parse(self.text)
        except SystemError:
            # CPython 3.11 keeps the depth of syntax trees for all threads together, and says so when two parse at once.
            return ast.parse(self.text)

    @property
    def where(self) -> str:
        """Its path for people."""
        return self.path.relative_to(ROOT).as_posix() if self.path.is_relative_to(ROOT) else self.path.name

    @property
    def top(self) -> str:
        """Its import package."""
        return self.module.partition(".")[0]

    def within(self, *prefixes: str) -> bool:
        """Whether the module is one of these or inside one of these packages."""
        return any(self.module == prefix or self.module.startswith(prefix + ".") for prefix in prefixes)

    @cached_property
    def _nodes(self) -> dict[type[ast.AST], list[ast.AST]]:
        """Every node by its kind: each rule asks for a few kinds, and a walk through the whole tree takes long."""
        nodes: dict[type[ast.AST], list[ast.AST]] = {}
        for node in ast.walk(self.tree):
            nodes.setdefault(type(node), []).append(node)
        return nodes

    def walk(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        """Every node of these kinds, one kind after the other."""
        return chain.from_iterable(self._nodes.get(kind, ()) for kind in kinds)

    def imported(self) -> tuple[tuple[int, str], ...]:
        """(line, full name) of everything this file imports, relative imports resolved."""
        return self._imported

    @cached_property
    def _imported(self) -> tuple[tuple[int, str], ...]:
        found = []
        for node in self.walk(ast.Import, ast.ImportFrom):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = self._base(node)
                found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        return tuple(found)

    def _base(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.module.split(".") if self.path.name == "__init__.py" else self.module.split(".")[:-1]
        parents = package[: len(package) - node.level + 1]
        return ".".join([*parents, node.module] if node.module else parents)

    def comments(self) -> Iterator[tuple[int, str]]:
        """(line, text) of every comment."""
        for token in tokenize.generate_tokens(StringIO(self.text).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


Rule = Callable[[Source], Iterator[str]]


def source_of(path: Path, src: Path) -> Source:
    """Read one file below a ``src`` folder."""
    parts = path.relative_to(src).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Source(path, module, path.read_text(encoding="utf-8"))


@cache
def all_sources() -> tuple[Source, ...]:
    """Every source file of every member."""
    folders = [ROOT / "libs" / name / "src" for name in LIBRARIES] + [service_src(name) for name in SERVICES]
    return tuple(source_of(path, folder) for folder in folders for path in sorted(folder.rglob("*.py")))


def service_src(name: str) -> Path:
    """The ``src`` folder of a service."""
    return ROOT / "services" / name / "src"


def package_of(name: str) -> str:
    """The import package of a service."""
    return name.replace("-", "_")


def sources_of(package: str) -> list[Source]:
    """The sources of one package."""
    return [source for source in all_sources() if source.within(package)]


def planted(text: str, module: str = "dexlane.domain.planted") -> Source:
    """A source that exists only in a test."""
    return Source(Path(module.rpartition(".")[2] + ".py"), module, text)


def breaches(rule: Rule, sources: tuple[Source, ...] | None = None) -> list[str]:
    """Every breach of a rule, one sentence each."""
    return [breach for source in (all_sources() if sources is None else sources) for breach in rule(source)]


def name_of(node: ast.AST) -> str:
    """The dotted name of a call's function, a decorator or a base; empty for anything else."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    if isinstance(node, ast.Attribute):
        inner = name_of(node.value)
        return f"{inner}.{node.attr}" if inner else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def lines_of(node: ast.AST) -> int:
    """How many lines a definition takes, decorators left out."""
    return int(node.end_lineno or 0) - int(node.lineno) + 1  # type: ignore[attr-defined]
