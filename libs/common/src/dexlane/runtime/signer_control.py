"""Halting signers over their control sockets: the one way that needs neither the bus nor the executors.

One JSON object a line, answered by one (the signer's README says which). Nothing here can resume or sign.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson

TIME_LIMIT_S = 1.0
BEAT_EVERY_S = 1.0


async def tell(socket: Path, said: Mapping[str, str], *, time_limit_s: float = TIME_LIMIT_S) -> dict[str, object]:
    """Say one thing to one signer; its answer, or ``{"refused": why}`` when it does not answer. Never raises."""
    try:
        async with asyncio.timeout(time_limit_s):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(orjson.dumps(said) + b"\n")
                await writer.drain()
                answer = orjson.loads(await reader.readline())
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        return {"refused": f"no signer answers at {socket}: {error or type(error).__name__}"}
    return answer if isinstance(answer, dict) else {"refused": f"{socket} speaks another language"}


async def halt_all(sockets: Iterable[Path], level: str, reason: str) -> dict[str, str]:
    """Halt every signer at once; why not, by socket, for those that did not confirm."""
    said = {"do": "halt", "level": level, "source": "api", "reason": reason}
    places = list(sockets)
    answers = await asyncio.gather(*(tell(place, said) for place in places))
    return {
        str(place): str(answer.get("refused", "it did not confirm"))
        for place, answer in zip(places, answers, strict=True)
        if answer.get("done") != "halt"
    }


async def beat(sockets: Iterable[Path]) -> list[str]:
    """Give each signer a sign of life; why not, for those that could not be reached."""
    answers = await asyncio.gather(*(tell(place, {"do": "beat"}) for place in sockets))
    return [str(answer.get("refused")) for answer in answers if answer.get("done") != "beat"]
