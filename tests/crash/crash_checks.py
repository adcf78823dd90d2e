"""The promises, checked against all evidence after a batch of crashes. Each breach is a sentence with its proof."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from crash_evidence import JOURNALS, Journals, OurChain, Streams
from crash_rows import rows
from crash_signatures import signatures
from crash_signers import SignerRecords
from crash_stack import CrashStack
from dexlane_cli.reconcile import compare

HARMLESS_FAILURES = ("no NATS server lets us in", "the bus")
"""Reasons for which a service may end by itself: the broker was killed, and it is started again."""


def chain_and_journals(chain: OurChain, journals: Journals) -> Iterator[str]:
    """Every transaction of ours on the chain belongs to one journalled attempt, and no slot or intent has two."""
    attempts = defaultdict(list)
    for attempt in journals.attempts:
        attempts[attempt["tx_hash"]].append(attempt)
    slots = {slot["intent_id"]: slot for slot in journals.slots}
    effects: Counter[str] = Counter()
    mined_slots = set()
    for tx in chain.mined:
        known = attempts[tx.hash]
        if len(known) != 1:
            yield f"{tx} belongs to {len(known)} journalled attempts"
            continue
        slot = slots[known[0]["intent_id"]]
        effects[slot["intent_id"]] += 1
        mined_slots.add((tx.account, tx.nonce))
        if (slot["account"].lower(), slot["nonce"]) != (tx.account, tx.nonce):
            yield f"intent {slot['intent_id']} owns slot {slot['nonce']} but was mined with nonce {tx.nonce}"
        yield from _told_as_mined(slot, known[0], tx)
    yield from (f"intent {intent} took effect {n} times" for intent, n in effects.items() if n > 1)
    for slot in journals.slots:
        if (slot["account"].lower(), slot["nonce"]) not in mined_slots:
            yield f"a slot has no transaction: {slot}"


def _told_as_mined(slot: dict[str, Any], attempt: dict[str, Any], tx: Any) -> Iterator[str]:
    state = orjson.loads(slot["record"])["state"]
    included = state["included"]
    if state["stage"] != "final" or included is None:
        yield f"intent {slot['intent_id']} is mined as {tx.hash} and not final in the journal: {state}"
    elif (included["number"], included["success"], included["block"]["number"]) != (
        attempt["number"],
        tx.succeeded,
        tx.block,
    ):
        yield f"intent {slot['intent_id']}: the journal says {included}, the chain {tx} (attempt {attempt['number']})"


def nonces(chain: OurChain) -> Iterator[str]:
    """The nonces of each account follow one another from the first."""
    for address, first in chain.first_nonces.items():
        used = sorted(tx.nonce for tx in chain.mined if tx.account == address)
        if used != list(range(first, first + len(used))):
            yield f"the nonces of {address} are not in a row from {first}: {used[-20:]}"


def outcomes(journals: Journals) -> Iterator[str]:
    """Every intent has one final outcome in the ledger, with one standing entry when money moved."""
    portfolio = "portfolio"
    held = defaultdict(list)
    for row in rows(journals.data, portfolio, "SELECT intent_id, event, final, entry_id FROM outcomes WHERE holds"):
        held[row["intent_id"]].append(row)
    taken_back = {
        r["reverses"] for r in rows(journals.data, portfolio, "SELECT reverses FROM entries WHERE reverses IS NOT NULL")
    }
    standing = defaultdict(list)
    for row in rows(journals.data, portfolio, "SELECT id, cause_id FROM entries WHERE reverses IS NULL"):
        if row["id"] not in taken_back:
            standing[row["cause_id"]].append(row["id"])
    wanted = {slot["intent_id"]: _end_of(slot) for slot in journals.slots}
    for intent in journals.intents:
        intent_id, found = intent["intent_id"], held[intent["intent_id"]]
        if len(found) != 1 or not found[0]["final"]:
            yield f"{intent['mode']} intent {intent_id} ({intent['purpose']}) has no single final outcome: {found}"
            continue
        if intent_id in wanted and found[0]["event"] != wanted[intent_id]:
            yield f"intent {intent_id} ended as {wanted[intent_id]} in its journal, {found[0]['event']} in the ledger"
        if len(standing[intent_id]) > 1 or (found[0]["event"] == "fill.confirmed" and not standing[intent_id]):
            yield f"intent {intent_id} ({found[0]['event']}) has {len(standing[intent_id])} standing entries"
    unknown = held.keys() - {intent["intent_id"] for intent in journals.intents}
    yield from (f"the ledger knows an outcome of intent {intent}, and no journal does" for intent in unknown)


def _end_of(slot: dict[str, Any]) -> str:
    state = orjson.loads(slot["record"])["state"]
    included = state["included"]
    if included is None or not included["success"]:
        return "intent.failed"
    # By its number, not its place: one that the signer alone has on record is left out.
    kinds = {attempt["number"]: attempt["kind"] for attempt in state["attempts"]}
    return "fill.confirmed" if kinds[included["number"]] == "trade" else "intent.failed"


def paper_trades(journals: Journals) -> Iterator[str]:
    """Every paper intent was taken by paper-sim once, and came to its end there."""
    trades = {
        r["intent_id"]: r["status"]
        for r in rows(journals.data, "paper-sim", "SELECT intent_id, status FROM paper_trade")
    }
    for intent in journals.intents:
        if intent["mode"] == "paper" and trades.get(intent["intent_id"]) != "closed":
            yield f"paper intent {intent['intent_id']} is {trades.get(intent['intent_id'])} at paper-sim"
    unknown = trades.keys() - {i["intent_id"] for i in journals.intents if i["mode"] == "paper"}
    yield from (f"paper-sim trades intent {intent}, and no journal knows it" for intent in unknown)


def paper_balances(journals: Journals) -> Iterator[str]:
    """paper-sim's balances are the ledger's, to the unit."""
    ledger = {
        (row["path"].rpartition(":")[2], row["token"]): int(row["amount"])
        for row in rows(
            journals.data, "portfolio", "SELECT path, token, amount FROM balances WHERE path LIKE 'assets:%'"
        )
    }
    for row in rows(journals.data, "paper-sim", "SELECT account, token, amount FROM paper_balance"):
        booked = ledger.get((row["account"], row["token"]), 0)
        if booked != int(row["amount"]):
            yield f"paper account {row['account']} holds {row['amount']} of {row['token']}, the ledger says {booked}"


class Told:
    """What the outboxes say was published, read before the streams are."""

    def __init__(self, data: Path | str) -> None:
        query = "SELECT sequence, event_id, subject, stream FROM outbox WHERE sent_ms IS NOT NULL ORDER BY sequence"
        all_rows = [{**row, "journal": name} for name in JOURNALS for row in rows(data, name, query)]
        self.trading = [row for row in all_rows if row["stream"] == "TRADING"]
        self.newest_state = {row["subject"]: row["sequence"] for row in all_rows if row["stream"] == "STATE"}


def streams_and_outboxes(data: Path | str, told: Told, streams: Streams) -> Iterator[str]:
    """Everything that was published is on its stream, and no last value is older than its journal's newest."""
    for row in told.trading:
        if row["event_id"] not in streams.trading:
            yield f"the stream lacks what a journal says it published: {row}"
    query = "SELECT sequence, event_id FROM outbox WHERE stream = 'STATE'"
    places = {row["event_id"]: row["sequence"] for name in JOURNALS for row in rows(data, name, query)}
    for subject, newest in told.newest_state.items():
        event_id = streams.state.get(subject, "nothing")
        if places.get(event_id, -1) < newest:
            yield f"the last value of {subject} is {event_id}, older than row {newest} of its journal"


