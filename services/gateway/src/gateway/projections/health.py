"""The health of the other services, asked from their ``/readyz``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import httpx

from dexlane.runtime.clock import Clock
from dexlane.values.base import Value

TIMEOUT_S = 1.0
OWN_NAME = "gateway"


class ServiceHealth(Value):
    """What a service answered. ``ready`` is None before the first answer; ``reasons`` say why it is not ready."""

    name: str
    ready: bool | None
    reasons: dict[str, str]
    checked_at_ms: int | None


class HealthPoller:
    """Asks every service again and again; remembers the last answers."""

    def __init__(
        self,
        urls: Mapping[str, str],
        clock: Clock,
        *,
        own: Callable[[], dict[str, str]],
        interval_ms: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._urls = {name: url for name, url in urls.items() if name != OWN_NAME}
        self._clock = clock
        self._own = own
        self._interval_s = interval_ms / 1_000
        self._transport = transport
        self._answers: dict[str, ServiceHealth] = {}

    def view(self) -> tuple[ServiceHealth, ...]:
        """Every service in the order of the settings, the gateway last."""
        reasons = self._own()
        own = ServiceHealth(name=OWN_NAME, ready=not reasons, reasons=reasons, checked_at_ms=self._clock.now_ms())
        return (*(self._answers.get(name, _unknown(name)) for name in self._urls), own)

    async def run(self) -> None:
        """Ask for ever."""
        # Loopback only: neither a proxy from the environment nor a redirect may lead elsewhere.
        async with httpx.AsyncClient(
            timeout=TIMEOUT_S, trust_env=False, follow_redirects=False, transport=self._transport
        ) as client:
            while True:
                await self.ask_all(client)
                await asyncio.sleep(self._interval_s)

    async def ask_all(self, client: httpx.AsyncClient) -> None:
        """Ask every service once."""
        answers = await asyncio.gather(*(self._ask(client, name, url) for name, url in self._urls.items()))
        self._answers = {answer.name: answer for answer in answers}

    async def _ask(self, client: httpx.AsyncClient, name: str, url: str) -> ServiceHealth:
        try:
            response = await client.get(f"{url.rstrip('/')}/readyz")
            ready, reasons = _read(name, response)
        except (httpx.HTTPError, httpx.InvalidURL):
            ready, reasons = False, {"http": "no answer; is it running?"}
        except ValueError:
            ready, reasons = False, {"http": "the answer is not that of a dexlane service"}
        return ServiceHealth(name=name, ready=ready, reasons=reasons, checked_at_ms=self._clock.now_ms())


def _unknown(name: str) -> ServiceHealth:
    return ServiceHealth(name=name, ready=None, reasons={}, checked_at_ms=None)


def _read(name: str, response: httpx.Response) -> tuple[bool, dict[str, str]]:
    body = response.json()
    if not isinstance(body, dict) or body.get("service") != name:
        return False, {"http": "another program answers at this address"}
    reasons = body.get("reasons")
    told = {str(key): str(value) for key, value in reasons.items()} if isinstance(reasons, dict) else {}
    return response.status_code == 200 and body.get("ready") is True, told
