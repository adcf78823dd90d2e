"""An HTTP server on loopback in a thread of its own, and how it can be made to misbehave."""

from __future__ import annotations

import json
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request; the names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Its body as a JSON object; an empty one when it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Answered:
    """What is answered: a status, a body, and headers."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: object, status: int = 200, kind: str = "application/json") -> Answered:
        """A JSON document."""
        return cls(status, json.dumps(document).encode(), {"Content-Type": kind})


Answer = Callable[[Asked], Answered]


@dataclass
class Service(ABC):
    """What every double has: a record of what was asked, a delay, and answers that come instead."""

    asked: list[Asked] = field(default_factory=list)
    delay_s: float = 0.0
    instead: list[Answered | Callable[[Answered], Answered]] = field(default_factory=list)
    """One for each of the next requests: an answer, or a change of the true one."""

    @abstractmethod
    def respond(self, asked: Asked) -> Answered:
        """The double's own answer."""

    def answer(self, asked: Asked) -> Answered:
        """What is sent."""
        self.asked.append(asked)
        time.sleep(self.delay_s)
        if not self.instead:
            return self.respond(asked)
        other = self.instead.pop(0)
        return other if isinstance(other, Answered) else other(self.respond(asked))


@contextmanager
def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve until the block ends; the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answered = answer(Asked(self.command, self.path, headers, body))
            try:
                self.send_response(answered.status)
                for name, value in answered.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answered.body)))
                self.end_headers()
                self.wfile.write(answered.body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client did not wait

        do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names that the base class looks for

        def handle(self) -> None:
            try:
                super().handle()
            except ssl.SSLError:
                return  # a client that trusts somebody else, or whom the CA does not know

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            """Nothing is logged."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        # The handshake is the connection's own affair, in its thread.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
