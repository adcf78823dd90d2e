"""The code that exists only inside simulated calls (``contracts/Probe.sol``), and the language it is spoken to in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

from dexlane.chain.abi import raw_address
from dexlane.chain.keccak import keccak256

NOBODY = "0x" + "0" * 40
_STEP_BYTES, _RESULT_BYTES = 63, 64


_raw = lru_cache(maxsize=1_024)(raw_address)


@dataclass(frozen=True, slots=True)
class Step:
    """A call inside a call. Without an actor the probe makes it itself.

    ``take``: which of the first four words of the answer is wanted. ``all_tokens``: the argument in word ``amount_at``,
    one of the first eight, becomes what the actor holds of the token at that moment. ``changing``: the actor's call
    counts only if it changes something.
    """

    target: str
    data: bytes
    actor: str = NOBODY
    gas: int = 200_000
    value_wei: int = 0
    take: int = 0
    all_tokens: bool = False
    changing: bool = False
    amount_at: int = 0

    def encoded(self) -> bytes:
        """The bytes that the probe reads."""
        flags = self.take | (4 if self.all_tokens else 0) | (8 if self.changing else 0) | self.amount_at << 4
        return b"".join(
            (
                _raw(self.actor),
                _raw(self.target),
                self.gas.to_bytes(4, "big"),
                self.value_wei.to_bytes(16, "big"),
                flags.to_bytes(1, "big"),
                len(self.data).to_bytes(2, "big"),
                self.data,
            )
        )


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a step. ``size`` is the length of the answer in bytes, ``word`` zero when it was shorter."""

    ok: bool
    gas: int
    size: int
    word: int

    @property
    def value(self) -> int | None:
        """The word, when there was one."""
        return self.word if self.ok and self.size >= 32 else None


class ProbeError(ValueError):
    """The probe's answer is cut off: the node stopped it, or it is no probe."""


@cache
def codes() -> Mapping[str, str]:
    """Runtime code of ``Probe``, ``Puppet``, ``Deputy`` and ``Trap`` in hex, with 0x."""
    text = resources.files("dexlane.chain.token_check").joinpath("contracts/probe.json").read_text(encoding="utf-8")
    content: dict[str, str] = json.loads(text)
    return {name: "0x" + content[name] for name in ("Probe", "Puppet", "Deputy", "Trap")}


def exploration(token: str, steps: Sequence[Step], switches: Sequence[Step] = (), suffix: Sequence[Step] = ()) -> bytes:
    """Calldata: ``steps`` one after the other; then each switch alone with ``suffix`` after it, and taken back."""
    counts = (len(steps), len(switches), len(suffix))
    head = b"\0" + raw_address(token) + b"".join(count.to_bytes(2, "big") for count in counts)
    return head + b"".join(step.encoded() for step in (*steps, *switches, *suffix))


@dataclass(frozen=True, slots=True)
class Exploration:
    """The answer. A branch is None where its switch failed; otherwise the switch's result and those of the suffix."""

    steps: tuple[Told, ...]
    branches: tuple[tuple[Told, ...] | None, ...]
    broken: int
    """How many branches broke off for want of gas."""


def read_exploration(data: bytes, steps: int, switches: int, suffix: int) -> Exploration:
    """Read an answer; ``ProbeError`` when it is cut off."""
    results = _results(data, 0, steps)
    branches: list[tuple[Told, ...] | None] = []
    at, broken = steps * _RESULT_BYTES, 0
    for _ in range(switches):
        if at >= len(data):
            raise ProbeError("the probe's answer ends early")
        state = data[at]
        at += 1
        if state == 1:
            branches.append(_results(data, at, suffix + 1))
            at += (suffix + 1) * _RESULT_BYTES
        else:
            branches.append(None)
            broken += state == 2
    return Exploration(results, tuple(branches), broken)


def _results(data: bytes, at: int, count: int) -> tuple[Told, ...]:
    if len(data) < at + count * _RESULT_BYTES:
        raise ProbeError("the probe's answer ends early")
    return tuple(_told(data[place : place + 64]) for place in range(at, at + count * _RESULT_BYTES, _RESULT_BYTES))


def _told(part: bytes) -> Told:
    return Told(
        ok=part[0] == 1,
        gas=int.from_bytes(part[8:16], "big"),
        size=int.from_bytes(part[16:32], "big"),
        word=int.from_bytes(part[32:], "big"),
    )


@cache
def selector(signature: str) -> bytes:
    """The first four bytes of a function's hash."""
    return keccak256(signature.encode())[:4]


def call(signature: str, *words: int | str) -> bytes:
    """Calldata of a function whose arguments are all static: integers, or addresses in hex."""
    return selector(signature) + arguments(*words)


def arguments(*words: int | str) -> bytes:
    """Static arguments one after the other."""
    parts = (
        raw_address(word).rjust(32, b"\0") if isinstance(word, str) else word.to_bytes(32, "big") for word in words
    )
    return b"".join(parts)
