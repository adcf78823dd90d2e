"""Who may do what: the token for writes, and the guard at the door (Host, Origin, rates, sizes, headers).

The gateway listens on loopback, where every web page that a browser on this machine opens can reach it. So the Host
header must be ours (against DNS rebinding), a write or a stream must come from our own page or from no page at all
(against cross-site requests), and every write needs a token that no page can guess.
"""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Fatal
from gateway.api.envelope import Problem, problem_response
from gateway.metrics import Moments
from gateway.settings import Settings

TOKEN_NAME = "gateway-token"  # noqa: S105  the name of a file
TOKEN_BYTES = 32
MIN_TOKEN_LENGTH = 32
MAX_BODY_BYTES = 65_536
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HALT_PATHS = ("/api/v1/halt", "/api/v1/emergency-stop")
MAX_BUCKETS = 4_096
RESPONSE_HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def obtain_token(settings: Settings) -> str:
    """The token for writes: that of the given file, or a new one, kept where only this user can read it."""
    if settings.token_file is not None:
        return _read_token(settings.token_file)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    path = settings.data_dir / TOKEN_NAME
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(token + "\n")
    if sys.stderr.isatty():
        # To the person at the terminal only: a token in collected logs would be a token for whoever reads logs.
        sys.stderr.write(f"token for writes (until the next start): {token}\n")
    return token


def _read_token(path: Path) -> str:
    try:
        mode, token = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"the token file {path} cannot be read: {error}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise Fatal(f"the token file {path} is open to others; run chmod 600 on it")
    if len(token) < MIN_TOKEN_LENGTH:
        raise Fatal(f"the token in {path} is shorter than {MIN_TOKEN_LENGTH} characters")
    return token


class TokenCheck:
    """Compares tokens in constant time. Without a token it accepts none."""

    def __init__(self, token: str = "") -> None:
        self._token = token.encode()

    def use(self, token: str) -> None:
        """Accept this token from now on."""
        self._token = token.encode()

    def accepts(self, given: str) -> bool:
        """Whether this is the token."""
        return bool(self._token) and secrets.compare_digest(given.encode(), self._token)

    def is_carried_by(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries the token."""
        scheme, _, given = (authorization or "").partition(" ")
        return scheme.lower() == "bearer" and self.accepts(given.strip())

    def require(self, authorization: str | None) -> None:
        """``Problem`` 401 unless the Authorization header carries the token."""
        if not self.is_carried_by(authorization):
            raise Problem(
                401,
                "Token needed",
                f"send the header 'Authorization: Bearer <token>'; the token stands in the file {TOKEN_NAME} of the "
                "gateway's data directory",
                {"WWW-Authenticate": "Bearer"},
            )


@dataclass
class _Bucket:
    credit_ns: int
    at_ns: int


class RateLimit:
    """A bucket of credit for each client: ``per_minute`` requests at once, refilled evenly. Credit is time, so it is
    exact: a minute of it pays ``per_minute`` requests."""

    MINUTE_NS = 60 * 10**9

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._cost_ns = self.MINUTE_NS // per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, client: str) -> int:
        """Pay for one request; 0 when there was credit, else the whole seconds until there will be."""
        now = self._clock.monotonic_ns()
        bucket = self._buckets.pop(client, None) or _Bucket(self.MINUTE_NS, now)
        bucket.credit_ns = min(self.MINUTE_NS, bucket.credit_ns + now - bucket.at_ns)
        bucket.at_ns = now
        self._buckets[client] = bucket
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        missing_ns = self._cost_ns - bucket.credit_ns
        if missing_ns > 0:
            return -(-missing_ns // 10**9)
        bucket.credit_ns -= self._cost_ns
        return 0


class Guard:
    """ASGI middleware at the door. Every refusal is a problem with a sentence, and is counted."""

    def __init__(self, app: ASGIApp, settings: Settings, clock: Clock, moments: Moments, token: TokenCheck) -> None:
        self._app = app
        self._token = token
        self._hosts = LOOPBACK_NAMES | {name.lower() for name in settings.public_hosts}
        self._limits: Mapping[str, RateLimit] = {
            "read": RateLimit(settings.reads_per_minute, clock),
            "write": RateLimit(settings.writes_per_minute, clock),
            "halt": RateLimit(settings.halts_per_minute, clock),
        }
        self._moments = moments

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on with the response headers added."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Problem as problem:
            self._moments.denied(problem.title, scope["path"])
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008, "reason": problem.detail[:120]})
            else:
                await problem_response(problem)(scope, receive, _with_headers(send, scope["path"]))
            return
        await self._app(scope, receive, _with_headers(send, scope["path"]))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        method = scope.get("method", "GET")
        self._check_host(headers)
        if scope["type"] == "websocket" or method not in SAFE_METHODS:
            _check_origin(headers)
        if scope["type"] == "http" and method not in SAFE_METHODS:
            _check_size(headers)
        if "/api/" in scope["path"]:
            self._check_rate(scope, method, headers)

    def _check_host(self, headers: Headers) -> None:
        given = headers.get("host", "")
        if _without_port(given) not in self._hosts:
            raise Problem(403, "Foreign host", f"{given!r} is not a name of this gateway; open it as localhost")

    def _check_rate(self, scope: Scope, method: str, headers: Headers) -> None:
        """Who has the token has buckets of his own: strangers share his address, behind a proxy or on this machine, and
        could keep him from halting by asking often."""
        kind = "read" if method in SAFE_METHODS else "halt" if scope["path"].endswith(HALT_PATHS) else "write"
        client = scope.get("client")
        address = client[0] if client else "unknown"
        owner = self._token.is_carried_by(headers.get("authorization"))
        wait_s = self._limits[kind].take(f"owner {address}" if owner else address)
        if wait_s:
            sentence = f"too many {kind} requests; try again in {wait_s} s"
            raise Problem(429, "Too many requests", sentence, {"Retry-After": str(wait_s)})


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


def _check_origin(headers: Headers) -> None:
    origin = headers.get("origin")
    foreign = origin is not None and _place_of(origin) != headers.get("host", "").lower()
    if foreign or headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
        raise Problem(403, "Foreign origin", "another site's page may not do this; use the gateway's own page")


def _place_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _check_size(headers: Headers) -> None:
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdigit():
        raise Problem(411, "Length needed", "send the body with a Content-Length")
    if int(length) > MAX_BODY_BYTES:
        raise Problem(413, "Too large", f"a body has at most {MAX_BODY_BYTES} bytes")


def _with_headers(send: Send, path: str) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in RESPONSE_HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store" if "/api/" in path else "no-cache")
        await send(message)

    return sending
