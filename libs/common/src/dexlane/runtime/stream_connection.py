"""A WebSocket of the HTTP endpoints. Apart from the other connections, because only who serves one imports its library:
uvicorn does, by the name that the endpoints tell it."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from dexlane.runtime import connections


class StreamConnection(WebSocketsSansIOProtocol):
    """How many there are is the application's affair; one that opens or closes must be done in time."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._open_at_s = self.loop.time()

    def is_overdue(self, now_s: float) -> bool:
        """Whether its opening or closing takes too long, as it does where the client reads nothing."""
        if self.handshake_complete and not self.transport.is_closing():
            self._open_at_s = now_s
        return now_s - self._open_at_s > connections.EXCHANGE_S