def failures(stack: CrashStack) -> Iterator[str]:
    """Reasons for which services ended by themselves, out of their logs."""
    for name in ("market-feed", "risk-scorer", "gas-oracle", *JOURNALS):
        path = stack.logs / f"{name}.log"
        for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
            if '"service_failed"' in line or '"follower_failed"' in line or '"handler_failed"' in line:
                record = orjson.loads(line)
                yield f"{name}: {record.get('event')} {record.get('reason', '')} {record.get('cause', '')}"[:700]


TOLD = {
    "signer gone or frozen, asked again later": '"denial":"SignerUnreachableError"',
    "entries denied for want of a sign of life": '"denial":"no_sign_of_life"',
    "commits read back that had landed": '"landed":true',
    "commits read back that had not": '"landed":false',
}
"""What the services' logs say about outages, for the report."""


def seen_in_logs(stack: CrashStack) -> dict[str, int]:
    """How often services met what the faults are there for."""
    texts = [path.read_text(errors="replace") for path in stack.logs.glob("*.log")]
    return {what: sum(text.count(sign) for text in texts) for what, sign in TOLD.items()}


def fatal_ends(stack: CrashStack) -> list[str]:
    """Money services that took an outage for something that must halt trading, which only a person lets go on."""
    return [
        line
        for line in failures(stack)
        if line.startswith(JOURNALS)
        and " service_failed " in line
        and not any(why in line for why in HARMLESS_FAILURES)
    ]


async def reconciled(stack: CrashStack) -> list[str]:
    """``dexlane reconcile``: differences of the live ledger from the chain."""
    block, lines = await asyncio.to_thread(compare, stack.options, 1)
    if not lines:
        return [f"nothing was reconciled at block {block}"]
    return [f"reconcile at block {block}: {line} differs by {line.difference}" for line in lines if line.difference]


async def violations(stack: CrashStack, chain: OurChain, streams: Streams) -> list[str]:
    """Every breach that is found now, when nothing is under way."""
    await chain.read()
    told = await asyncio.to_thread(Told, stack.data)
    await streams.read()
    journals = await asyncio.to_thread(Journals, stack.data)
    records = await asyncio.to_thread(SignerRecords.of, stack.options)
    found = await reconciled(stack)
    for check in (
        lambda: chain_and_journals(chain, journals),
        lambda: nonces(chain),
        lambda: signatures(records, journals, chain),
        lambda: outcomes(journals),
        lambda: paper_trades(journals),
        lambda: paper_balances(journals),
        lambda: streams_and_outboxes(stack.data, told, streams),
    ):
        found += await asyncio.to_thread(lambda check=check: list(check()))
    found += [f"dead letter {letter}" for letter in streams.dead_letters]
    return found
