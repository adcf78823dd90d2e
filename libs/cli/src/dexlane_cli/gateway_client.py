"""The gateway's REST interface, as far as the command line needs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from dexlane_cli.errors import CommandError
from dexlane_cli.stack import StackOptions, gateway_url


def token_file(options: StackOptions) -> Path:
    """Where this run's gateway wrote its token."""
    return options.session / "data" / "gateway-token"


def token(options: StackOptions) -> str:
    """The one-time token that this run's gateway wrote for its owner."""
    path = token_file(options)
    try:
        return path.read_text().strip()
    except FileNotFoundError as error:
        raise CommandError(f"there is no token at {path}; is dexlane running here? (`dexlane status`)") from error


def call(options: StackOptions, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """The ``data`` of the answer; the gateway's own sentence when it refuses."""
    headers = {} if method == "GET" else {"Authorization": f"Bearer {token(options)}"}
    url = f"{gateway_url(options.ports)}/api/v1{path}"
    try:
        answer = httpx.request(method, url, json=body, headers=headers, timeout=10, trust_env=False)
    except httpx.ConnectError as error:
        raise CommandError(f"the gateway does not answer at {url}; start dexlane with `make run`") from error
    except httpx.HTTPError as error:
        sentence = f"the gateway did not answer at {url} in time; what was asked may be done or not"
        raise CommandError(sentence) from error
    try:
        content = answer.json()
    except ValueError as error:
        said = f"{url} answered {answer.status_code} and no JSON"
        raise CommandError(f"{said}; what was asked may be done or not, look into the gateway's log") from error
    if answer.status_code >= 400:
        raise CommandError(str(content.get("detail") or content.get("title") or content))
    return content["data"]
