"""Signing with keys that lie elsewhere, while the process goes on: a halt never waits for a key store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from dexlane_signer.attempts import SignedAttempt
from dexlane_signer.guard_file import GuardUnavailableError
from dexlane_signer.key_stores.errors import KeyStoreUnavailableError
from dexlane_signer.signer import LocalSigner, SignRequest, Wanted

MAX_ASKED = 16
"""Questions to key stores that are open at once; more would only wait behind them."""
T = TypeVar("T")


class WaitingSigner:
    """Asks in threads, and does everything else in the process's loop.

    An attempt is asked for once, however many want it meanwhile, and it is recorded also when nobody waits any more:
    whoever asks for it again is given what was signed. So a person may take longer to confirm than an executor waits.
    """

    def __init__(self, signer: LocalSigner) -> None:
        self._signer = signer
        self._asked: dict[Hashable, asyncio.Task[SignedAttempt]] = {}
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

    def close(self) -> None:
        """Ask nobody any more. What is being asked ends by the limits of its store, and is not recorded."""
        for task in self._asked.values():
            task.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _sign(self, request: SignRequest, wanted: Wanted) -> SignedAttempt:
        signed = await self._in_thread(wanted.sign)
        return self._signer.end_transaction(request, signed, wanted)

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
