"""Signing with keys that lie elsewhere, while the process goes on: a halt never waits for a key store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from dexlane_signer.attempts import SignedAttempt
from dexlane_signer.guard_file import GuardUnavailableError
from dexlane_signer.key_stores.errors import KeyStoreUnavailableError
from dexlane_signer.signer import LocalSigner, PermitRequest, SignRequest, Wanted
from dexlane_signer.typed_data import PermitSingle

MAX_ASKED = 16
"""Questions to key stores that are open at once; more would only wait behind them."""
MAX_PERMITS = 1_000
"""Signatures of permits that are kept; of more, the oldest are forgotten."""
T = TypeVar("T")
_Permit = tuple[str, int, PermitSingle]
"""Owner, chain and what is permitted: all that a permit's signature depends on."""


class WaitingSigner:
    """Asks in threads, and does everything else in the process's loop.

    An attempt is asked for once, however many want it meanwhile, and it is recorded also when nobody waits any more:
    whoever asks for it again is given what was signed. So a person may take longer to confirm than an executor waits.
    A permit is asked for once as well; its signature is kept in memory until the permit's deadline.
    """

    def __init__(self, signer: LocalSigner) -> None:
        self._signer = signer
        self._asked: dict[Hashable, asyncio.Task[SignedAttempt]] = {}
        self._permits: dict[_Permit, asyncio.Task[bytes]] = {}
        self._threads = ThreadPoolExecutor(MAX_ASKED, thread_name_prefix="key-store")
        self._in_threads = 0

    async def sign_transaction(self, request: SignRequest) -> SignedAttempt:
        """As ``LocalSigner.sign_transaction``, without blocking."""
        with self._signer.counted("transaction"):
            wanted = self._signer.begin_transaction(request)
            if isinstance(wanted, SignedAttempt):
                return wanted
            attempt = _attempt_of(request)
            asked = self._asked.get(attempt)
            if asked is None:
                asked = self._asked[attempt] = asyncio.create_task(self._sign(request, wanted))
                asked.add_done_callback(lambda _: self._asked.pop(attempt, None))
                return await asyncio.shield(asked)
            # Somebody asked for it before: their answer is on record when it comes, and is checked for this asker too.
            await asyncio.shield(asked)
            recorded = self._signer.begin_transaction(request)
            if isinstance(recorded, SignedAttempt):
                return recorded
            raise GuardUnavailableError("the attempt was asked for twice at once; ask again")

    async def sign_permit(self, request: PermitRequest) -> bytes:
        """As ``LocalSigner.sign_permit``, without blocking."""
        with self._signer.counted("permit"):
            asked = self._permit(request, self._signer.begin_permit(request))
            return self._signer.end_permit(request, await asyncio.shield(asked))

    def close(self) -> None:
        """Ask nobody any more. What is being asked ends by the limits of its store, and is not recorded."""
        for task in (*self._asked.values(), *self._permits.values()):
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _sign(self, request: SignRequest, wanted: Wanted) -> SignedAttempt:
        signed = await self._in_thread(wanted.sign)
        return self._signer.end_transaction(request, signed, wanted)

    def _permit(self, request: PermitRequest, sign: Callable[[], bytes]) -> asyncio.Task[bytes]:
        """The one question for a permit, asked now or before. A failure is not kept, and a signature no longer than the
        permit holds: by policy that is not long."""
        now_s = self._signer.clock_s()
        done = [key for key, task in self._permits.items() if task.done()]
        over = [key for key in done if key[2].sig_deadline_s < now_s]
        for key in over or done[: max(0, len(done) - MAX_PERMITS + 1)]:
            del self._permits[key]
        wanted = request.owner.lower(), request.chain_id, request.permit
        asked = self._permits.get(wanted)
        if asked is None:
            asked = self._permits[wanted] = asyncio.create_task(self._in_thread(sign))
            asked.add_done_callback(partial(self._drop_failed, wanted))
        return asked

    def _drop_failed(self, wanted: _Permit, asked: asyncio.Task[bytes]) -> None:
        if asked.cancelled() or asked.exception() is not None:
            del self._permits[wanted]

    async def _in_thread(self, call: Callable[[], T]) -> T:
        if self._in_threads >= MAX_ASKED:
            raise KeyStoreUnavailableError(f"{MAX_ASKED} questions to the key store are open already; ask again")
        self._in_threads += 1
        try:
            answer: Awaitable[T] = asyncio.get_running_loop().run_in_executor(self._threads, call)
            return await answer
        finally:
            self._in_threads -= 1


def _attempt_of(request: SignRequest) -> Hashable:
    """Two requests for one attempt: by its number as the record knows it, else by what it does."""
    what = request.transaction if request.attempt is None else request.attempt
    return request.sender.lower(), request.transaction.chain_id, request.intent_id, request.kind, what
