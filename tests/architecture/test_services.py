"""All eight services look alike, so that whoever knows one finds the way in every other."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from house_rules import ROOT, SERVICES, Function, Source, lines_of, name_of, package_of, service_src, sources_of

from dexlane.events.traffic import consumed_by
from dexlane.runtime.settings import service_of

FIXED = {"settings", "app", "handlers", "metrics"}
MAX_OWN_MODULES = 3
MAX_APP_LINES = 100
MAX_HANDLER_LINES = 15
GATEWAY_EXTRAS = {"api", "projections", "static", "openapi"}
HEADINGS = ("Purpose", "Consumes", "Publishes", "State", "Settings", "Failure modes")
every_service = pytest.mark.parametrize("service", SERVICES)


def modules_in(folder: Path) -> set[str]:
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    packages = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))}
    return files | packages


def superfluous_modules(service: str, modules: set[str]) -> set[str]:
    """What is left when the fixed four, the migrations and the gateway's extras are taken away."""
    allowed = FIXED | {"migrations"} | (GATEWAY_EXTRAS if service == "gateway" else set())
    return modules - allowed


def handlers_of(source: Source) -> list[Function]:
    """The functions that ``routes.decide(...)`` or ``routes.follow(...)`` decorate."""
    return [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and any(name_of(decorator).endswith((".decide", ".follow")) for decorator in node.decorator_list)
    ]


def long_handlers(source: Source) -> list[str]:
    return [
        f"{source.where}:{node.lineno}: {node.name} has {lines_of(node)} lines, at most {MAX_HANDLER_LINES}"
        for node in handlers_of(source)
        if lines_of(node) > MAX_HANDLER_LINES
    ]


def headings_in(text: str) -> list[str]:
    return re.findall(r"^## (.+?)\s*$", text, re.MULTILINE)


@every_service
def test_service_has_the_four_files(service: str) -> None:
    assert modules_in(service_src(service) / package_of(service)) >= FIXED


@every_service
def test_service_has_at_most_three_modules_of_its_own(service: str) -> None:
    own = superfluous_modules(service, modules_in(service_src(service) / package_of(service)))
    assert len(own) <= MAX_OWN_MODULES, f"{service} has {sorted(own)}"


def test_fourth_module_and_gateway_extras_elsewhere_would_be_found() -> None:
    assert len(superfluous_modules("portfolio", FIXED | {"migrations", "a", "b", "c", "d"})) > MAX_OWN_MODULES
    assert superfluous_modules("portfolio", {"api"}) == {"api"}
    assert superfluous_modules("gateway", {"api", "books"}) == {"books"}


@every_service
def test_wiring_fits_on_a_page(service: str) -> None:
    (app,) = [source for source in sources_of(package_of(service)) if source.module == f"{package_of(service)}.app"]
    assert len(app.text.splitlines()) <= MAX_APP_LINES


@every_service
def test_wiring_has_build_and_main(service: str) -> None:
    (app,) = [source for source in sources_of(package_of(service)) if source.module == f"{package_of(service)}.app"]
    assert {"build", "main"} <= {node.name for node in app.tree.body if isinstance(node, ast.FunctionDef)}


@every_service
def test_handlers_are_thin(service: str) -> None:
    sources = sources_of(package_of(service))
    assert [breach for source in sources for breach in long_handlers(source)] == []


def test_thick_handler_would_be_found() -> None:
    text = "@routes.decide(FillIncluded, durable='x')\nasync def on_fill(event):\n" + "    pass\n" * 15
    assert len(long_handlers(Source(Path("planted.py"), "portfolio.planted", text))) == 1
    undecorated = text.partition("\n")[2]
    assert long_handlers(Source(Path("planted.py"), "portfolio.planted", undecorated)) == []


@pytest.mark.parametrize("service", [name for name in SERVICES if consumed_by(name)])
def test_handlers_module_of_a_consumer_offers_routes(service: str) -> None:
    name = f"{package_of(service)}.handlers"
    (handlers,) = [source for source in sources_of(package_of(service)) if source.module == name]
    assert "routes" in {node.name for node in handlers.tree.body if isinstance(node, ast.FunctionDef)}


@every_service
def test_nothing_but_the_entry_point_imports_the_wiring(service: str) -> None:
    package = package_of(service)
    importers = [
        source.where
        for source in sources_of(package)
        if not source.within(f"{package}.app", f"{package}.openapi", f"{package}.__main__")
        and any(name.startswith(f"{package}.app") for _, name in source.imported())
    ]
    assert importers == []


@every_service
def test_readme_answers_the_same_six_questions(service: str) -> None:
    headings = headings_in((ROOT / "services" / service / "README.md").read_text(encoding="utf-8"))
    assert [heading for heading in headings if heading in HEADINGS] == list(HEADINGS)


def test_missing_heading_would_be_found() -> None:
    assert headings_in("# Portfolio\n\n## Purpose\n\n### Consumes\n") == ["Purpose"]


@every_service
def test_entry_point_is_named_after_the_service(service: str) -> None:
    project = tomllib.loads((ROOT / "services" / service / "pyproject.toml").read_text())["project"]
    assert project["name"] == f"dexlane-{service}"
    assert project["scripts"] == {f"dexlane-{service}": f"{package_of(service)}.app:main"}


@every_service
def test_folder_is_hyphenated_and_package_is_typed(service: str) -> None:
    assert (service_src(service) / package_of(service) / "py.typed").is_file()


def test_there_are_no_other_services() -> None:
    assert sorted(path.parent.name for path in (ROOT / "services").glob("*/pyproject.toml")) == sorted(SERVICES)


@every_service
def test_every_setting_says_what_it_means(service: str) -> None:
    settings_type = import_module(f"{package_of(service)}.settings").Settings
    assert service_of(settings_type) == service
    assert [name for name, info in settings_type.model_fields.items() if not info.description] == []
