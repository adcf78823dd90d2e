"""The signer's socket: whoever may ask, asks here. Anything that is not understood is denied, and nothing is signed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Collection, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeAlias, cast

from dexlane_signer.attempts import SignedAttempt, SignedBefore
from dexlane_signer.denials import DenialReason, SigningDenied
from dexlane_signer.guard_file import GuardUnavailableError
from dexlane_signer.signer import LocalSigner, RecordRequest, SignRequest
from dexlane_signer.sockets import is_known, listen
from dexlane_signer.waiting import WaitingSigner
from dexlane_signer.wire import Frames, MalformedFrameError, OversizedFrameError, dump, load, to_frame, to_object

MAX_WAITING = 64
"""Requests of one connection that wait; beyond that it is not read from."""
MAX_CONNECTIONS = 64
"""Open at once; executors keep one each. Without an end to them one asker could take every file descriptor of the
process, and nobody could halt it over its control socket."""

Answer: TypeAlias = dict[str, Any]
_REFUSALS = (MalformedFrameError, SigningDenied, GuardUnavailableError)


class SigningServer:
    """Answers requests one after the other. Between two of them everything else of the process has its turn, so that a
    halt never waits behind a queue. What needs a key store is answered when the store has, out of turn."""

    def __init__(self, signer: LocalSigner, *, uids: Collection[int]) -> None:
        self._signer = signer
        self._uids = frozenset(uids)
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._waiting = WaitingSigner(signer)
        self._later_tasks: set[asyncio.Task[None]] = set()

    async def start(self, path: Path) -> None:
        """Listen. Raises ``SocketTakenError`` or ``OSError``."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Connection(self), sock=listen(path))

    async def stop(self) -> None:
        """Stop listening and hang up."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.hang_up()
        self._waiting.close()
        for task in self._later_tasks:
            task.cancel()
        await asyncio.gather(*self._later_tasks, return_exceptions=True)

    def answer_later(self, answering: Coroutine[Any, Any, None]) -> None:
        """Let it run to its end, also when its connection is gone."""
        task = asyncio.get_running_loop().create_task(answering)
        self._later_tasks.add(task)
        task.add_done_callback(self._later_tasks.discard)

    def admits(self, connection: _Connection, transport: asyncio.Transport) -> bool:
        """Whether that process may ask now; one that may not is counted."""
        if not is_known(transport, self._uids) or len(self._open) >= MAX_CONNECTIONS:
            self._signer.counts.strangers += 1
            return False
        self._open.add(connection)
        return True

    def forget(self, connection: _Connection, *, truncated: bool) -> None:
        """A connection is over; one that ended inside a frame is counted."""
        self._open.discard(connection)
        if truncated:
            self._signer.counts.denied[DenialReason.MALFORMED_REQUEST] += 1

    def answer(self, frame: bytes) -> Answer | Awaitable[Answer]:
        """What one frame is answered with, now or once a key store has answered; neither raises for what the frame
        holds."""
        number: int | None = None
        try:
            message = to_object(frame)
            number = _number(message)
            acted = self._act(message)
        except _REFUSALS as error:
            return {"id": number, **self._refused(error)}
        return {"id": number, **acted} if isinstance(acted, dict) else self._later(number, acted)

    async def _later(self, number: int, acted: Awaitable[Answer]) -> Answer:
        try:
            return {"id": number, **await acted}
        except _REFUSALS as error:
            return {"id": number, **self._refused(error)}

    def _refused(self, error: Exception) -> Answer:
        if isinstance(error, SigningDenied):
            return {"denied": {"reason": error.reason, "sentence": error.denial.sentence}}
        if isinstance(error, GuardUnavailableError):
            return {"unavailable": str(error)}
        return self.malformed(str(error))

    def malformed(self, sentence: str) -> Answer:
        """Count and say that a request was not understood."""
        self._signer.counts.denied[DenialReason.MALFORMED_REQUEST] += 1
        return {"denied": {"reason": DenialReason.MALFORMED_REQUEST, "sentence": sentence}}

    def _act(self, message: dict[str, Any]) -> Answer | Awaitable[Answer]:
        if message.keys() != {"id", "ask", "request"}:
            raise MalformedFrameError("a request has the fields id, ask and request")
        ask, request = message["ask"], message["request"]
        if ask == "transaction":
            wanted = load(SignRequest, request)
            if self._signer.is_local(wanted.sender):
                return _signed(self._signer.sign_transaction(wanted))
            return self._transaction_elsewhere(wanted)
        if ask == "nonces":
            return {"nonces": self._signer.highest_nonces(_chain_id(request))}
        if ask == "record":
            return _on_record(self._signer.signed_before(load(RecordRequest, request)))
        raise MalformedFrameError("ask is none of transaction, nonces, record")

    async def _transaction_elsewhere(self, request: SignRequest) -> Answer:
        return _signed(await self._waiting.sign_transaction(request))


def _signed(attempt: SignedAttempt) -> Answer:
    return {"signed": {"raw": dump(attempt.raw), "number": attempt.number, "kind": attempt.kind}}


def _on_record(found: SignedBefore | None) -> Answer:
    if found is None:
        return {"record": None}
    return {"record": {"intent_id": found.intent_id, **_told(found.attempt)}}


def _told(attempt: SignedAttempt) -> Answer:
    if attempt.raw:
        return _signed(attempt)
    about = {"hash": attempt.hash, "number": attempt.number, "kind": attempt.kind}
    return {"told": {**about, "transaction": dump(attempt.transaction)}}


def _chain_id(given: Any) -> int:
    chain_id = load(int, given)
    if chain_id >= 1 << 63:
        raise MalformedFrameError("a chain id fits 63 bits")
    return chain_id


def _number(message: dict[str, Any]) -> int:
    given = message.get("id")
    if type(given) is not int or not 0 <= given < 1 << 53:
        raise MalformedFrameError("id is no integer below 2**53")
    return given


class _Connection(asyncio.Protocol):
    """One asker. Its requests are answered in the order they came, but for those that a key store must answer first;
    each answer carries the id of its request."""

    def __init__(self, server: SigningServer) -> None:
        self._server = server
        self._frames = Frames()
        self._waiting: deque[bytes] = deque()
        self._transport: asyncio.Transport | None = None
        self._is_due = False
        self._is_clogged = False
        self._later = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, though they do the same.
        stream = cast("asyncio.Transport", transport)
        if self._server.admits(self, stream):
            self._transport = stream
        else:
            stream.abort()

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        try:
            self._waiting += self._frames.feed(data)
        except OversizedFrameError as error:
            self._transport.write(to_frame({"id": None, **self._server.malformed(str(error))}))
            self._frames = Frames()
            self._transport.close()
            return
        if len(self._waiting) > MAX_WAITING:
            self._transport.pause_reading()
        self._call()

    def pause_writing(self) -> None:
        self._is_clogged = True

    def resume_writing(self) -> None:
        self._is_clogged = False
        self._call()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._server.forget(self, truncated=self._frames.is_inside_a_frame)
        self._transport = None
        self._waiting.clear()

    def hang_up(self) -> None:
        """Close after what was written."""
        if self._transport is not None:
            self._transport.close()

    def _call(self) -> None:
        if self._waiting and not self._is_due and not self._is_clogged and self._later < MAX_WAITING:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._answer_next)

    def _answer_next(self) -> None:
        self._is_due = False
        if self._transport is None or self._transport.is_closing() or not self._waiting:
            return
        answer: Answer | Awaitable[Answer] | None = None
        with self._aborted_without_an_answer():
            answer = self._server.answer(self._waiting.popleft())
            if isinstance(answer, dict):
                self._transport.write(to_frame(answer))
        if isinstance(answer, Awaitable):
            self._later += 1
            self._server.answer_later(self._answer_later(answer))
        if len(self._waiting) <= MAX_WAITING:
            with contextlib.suppress(RuntimeError):
                self._transport.resume_reading()
        self._call()

    async def _answer_later(self, answering: Awaitable[Answer]) -> None:
        with self._aborted_without_an_answer():
            answer = to_frame(await answering)
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(answer)
        self._later -= 1
        self._call()

    @contextlib.contextmanager
    def _aborted_without_an_answer(self) -> Iterator[None]:
        """Nobody waits for an answer that will not come; the fault itself is for the log."""
        with contextlib.ExitStack() as without_an_answer:
            if self._transport is not None:
                without_an_answer.callback(self._transport.abort)
            yield
            without_an_answer.pop_all()
