"""What the code of tokens allows: judged once for each code, in another process, beside everything else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread

from dexlane.domain.risk.bytecode.verdict import CodeVerdict, judge_code
from dexlane.domain.risk.evidence import CodeFacts, Seen, TokenFacts
from risk_scorer.metrics import Moments
from risk_scorer.tokens.code_cache import CodeCache

Judge = Callable[[bytes], Awaitable[CodeVerdict]]
MOST_REASONS = 8


class OtherProcess:
    """Judges code in a process of its own, which is started when first needed: a verdict takes up to seconds of
    computing, and this process has opportunities to answer in milliseconds."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def judge(self, code: bytes) -> CodeVerdict:
        """The verdict on a code. ``OSError`` or ``BrokenExecutor`` when the process cannot start or has died."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_end_with_parent)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, judge_code, code)
        except (OSError, BrokenExecutor):
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let go of the process; another verdict starts a new one."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


class CodeDesk:
    """Verdicts by code hash. A code that was not judged yet has none, which the contract score counts."""

    def __init__(self, judge: Judge, moments: Moments, cache: CodeCache | None = None) -> None:
        self._judge = judge
        self._cache = cache
        self._moments = moments
        self._known: dict[str, CodeFacts] = {}
        self._waiting: dict[str, bytes] = {}
        self._came = asyncio.Event()

    def of(self, facts: Mapping[str, Seen[TokenFacts]]) -> dict[str, CodeFacts]:
        """What is known about the code of these tokens, by token."""
        return {
            token: self._known[seen.value.code_hash]
            for token, seen in facts.items()
            if seen.value.code_hash is not None and seen.value.code_hash in self._known
        }

    def ask(self, code_hash: str, code: bytes) -> None:
        """Judge this code when there is time, unless it is known or waits already."""
        if code_hash not in self._known and code_hash not in self._waiting:
            self._waiting[code_hash] = code
            self._came.set()

    async def keep_judging(self) -> None:
        """Judge one code after the other, for ever, but what the cache kept. One that could not be judged is asked for
        again with its token."""
        if self._cache is not None:
            self._known = {**await self._cache.recall(), **self._known}
        while True:
            await self._came.wait()
            self._came.clear()
            while self._waiting:
                await self._next()

    async def _next(self) -> None:
        code_hash, code = next(iter(self._waiting.items()))
        if code_hash in self._known:
            del self._waiting[code_hash]
            return
        try:
            self._known[code_hash] = _facts(await self._judge(code))
        except (OSError, BrokenExecutor) as error:
            self._moments.code_not_judged(code_hash, str(error) or type(error).__name__)
        else:
            self._moments.code_judged(code_hash, self._known[code_hash])
            if self._cache is not None:
                await self._cache.write({code_hash: self._known[code_hash]})
        del self._waiting[code_hash]


def _end_with_parent() -> None:
    """Let this process end when the service is killed: it would hold the service's pipes, and whoever waits for their
    end would never start the service again."""
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _facts(verdict: CodeVerdict) -> CodeFacts:
    reasons = tuple(
        dict.fromkeys(f"{finding.flag.replace('_', ' ')}: {finding.reason}" for finding in verdict.findings)
    )
    return CodeFacts(
        score=verdict.score,
        flags=tuple(verdict.flags),
        reasons=(*verdict.notes, *reasons)[:MOST_REASONS],
        complete=verdict.complete,
    )
