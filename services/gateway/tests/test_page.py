"""Rules of the page and of the description: nothing from elsewhere, nothing undocumented."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.api.openapi import document
from gateway.statuses.confirmations import ConfirmationState

HERE = Path(__file__).parents[1]
STATIC = HERE / "src" / "gateway" / "static"
SCRIPTS = sorted(STATIC.glob("*.js"))
PATHS = ("/", "/docs", *(f"/static/{file.name}" for file in sorted(STATIC.iterdir())))
NAMESPACE = "http://www.w3.org/2000/svg"


def test_the_description_in_the_repository_is_the_current_one() -> None:
    assert (HERE / "openapi.json").read_text() == document(), (
        "run: python -m gateway.api.openapi > services/gateway/openapi.json"
    )


@pytest.mark.parametrize("path", PATHS)
async def test_the_page_loads_nothing_from_elsewhere(gateway: Any, path: str) -> None:
    answer = await gateway.client.get(path)
    assert answer.status_code == 200
    text = answer.text.replace(NAMESPACE, "")
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text) == []
    assert "@import" not in text
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"


async def test_the_page_has_nothing_inline_that_the_policy_would_block(gateway: Any) -> None:
    for path in ("/", "/docs"):
        page = (await gateway.client.get(path)).text
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son[a-z]+=|\sstyle=", page)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_the_page_never_writes_markup_from_data(script: Path) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|\.style\b"
    assert not re.search(forbidden, script.read_text())


def test_every_script_is_loaded_and_from_here_alone() -> None:
    loaded, seen = ["page.js"], set[str]()
    while loaded:
        name = loaded.pop()
        seen.add(name)
        text = (STATIC / name).read_text()
        given = re.findall(r"""\b(?:from|import)\s*\(?\s*["'`]([^"'`]+)""", text)
        assert all(re.fullmatch(r"\./[a-z]+\.js", one) for one in given), name
        loaded += [one.removeprefix("./") for one in given if one.removeprefix("./") not in seen]
    assert seen == {script.name for script in SCRIPTS}


def test_every_element_that_a_script_names_is_on_the_page() -> None:
    page, script = (STATIC / "index.html").read_text(), "".join(file.read_text() for file in SCRIPTS)
    assert set(re.findall(r'byId\("([a-z-]+)"\)', script)) <= set(re.findall(r'id="([a-z-]+)"', page))


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not here")
@pytest.mark.parametrize(
    ("wei", "shown"),
    [
        *(("null", "no data"), ('"0"', "0 gwei"), ('"1"', "under 0.01 gwei"), ('"9999999"', "under 0.01 gwei")),
        *(('"10000000"', "0.010 gwei"), ('"2000000000"', "2.000 gwei")),
    ],
)
def test_a_price_too_small_to_matter_is_not_written_out(wei: str, shown: str) -> None:
    script = (STATIC / "drawing.js").read_text().replace("export ", "")
    functions = [
        re.search(rf"^function {name}\(.*?^}}$", script, re.MULTILINE | re.DOTALL) for name in ("units", "gwei")
    ]
    stub = "const el = (tag, className, ...parts) => parts.filter((part) => part).join(' ');"
    program = "\n".join([stub, *(found.group() for found in functions if found), f"console.log(gwei({wei}));"])
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == shown


async def test_every_route_is_described(gateway: Any) -> None:
    description = (await gateway.client.get("/openapi.json")).json()
    page = (await gateway.client.get("/docs")).text
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            assert operation["description"].endswith("."), path
            assert f"{method.upper()} {path}" in page
    assert "/api/v1/stream" in page


async def test_answers_of_the_interface_are_not_cached(gateway: Any) -> None:
    assert (await gateway.client.get("/api/v1/status")).headers["cache-control"] == "no-store"


def test_the_page_knows_every_end_of_a_request() -> None:
    script = (STATIC / "waiting.js").read_text()
    ends = {f"confirmation_{state.value}" for state in ConfirmationState if state is not ConfirmationState.WAITING}
    assert set(re.findall(r'"(confirmation_[a-z]+)"', script)) == ends
