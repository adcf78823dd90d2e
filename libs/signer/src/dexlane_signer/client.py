"""A signer in another process, asked over its socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from dexlane_signer.attempts import SignedAttempt, SignedBefore
from dexlane_signer.denials import Denial, DenialReason, SigningDenied
from dexlane_signer.guard_file import GuardUnavailableError
from dexlane_signer.policy import Kind
from dexlane_signer.signer import RecordRequest, SignRequest
from dexlane_signer.transactions import DynamicFeeTransaction
from dexlane_signer.wire import Frames, MalformedFrameError, dump, load, to_frame, to_object

_HASH = re.compile(r"0x[0-9a-f]{64}")
TIME_LIMIT_S = 2.0
PAUSES_S = (0.5, 1.0, 2.0)
"""How long nothing is asked after one, two, more questions in a row that were not answered in time: each costs whoever
asks the whole time limit. A socket where nobody listens says so at once, and is tried whenever there is a question."""


class SignerUnreachableError(GuardUnavailableError):
    """The signer did not answer, or not in its language. Whether it signed is unknown; whatever it signed comes back
    when the same attempt is asked for again. Transient: there is no other way to a key."""


class RemoteSigner:
    """Asks over one connection, several requests at a time, and connects anew when it was lost."""

    def __init__(self, path: Path, *, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._path = path
        self._time_limit_s = time_limit_s
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()
        self._unanswered = 0
        self._asked_again_at_s = 0.0
        self.silence = ""
        """Why the last question was not answered, in a sentence; empty when it was."""

    async def sign_transaction(self, request: SignRequest) -> SignedAttempt:
        """What is on record for the attempt. Raises ``SigningDenied``, ``GuardUnavailableError``, and as a case of it
        ``SignerUnreachableError``."""
        attempt = _attempt(await self._ask("transaction", dump(request), "signed"))
        asked, given = request.transaction, attempt.transaction
        if (given.chain_id, given.nonce) != (asked.chain_id, asked.nonce):
            raise SignerUnreachableError("the signer answered with a transaction of another slot")
        return attempt

    async def signed_before(self, request: RecordRequest) -> SignedBefore | None:
        """The first attempt on record at or after a nonce and a number. Raises as ``sign_transaction``."""
        found = await self._ask("record", dump(request), "record")
        if found is None:
            return None
        try:
            intent_id = load(str, found["intent_id"])
            attempt = _told(found["told"]) if "told" in found else _attempt(found["signed"])
        except (KeyError, TypeError, ValueError) as error:
            raise SignerUnreachableError(f"the signer's answer is no attempt: {error}") from None
        place = (attempt.transaction.nonce, attempt.number)
        if attempt.transaction.chain_id != request.chain_id or place < (request.nonce, request.number):
            raise SignerUnreachableError("the signer answered with an attempt of another place")
        return SignedBefore(intent_id, attempt)

    async def highest_nonces(self, chain_id: int) -> Mapping[str, int | None]:
        """Each account the signer has a key of, and the highest nonce it ever signed for it on that chain."""
        nonces: Mapping[str, int | None] = await self._ask("nonces", dump(chain_id), "nonces")
        return nonces

    async def close(self) -> None:
        """Hang up."""
        if self._link is not None:
            self._link.close()

    async def _ask(self, ask: str, request: Any, wanted: str) -> Any:
        answer = await self._answer(ask, request)
        if wanted in answer:
            return answer[wanted]
        if "unavailable" in answer:
            raise GuardUnavailableError(str(answer["unavailable"]))
        raise _denied(answer)

    async def _answer(self, ask: str, request: Any) -> Mapping[str, Any]:
        """What the signer answers. ``SignerUnreachableError`` when it does not, or was asked in vain just now."""
        now_s = asyncio.get_running_loop().time
        pause_s = self._asked_again_at_s - now_s()
        if pause_s > 0:
            raise SignerUnreachableError(f"{self.silence}; it is asked again in {pause_s:.1f} s")
        try:
            async with asyncio.timeout(self._time_limit_s):
                link = await self._connected()
                answer = await link.ask(ask, request)
        except TimeoutError:
            self.silence = f"the signer did not answer within {self._time_limit_s:g} s"
            self._asked_again_at_s = now_s() + PAUSES_S[min(self._unanswered, len(PAUSES_S) - 1)]
            self._unanswered += 1
            raise SignerUnreachableError(self.silence) from None
        except OSError as error:
            self.silence = f"the signer's socket {self._path} does not answer: {error}"
            raise SignerUnreachableError(self.silence) from error
        self.silence, self._unanswered = "", 0
        return answer

    async def _connected(self) -> _Link:
        async with self._connecting:
            if self._link is None or self._link.is_lost:
                loop = asyncio.get_running_loop()
                _, self._link = await loop.create_unix_connection(_Link, str(self._path))
            return self._link


def _attempt(signed: Any) -> SignedAttempt:
    try:
        kind, number = signed["kind"], signed["number"]
        attempt = SignedAttempt.from_raw(load(bytes, signed["raw"]), number=number, kind=kind)
    except (KeyError, TypeError, ValueError) as error:
        raise SignerUnreachableError(f"the signer's answer is no signed transaction: {error}") from None
    return _possible(attempt)


def _told(told: Any) -> SignedAttempt:
    """What was signed, from somebody who keeps the bytes. Its hash cannot be checked without them."""
    transaction, hash_ = load(DynamicFeeTransaction, told["transaction"]), load(str, told["hash"])
    if not _HASH.fullmatch(hash_):
        raise ValueError("the hash has another form")
    return _possible(
        SignedAttempt(raw=b"", hash=hash_, number=told["number"], kind=told["kind"], transaction=transaction)
    )


def _possible(attempt: SignedAttempt) -> SignedAttempt:
    if attempt.kind not in get_args(Kind) or type(attempt.number) is not int:
        raise SignerUnreachableError("the signer's answer is no attempt that it could have signed")
    return attempt


def _denied(answer: Mapping[str, Any]) -> Exception:
    try:
        denied = answer["denied"]
        return SigningDenied(Denial(DenialReason(denied["reason"]), str(denied["sentence"])))
    except (KeyError, TypeError, ValueError):
        return SignerUnreachableError("the signer's answer is neither a signature nor a denial")


class _Link(asyncio.Protocol):
    """One connection: requests by number, each with the future of its answer."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._number = 0
        self._open: dict[int, asyncio.Future[dict[str, Any]]] = {}

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be asked over it any more."""
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's, though they do the same.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            answers = [to_object(frame) for frame in self._frames.feed(data)]
        except MalformedFrameError:
            self.close()
            return
        for answer in answers:
            # An answer without a number is about the connection: the frame it refuses had none that could be read.
            future = self._open.pop(answer.get("id", -1), None)
            if future is not None and not future.done():
                future.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        for future in self._open.values():
            if not future.done():
                future.set_exception(ConnectionResetError("the connection was lost"))
        self._open.clear()

    async def ask(self, ask: str, request: Any) -> dict[str, Any]:
        """Send one request and wait for its answer. Raises ``OSError`` when the connection is lost."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection was lost")
        self._number += 1
        number = self._number
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._open[number] = future
        self._transport.write(to_frame({"id": number, "ask": ask, "request": request}))
        try:
            return await future
        finally:
            self._open.pop(number, None)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            with contextlib.suppress(OSError):
                self._transport.close()
