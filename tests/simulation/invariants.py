"""What must hold at every step: watched from outside, by reading disks, bus and chain only."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any, NamedTuple

import orjson

from dexlane.testing.builders import CHAIN_ID
from dexlane.testing.fake_mempool import PooledTransaction
from simulation.broker import Stored
from simulation.disk import _connect
from simulation.limits import Controlled
from simulation.links import Message
from simulation.lives import Life
from simulation.market import LIVE
from simulation.shape import EXECUTORS, SIGNER

MINUTE_MS = 60_000
TERMINAL = ("tx.confirmed", "tx.failed", "tx.cancelled", "tx.expired")


class Fact(NamedTuple):
    """A row of an outbox."""

    sequence: int
    subject: str
    stream: str


class Monitor:
    """Violations are sentences that begin with the invariant they break."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self.violations: list[str] = []
        self._disks: dict[str, sqlite3.Connection] = {}
        self._slot_of: dict[str, tuple[str, int]] = {}
        self._intent_in: dict[tuple[str, int], str] = {}
        self._outcomes: dict[tuple[str, int], str] = {}
        self.facts: dict[str, dict[str, Fact]] = {}
        """What the outbox of each service ever held, in order, by the event's id; pruning takes nothing away here."""
        self.stored_ids: set[str] = set()
        """Facts that are on the bus."""
        self.may_be_lost: set[str] = set()
        """Verdicts on which not everything was decided when the broker forgot them: they come from no outbox."""
        self.may_go_unexplained: set[str] = set()
        """Verdicts that were not acknowledged then: what was cut off after their trades cannot be made up any more."""
        self._acknowledged: set[str] = set()
        self._signed: dict[str, str] = {}
        """What the records of the signers ever held: the intent by the hash."""
        self._epochs: dict[str, int] = {}
        """The highest lease that each signer signed a transaction for."""
        self._fees: dict[tuple[str, int], PooledTransaction] = {}
        self._controlled = Controlled(world.shape, self.rows)
        self._heard: dict[tuple[str, int], dict[str, tuple[str, float]]] = {}

    def violated(self, rule: str, what: str) -> None:
        """Note a breach, once."""
        sentence = f"{rule}: {what}"
        if sentence not in self.violations:
            self.violations.append(sentence)
            self._world.effect("violation", sentence)

    def rows(self, service: str, sql: str, *values: Any) -> list[Any]:
        """What is committed on a service's disk."""
        return self.disk(service).execute(sql, values).fetchall()

    def disk(self, name: str) -> sqlite3.Connection:
        """A reader of the file of that name."""
        disk = self._disks.get(name)
        if disk is None:
            disk = self._disks[name] = _connect(self._world.folder / f"{name}.db", isolation_level=None)
        return disk

    def let_go(self, name: str) -> None:
        """An older file takes the place of this one, and knows of no later epoch."""
        self._epochs.clear()
        disk = self._disks.pop(name, None)
        if disk is not None:
            disk.close()

    def close(self) -> None:
        """Close what was read from."""
        for disk in self._disks.values():
            disk.close()

    # --- at every step -----------------------------------------------------------------------------------------

    def committed(self, life: Life, database: str, label: str) -> None:
        """A transaction was committed."""
        if database == "journal" and label != "mark":
            self._note_facts(life.name)
        if life.name in EXECUTORS and database == "journal":
            if label == "intent":
                self._check_slots(life.name)
                self._check_limits(life.name)
                self._check_order_rate(life.name)
                for breach in self._controlled.broken(life.name):
                    self.violated("I5", breach)
                newest = self.rows(life.name, "SELECT purpose FROM execution_intents ORDER BY rowid DESC LIMIT 1")
                self._check_halted(life, newest[0][0])
            if label == "attempt":
                self._check_expiry(life)
            if label in {"intent", "attempt", "progress"}:
                self._check_epoch(life)
            if label != "mark":
                self._check_facts_of_slots(life.name)
        if database == "guard" and label == "signature":
            guard = f"{life.name.removesuffix('-signer')}-guard-{CHAIN_ID}"
            self._signed.update(self.rows(guard, "SELECT hash, intent_id FROM attempts"))
        if life.name == "portfolio" and label == "entry":
            self._check_trial_balance()
            self._check_holding_outcomes()

    def _note_facts(self, service: str) -> None:
        known = self.facts.setdefault(service, {})
        last = next(reversed(known.values())).sequence if known else 0
        query = "SELECT event_id, sequence, subject, stream FROM outbox WHERE sequence > ? ORDER BY sequence"
        known.update((event_id, Fact(*fact)) for event_id, *fact in self.rows(service, query, last))

    def _check_slots(self, service: str) -> None:
        """I1: one intent, one slot, for life."""
        for account, nonce, intent in self.rows(service, "SELECT account, nonce, intent_id FROM execution_slots"):
            slot = (account, nonce)
            if self._slot_of.setdefault(intent, slot) != slot:
                self.violated("I1", f"intent {intent[:8]} moved from slot {self._slot_of[intent]} to {slot}")
            if self._intent_in.setdefault(slot, intent) != intent:
                self.violated("I1", f"slot {slot} went from intent {self._intent_in[slot][:8]} to {intent[:8]}")

    def _check_limits(self, service: str) -> None:
        """I5: what open intents hold, and what filled ones have at work, stays within the lane's capital."""
        query = "SELECT payload, is_open FROM execution_intents WHERE book_id = ? AND purpose = 'entry'"
        used = 0
        for payload, is_open in self.rows(service, query, LIVE):
            intent = orjson.loads(payload)
            if is_open:
                used += int(intent["plan"]["amount_in"])
        if used > self._world.shape.capital:
            self.violated("I5", f"open entries of {service} hold {used} of {self._world.shape.capital}")

    def _check_order_rate(self, service: str) -> None:
        """I5: no more entries in a minute than the lane allows, whatever was restarted. Clocks that were set off
        measure other minutes."""
        if self._world.shape.clock_off:
            return
        query = "SELECT purpose, created_ms FROM execution_intents WHERE book_id = ? AND purpose != 'allowance'"
        orders = sorted((created, purpose) for purpose, created in self.rows(service, query, LIVE))
        if orders and orders[-1][1] == "entry":
            recent = sum(orders[-1][0] - created < MINUTE_MS for created, _ in orders)
            most = self._world.shape.max_orders_per_minute
            if recent > most:
                self.violated("I5", f"{recent} orders of {service} in a minute, of {most}")

    def _check_expiry(self, life: Life) -> None:
        """I8: no trade is signed at or after its deadline block, as its executor knew the chain; nor after a halt."""
        query = (
            "SELECT a.block, a.max_fee_per_gas_wei, s.record, i.payload, i.purpose FROM execution_attempts a "
            "JOIN execution_slots s USING (intent_id) JOIN execution_intents i USING (intent_id) "
            "WHERE a.kind = 'trade' ORDER BY a.rowid DESC LIMIT 1"
        )
        newest = self.rows(life.name, "SELECT kind FROM execution_attempts ORDER BY rowid DESC LIMIT 1")
        if newest[0][0] != "trade":
            return
        for block, fee_cap, record, payload, purpose in self.rows(life.name, query):
            plan = orjson.loads(payload)["plan"]
            self._check_budget(int(fee_cap), int(orjson.loads(record)["state"]["fee_budget_wei"]))
            if plan is not None and block >= plan["deadline_block"]:
                self.violated("I8", f"a trade was signed at block {block}, after {plan['deadline_block']}")
            self._check_halted(life, purpose)

    def _check_budget(self, fee_cap_wei: int, budget_wei: int) -> None:
        """I5: no attempt of a trade may pay more per gas than its intent's budget."""
        if fee_cap_wei > budget_wei:
            self.violated("I5", f"an attempt may pay {fee_cap_wei} wei per gas, of {budget_wei}")

    def _check_epoch(self, life: Life) -> None:
        """I8: only the instance that holds the lease writes."""
        holders = [row[0] for row in self.rows(life.name, "SELECT holder FROM execution_leases")]
        instance = f"{life.process.name}.{life.number}"
        if holders != [instance]:
            self.violated("I8", f"{instance} wrote while {', '.join(holders)} holds the lease")

    def heard(self, life: Life, message: Message) -> None:
        """A process handled a word on trading."""
        event = orjson.loads(message.data)
        known = self._heard.setdefault((life.process.name, life.number), {})
        known[event["source"]] = (event["status"], self._world.loop.time())

    def is_halted(self, life: Life) -> bool:
        """Whether a process heard that nothing but cancels is wanted."""
        words = self._heard.get((life.process.name, life.number), {}).values()
        return any(status == "halted" for status, _ in words)

    def _check_halted(self, life: Life, purpose: str) -> None:
        """I8: nothing but cancels once a halt was heard, and no entries while only exits are wanted. What was decided
        a moment before may still be written."""
        words = self._heard.get((life.process.name, life.number), {}).values()
        for status, at_s in words:
            forbids = status == "halted" or (status == "reducing" and purpose == "entry")
            if forbids and self._world.loop.time() - at_s > 1:
                self.violated("I8", f"{life.name} went on ({purpose}) after it had heard {status}")

    def _check_facts_of_slots(self, service: str) -> None:
        """I10: every change of a slot that is counted in its record is a fact in the outbox."""
        query = (
            "SELECT s.intent_id, s.record, (SELECT count(*) FROM outbox o WHERE o.subject LIKE ? AND "
            "json_extract(o.payload, '$.intent_id') = s.intent_id) FROM execution_slots s WHERE s.is_open"
        )
        for intent, record, told in self.rows(service, query, f"main.{CHAIN_ID}.tx.%"):
            counted = orjson.loads(record)["sequence"]
            if counted != told:
                self.violated("I10", f"intent {intent[:8]} changed {counted} times and told {told}")

    def _check_holding_outcomes(self) -> None:
        """I6: the outcome that holds for an intent is one that was told, as it was told."""
        query = "SELECT intent_id, outcome_version, event FROM outcomes WHERE holds"
        for intent, version, name in self.rows("portfolio", query):
            told = self._outcomes.get((intent, version))
            if told != name:
                self.violated("I6", f"version {version} of intent {intent[:8]} was told as {told}, and {name} holds")

    def _check_trial_balance(self) -> None:
        """I6: every token sums to zero over all ledger accounts."""
        sums: Counter[str] = Counter()
        for token, amount in self.rows("portfolio", "SELECT token, amount FROM balances"):
            sums[token] += int(amount)
        for token, amount in sums.items():
            if amount:
                self.violated("I6", f"the ledger is out by {amount} of {token}")

    def sending(self, life: Life, tx: PooledTransaction) -> None:
        """I2 and I3: bytes that leave are on the signer's record before, for the intent that has their slot."""
        intent = self.intent_of(tx.hash)
        if intent is None:
            self.violated("I2", f"{life.name} sent {tx.hash[:10]} before it was on the signer's record")
            return
        slot = (tx.sender, tx.nonce)
        self._check_replacement(slot, tx)
        if self._intent_in.get(slot) != intent:
            self.violated(
                "I1", f"{tx.hash[:10]} of intent {intent[:8]} was signed for slot {slot}, which is not its own"
            )
        known = self.rows(life.name, "SELECT intent_id FROM execution_attempts WHERE tx_hash = ?", tx.hash)
        if known and known[0][0] != intent:
            self.violated("I3", f"{tx.hash[:10]} is signed for intent {intent[:8]}, and stored for {known[0][0][:8]}")

    def intent_of(self, tx_hash: str) -> str | None:
        """The intent that a transaction was signed for; None when no signer has it on record."""
        return self._signed.get(tx_hash)

    def signed(self, life: Life, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        """I8: a signer that signed for one lease, or told it what was signed, signs nothing for an earlier one."""
        if "signed" not in answer and "record" not in answer:
            return
        epoch = int(asked["request"]["epoch"])
        highest = self._epochs.setdefault(life.name, epoch)
        if epoch < highest:
            self.violated("I8", f"{life.name} answered epoch {epoch} after it had answered {highest}")
        self._epochs[life.name] = max(epoch, highest)

    def check_private(self, life: Life, tx: PooledTransaction) -> None:
        """A trade that is to go to relays alone is given to no node before its slot was made public."""
        if tx.to == tx.sender:
            return  # a cancel
        query = "SELECT record FROM execution_slots WHERE intent_id = ?"
        for (record,) in self.rows(life.name, query, self.intent_of(tx.hash)):
            if orjson.loads(record)["state"].get("path") == "private":
                self.violated("private", f"{life.name} gave {tx.hash[:10]} to a node, which was for relays alone")

    def _check_replacement(self, slot: tuple[str, int], tx: PooledTransaction) -> None:
        """A replacement pays more than what it replaces, in both fields."""
        before = self._fees.get(slot)
        if before is None or tx.max_fee_per_gas_wei > before.max_fee_per_gas_wei:
            self._fees[slot] = tx
        if before is None or before.hash == tx.hash or tx.max_fee_per_gas_wei < before.max_fee_per_gas_wei:
            return
        if tx.max_priority_fee_per_gas_wei <= before.max_priority_fee_per_gas_wei:
            self.violated("replacement", f"{tx.hash[:10]} offers no higher tip than {before.hash[:10]}")

    def publishing(self, life: Life, subject: str, headers: dict[str, str]) -> None:
        """I10: what a money service publishes was committed to its outbox."""
        event_id = headers.get("Nats-Msg-Id", "").removeprefix("main:")
        if subject.startswith(("dlq.", f"main.{CHAIN_ID}.trading.status")):
            return
        if event_id not in self.facts.get(life.name, ()):
            self.violated("I10", f"{life.name} published {subject} that is in no outbox")

    def acknowledged(self, life: Life, message: Message) -> None:
        """I9: what is acknowledged by a money service is in its inbox."""
        if message.durable is None or not message.subject.startswith(f"main.{CHAIN_ID}.verdict."):
            return
        message_id = message.headers["Nats-Msg-Id"].removeprefix("main:")
        self._acknowledged.add(message_id)
        if not self.rows(life.name, "SELECT 1 FROM inbox WHERE message_id = ?", message_id):
            self.violated("I9", f"{life.name} acknowledged {message.subject} without a row in its inbox")

    def stored(self, message: Stored) -> None:
        """I4: what is told as final is final on the chain."""
        name = message.subject.removeprefix(f"main.{CHAIN_ID}.")
        self.stored_ids.add(message.headers.get("Nats-Msg-Id", "").removeprefix("main:"))
        if name.startswith(("fill.", "intent.failed")):
            outcome = orjson.loads(message.data)
            self._outcomes[outcome["intent_id"], outcome["outcome_version"]] = name
        if name.startswith("dlq.") or message.subject.startswith("dlq."):
            reason = message.headers.get("Dexlane-Error", "")
            self.violated("nothing lost", f"{message.subject} became a dead letter: {reason}")
        if name in TERMINAL:
            event = orjson.loads(message.data)
            if event["mode"] == "live":
                self._check_final(event, name)

    def forget_stored(self) -> None:
        """The broker loses everything that it stored: facts must come again from the outboxes."""
        self.stored_ids.clear()
        modes = len({book.mode for book in self._world.market.books})
        for verdict in self._world.market.verdicts:
            executor = f"{verdict.lane}-executor"
            if executor in self._world.processes:
                if verdict.id not in self._acknowledged:
                    self.may_go_unexplained.add(verdict.id)
                noted = self.rows(executor, "SELECT count(*) FROM inbox WHERE message_id = ?", verdict.id)[0][0]
                if noted < modes:
                    self.may_be_lost.add(verdict.id)

    def _check_final(self, event: Any, name: str) -> None:
        found = self._world.chain.where.get(event["tx_hash"])
        if found is None:
            self.violated("I4", f"intent {event['intent_id'][:8]} was told {name}, but its transaction is in no block")
            return
        depth = self._world.chain.tip.number - found[0].block.number + 1
        if depth < self._world.shape.confirmations:
            self.violated("I4", f"intent {event['intent_id'][:8]} was told {name} at a depth of {depth}")
        if found[0].success != (name != "tx.failed"):
            self.violated("I4", f"intent {event['intent_id'][:8]} was told {name}, the chain says otherwise")

    def stopped(self, life: Life, reason: str, _error: BaseException | None) -> None:
        """A process ended by itself: nothing but a theft gives it a reason to."""
        if not self._world.thefts.explains(life, reason):
            self.violated("no process stops", f"{life.name} stopped: {reason}")

    # --- states of the whole -----------------------------------------------------------------------------------

    def journals(self) -> list[str]:
        """Services that keep a journal."""
        services = {process.service: None for process in self._world.processes.values()}
        return [name for name in services if not name.endswith(SIGNER)]

    def is_ready(self) -> bool:
        """Whether every executor could trade live, and portfolio has told its exposure."""
        for process in self._world.processes.values():
            if not process.is_up:
                return False
            if process.service in EXECUTORS and process.life.service.why_not_ready():
                return False
        return True

    def is_at_rest(self) -> bool:
        """Whether nothing is open, nothing waits and nothing is unsent."""
        world = self._world
        if not all(process.is_up for process in world.processes.values()):
            return False
        if any(world.broker.unread(durable) for durable in world.broker.durables.values()):
            return False
        for name in self.journals():
            if self.rows(name, "SELECT 1 FROM outbox WHERE sent_ms IS NULL LIMIT 1"):
                return False
            if name in EXECUTORS and self.rows(name, "SELECT 1 FROM execution_intents WHERE is_open LIMIT 1"):
                return False
        return not world.chain.pool and world.relays.are_empty
