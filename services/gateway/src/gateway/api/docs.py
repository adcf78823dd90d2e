"""``/docs``: the interface on one plain page. It loads nothing from elsewhere, so it works offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse

from gateway.projections.display import SUBSCRIBABLE

_HEAD = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>dexlane API</title>
<link rel="icon" href="/static/icon.svg"><link rel="stylesheet" href="/static/page.css"></head>
<body class="docs"><main><h1>dexlane API</h1>
<p><a href="/">Status page</a> · machine-readable: <a href="/openapi.json">/openapi.json</a></p>
<p>Every answer is <code>{"version", "data", "as_of", "next"}</code>. Amounts are decimal strings in the smallest unit
of their token. Refusals are <code>application/problem+json</code>; <code>detail</code> says what to do. Lists are
newest first; <code>next</code> is the cursor of the next page. Writes need
<code>Authorization: Bearer &lt;token&gt;</code>.</p>"""


def router(app: FastAPI) -> APIRouter:
    """The page, written from the same description as ``/openapi.json``."""
    api = APIRouter()

    @api.get("/docs", include_in_schema=False)
    async def read_docs() -> HTMLResponse:
        return HTMLResponse("".join((_HEAD, *_operations(app.openapi()), *_stream(), "</main></body></html>")))

    return api


def _operations(document: Mapping[str, Any]) -> Iterator[str]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p>{escape(operation.get('description', ''))}</p>"
            rows = [*_parameters(operation), *_body(document, operation)]
            if rows:
                yield f"<table><thead><tr><th>name<th>type<th>meaning</thead><tbody>{''.join(rows)}</tbody></table>"
            yield "</section>"


def _parameters(operation: Mapping[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] != "header":
            meaning = parameter.get("description", "")
            yield _row(parameter["name"], parameter["schema"], parameter.get("required", False), meaning)


def _body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    for media in content.values():
        schema = document["components"]["schemas"][media["schema"]["$ref"].rsplit("/", 1)[-1]]
        for name, field in schema.get("properties", {}).items():
            yield _row(f"body.{name}", field, name in schema.get("required", ()), field.get("description", ""))


def _row(name: str, schema: Mapping[str, Any], required: bool, meaning: str) -> str:
    kind = escape(_kind(schema)) + ("" if required else ", optional")
    return f"<tr><td><code>{escape(name)}</code><td>{kind}<td>{escape(meaning)}"


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(kind for option in schema["anyOf"] if (kind := _kind(option)) != "null")
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    return str(schema.get("type", "any"))


def _stream() -> Iterator[str]:
    yield "<section><h2><code>WS /api/v1/stream</code></h2><p>Send "
    yield '<code>{"subscribe": ["feed", "fill.included"]}</code>; messages are '
    yield '<code>{"version", "event", "as_of", "data"}</code>. A client that reads too slowly gets '
    yield '<code>{"event": "gap", "data": {"dropped": n}}</code> and should read the resources again. Names:</p><p>'
    yield " ".join(f"<code>{escape(name)}</code>" for name in sorted(SUBSCRIBABLE))
    yield "</p></section>"
