"""What one provider says at a block: receipts, nonces, pools, and a trial of what waits on exactly that state."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dexlane.chain.answers import NOT_READABLE, Receipt
from dexlane.chain.rpc import Rpc, RpcError, RpcUnavailable
from dexlane.chain.signed_call import SignedCall
from dexlane.values.chains import BlockRef

T = TypeVar("T")

REVERTED_CODE = 3
"""The error code of a reverted ``eth_call`` (go-ethereum ``internal/ethapi``, and those that follow it)."""
REVERT_PHRASES = ("revert", "out of gas", "invalid opcode")


def _nobody() -> str:
    return ""


def _nothing(_: object) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Witness:
    """One provider. ``left_out`` says why it is not to be asked, empty when it is; ``drop`` stops asking it for a
    while, for a reason (a clause without subject); ``head_seen`` is told its newest block."""

    name: str
    rpc: Rpc
    left_out: Callable[[], str] = _nobody
    drop: Callable[[str], None] = _nothing
    head_seen: Callable[[int], None] = _nothing


@dataclass(frozen=True, slots=True)
class Trial:
    """A trade to be tried out: who sends it, and what."""

    sender: str
    call: SignedCall


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What is asked at a block. ``hashes``: whose receipts; ``sought``: which of them are looked for in pools as well;
    ``trials``: what is tried on the state of ``block``, by intent; ``poor``: accounts whose balance is of interest;
    ``suspect``: those whose nonce at the finalized block is; ``final``: in which block a transaction became final."""

    block: BlockRef
    accounts: frozenset[str] = frozenset()
    hashes: frozenset[str] = frozenset()
    sought: frozenset[str] = frozenset()
    trials: Mapping[str, Trial] = field(default_factory=dict)
    poor: frozenset[str] = frozenset()
    suspect: frozenset[str] = frozenset()
    final: Mapping[str, BlockRef] = field(default_factory=dict)
    finalized: bool = False


@dataclass(frozen=True, kw_only=True)
class Testimony:
    """What one provider answered. What went unanswered is not in the mappings; a receipt that is not there is None.

    ``pooled`` are the sought hashes that wait in its pool, ``final_nonces`` those at its finalized block, ``reverting``
    the intents whose trade would fail, ``mislaid`` the final transactions whose receipt it lacks without another block
    in the place of theirs: an index that lags, and no reorganisation. ``fault`` is the first thing that went wrong.
    """

    name: str
    head: int
    finalized: int | None = None
    nonces: Mapping[str, int] = field(default_factory=dict)
    final_nonces: Mapping[str, int] = field(default_factory=dict)
    receipts: Mapping[str, Receipt | None] = field(default_factory=dict)
    known: Mapping[str, bool] = field(default_factory=dict)
    pooled: frozenset[str] = frozenset()
    reverting: frozenset[str] = frozenset()
    mislaid: frozenset[str] = frozenset()
    balances: Mapping[str, int] = field(default_factory=dict)
    fault: str = ""


async def hear(name: str, rpc: Rpc, questions: Questions, *, with_trials: bool) -> Testimony:
    """Ask one provider everything. ``RpcError`` or ``RpcUnavailable`` when it does not even say where it is."""
    at_finality = functools.partial(rpc.transaction_count, block="finalized")
    head, final, nonces, final_nonces, balances, reverting = await asyncio.gather(
        rpc.block_number(),
        _finalized(rpc) if questions.finalized else _none(),
        _each(rpc.transaction_count, questions.accounts),
        _each(at_finality, questions.suspect),
        _each(rpc.balance, questions.poor),
        _reverting(rpc, questions) if with_trials else _no_intents(),
    )
    # After the nonces: a transaction included between the two look-ups then shows up as a receipt at least. The trials
    # are made on the state of one block by its hash, so their order does not matter.
    receipts, known = await asyncio.gather(
        _each(rpc.receipt, questions.hashes), _each(rpc.transaction, questions.sought)
    )
    return Testimony(
        name=name,
        head=head,
        finalized=final,
        nonces=nonces.found,
        final_nonces=final_nonces.found,
        receipts=receipts.found,
        known={tx_hash: transaction is not None for tx_hash, transaction in known.found.items()},
        pooled=frozenset(key for key, waiting in known.found.items() if waiting is not None and waiting.block is None),
        reverting=reverting,
        mislaid=await _mislaid(rpc, questions.final, receipts.found),
        balances=balances.found,
        fault=nonces.fault or final_nonces.fault or receipts.fault or known.fault or balances.fault,
    )


@dataclass(frozen=True, slots=True)
class _Answers(Generic[T]):
    found: dict[str, T]
    fault: str


async def _each(ask: Callable[[str], Awaitable[T]], subjects: frozenset[str]) -> _Answers[T]:
    """The answers there are. Nodes that talk nonsense have not answered."""

    async def one(subject: str) -> T | Exception:
        try:
            return await ask(subject)
        except (RpcError, RpcUnavailable, *NOT_READABLE) as error:
            return error

    order = sorted(subjects)
    answers = await asyncio.gather(*(one(subject) for subject in order))
    found = {key: answer for key, answer in zip(order, answers, strict=True) if not isinstance(answer, Exception)}
    return _Answers(found, next((str(answer) for answer in answers if isinstance(answer, Exception)), ""))


async def _mislaid(rpc: Rpc, final: Mapping[str, BlockRef], receipts: Mapping[str, Receipt | None]) -> frozenset[str]:
    """Asked only where a receipt is missing. A block's hash commits to the transactions in it, so only another block in
    its place undoes them: a node behind a balancer may know neither, and one that refuses to answer has said nothing.
    """
    missing = frozenset(tx_hash for tx_hash in final if tx_hash in receipts and receipts[tx_hash] is None)
    headers = await _each(lambda tx_hash: rpc.block(final[tx_hash].number), missing)
    replaced = {
        tx_hash
        for tx_hash, header in headers.found.items()
        if header is not None and header.hash != final[tx_hash].hash
    }
    return missing - replaced


async def _finalized(rpc: Rpc) -> int | None:
    try:
        header = await rpc.block("finalized")
    except (RpcError, RpcUnavailable, *NOT_READABLE):
        return None
    return None if header is None else header.number


async def _none() -> None:
    return None


async def _no_intents() -> frozenset[str]:
    return frozenset()


async def _reverting(rpc: Rpc, questions: Questions) -> frozenset[str]:
    async def fails(intent_id: str, trial: Trial) -> str | None:
        try:
            await rpc.try_out(trial.sender, trial.call, block=questions.block.hash)
        except RpcError as error:
            return intent_id if is_revert(error) else None
        except (RpcUnavailable, *NOT_READABLE):
            return None
        return None

    verdicts = await asyncio.gather(*(fails(intent_id, trial) for intent_id, trial in questions.trials.items()))
    return frozenset(intent_id for intent_id in verdicts if intent_id is not None)


def is_revert(error: RpcError) -> bool:
    """Whether a call failed because of what it does, and not because the node could not try it."""
    text = error.message.lower()
    return error.code == REVERTED_CODE or any(phrase in text for phrase in REVERT_PHRASES)
