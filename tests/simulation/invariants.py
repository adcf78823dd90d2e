"""What must hold at every step, and at the end: watched from outside, by reading disks, bus and chain only."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

import orjson

from dexlane.chain.permit2 import PERMIT2
from dexlane.testing.builders import CHAIN_ID, USDC
from dexlane.testing.fake_mempool import PooledTransaction
from dexlane.testing.live_bench import ROUTER
from dexlane.values.books import Lane
from simulation.broker import Stored
from simulation.disk import _connect
from simulation.links import Message
from simulation.lives import Life
from simulation.market import LIVE, PAPER
from simulation.processes import ACCOUNTS
from simulation.shape import EXECUTORS

MINUTE_MS = 60_000
ALLOWANCE_FACTOR = 20
"""In capitals of the lane; a unit of USDC is worth 5 * 10^8 of WETH at 2,000 USDC, and the price may halve."""
TERMINAL = ("tx.confirmed", "tx.failed", "tx.cancelled", "tx.expired")


class Monitor:
    """Violations are sentences that begin with the invariant they break."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self.violations: list[str] = []
        self._disks: dict[str, sqlite3.Connection] = {}
        self._slot_of: dict[str, tuple[str, int]] = {}
        self._intent_in: dict[tuple[str, int], str] = {}
        self._outcomes: dict[tuple[str, int], str] = {}
        self._stored_ids: set[str] = set()
        self._fees: dict[tuple[str, int], PooledTransaction] = {}
        self._heard: dict[tuple[str, int], dict[str, tuple[str, float]]] = {}

    def violated(self, rule: str, what: str) -> None:
        """Note a breach, once."""
        sentence = f"{rule}: {what}"
        if sentence not in self.violations:
            self.violations.append(sentence)
            self._world.effect("violation", sentence)

    def rows(self, service: str, sql: str, *values: Any) -> list[Any]:
        """What is committed on a service's disk."""
        disk = self._disks.get(service)
        if disk is None:
            disk = self._disks[service] = _connect(self._world.folder / f"{service}.db", isolation_level=None)
        return disk.execute(sql, values).fetchall()

    def close(self) -> None:
        """Close what was read from."""
        for disk in self._disks.values():
            disk.close()

    # --- at every step -----------------------------------------------------------------------------------------

    def committed(self, life: Life, database: str, label: str) -> None:
        """A transaction was committed."""
        if life.name in EXECUTORS and database == "journal":
            if label == "intent":
                self._check_slots(life.name)
                self._check_limits(life.name)
                self._check_order_rate(life.name)
                newest = self.rows(life.name, "SELECT purpose FROM execution_intents ORDER BY rowid DESC LIMIT 1")
                self._check_halted(life, newest[0][0])
            if label == "attempt":
                self._check_expiry(life)
            if label in {"intent", "attempt", "progress"}:
                self._check_epoch(life)
            if label != "mark":
                self._check_facts_of_slots(life.name)
        if life.name == "portfolio" and label == "entry":
            self._check_trial_balance()
            self._check_holding_outcomes()

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
            "SELECT s.record, i.payload, i.purpose FROM execution_attempts a JOIN execution_slots s USING (intent_id) "
            "JOIN execution_intents i USING (intent_id) WHERE a.kind = 'trade' ORDER BY a.rowid DESC LIMIT 1"
        )
        newest = self.rows(life.name, "SELECT kind FROM execution_attempts ORDER BY rowid DESC LIMIT 1")
        if newest[0][0] != "trade":
            return
        for record, payload, purpose in self.rows(life.name, query):
            attempt, plan = orjson.loads(record)["state"]["attempts"][-1], orjson.loads(payload)["plan"]
            if plan is not None and attempt["block"] >= plan["deadline_block"]:
                self.violated("I8", f"a trade was signed at block {attempt['block']}, after {plan['deadline_block']}")
            self._check_halted(life, purpose)

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
        """I2 and I3: bytes that leave are stored by the executor and recorded by the signer, for one intent."""
        stored = self.rows(life.name, "SELECT intent_id FROM execution_attempts WHERE tx_hash = ?", tx.hash)
        if not stored:
            self.violated("I2", f"{life.name} sent {tx.hash[:10]} before it was stored")
            return
        intent = stored[0][0]
        slot = (tx.sender, tx.nonce)
        self._check_replacement(slot, tx)
        if self._intent_in.get(slot) != intent:
            self.violated(
                "I1", f"{tx.hash[:10]} of intent {intent[:8]} was signed for slot {slot}, which is not its own"
            )
        guard = f"{life.name}-guard-{CHAIN_ID}"
        signed = self.rows(guard, "SELECT intent_id FROM attempts WHERE hash = ?", tx.hash)
        if [row[0] for row in signed] != [intent]:
            self.violated("I3", f"{tx.hash[:10]} left, but the signer has no record of it for intent {intent[:8]}")

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
        """I10: what a money service publishes lies in its outbox."""
        event_id = headers.get("Nats-Msg-Id", "").removeprefix("main:")
        if subject.startswith(("dlq.", f"main.{CHAIN_ID}.trading.status")):
            return
        if not self.rows(life.name, "SELECT 1 FROM outbox WHERE event_id = ?", event_id):
            self.violated("I10", f"{life.name} published {subject} that is in no outbox")

    def acknowledged(self, life: Life, message: Message) -> None:
        """I9: what is acknowledged by a money service is in its inbox."""
        if message.durable is None or not message.subject.startswith(f"main.{CHAIN_ID}.verdict."):
            return
        message_id = message.headers["Nats-Msg-Id"].removeprefix("main:")
        if not self.rows(life.name, "SELECT 1 FROM inbox WHERE message_id = ?", message_id):
            self.violated("I9", f"{life.name} acknowledged {message.subject} without a row in its inbox")

    def stored(self, message: Stored) -> None:
        """I4: what is told as final is final on the chain."""
        name = message.subject.removeprefix(f"main.{CHAIN_ID}.")
        self._stored_ids.add(message.headers.get("Nats-Msg-Id", "").removeprefix("main:"))
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
        """A process ended by itself: nothing in a world without foreign keys gives it a reason to."""
        self.violated("no process stops", f"{life.name} stopped: {reason}")

    # --- states of the whole -----------------------------------------------------------------------------------

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
        for name in {process.service for process in world.processes.values()}:
            if self.rows(name, "SELECT 1 FROM outbox WHERE sent_ms IS NULL LIMIT 1"):
                return False
            if name in EXECUTORS and self.rows(name, "SELECT 1 FROM execution_intents WHERE is_open LIMIT 1"):
                return False
        return not world.chain.pool

    # --- at the end --------------------------------------------------------------------------------------------

    def check_end(self) -> None:
        """Everything came to rest, nothing is lost, nothing doubled, and the books equal the chain to the wei."""
        if self.violations:
            return
        if not self.is_at_rest():
            self.violated("liveness", self._what_waits())
            return
        self._check_effects()
        if "portfolio" in self._world.processes:
            self._check_ledger()
        self._check_decided()
        self._check_published()
        self._check_allowances()

    def _what_waits(self) -> str:
        world, waits = self._world, []
        for name, process in world.processes.items():
            if not process.is_up:
                waits.append(f"{name} is down")
            elif self.rows(process.service, "SELECT 1 FROM outbox WHERE sent_ms IS NULL LIMIT 1"):
                waits.append(f"{name} has unsent facts")
            if name in EXECUTORS:
                for intent, mode in self.rows(name, "SELECT intent_id, mode FROM execution_intents WHERE is_open"):
                    waits.append(f"{mode} intent {intent[:8]} of {name} is open")
        unread = (durable for durable in world.broker.durables.values() if world.broker.unread(durable))
        waits += [f"{durable.name} is not read to its end" for durable in unread]
        waits += [f"{tx[:10]} is pending" for tx in world.chain.pool]
        return "; ".join(waits)

    def _check_effects(self) -> None:
        """One effect for an intent, and every transaction of ours belongs to one."""
        trades: Counter[str] = Counter()
        for service in set(EXECUTORS) & set(self._world.processes):
            owner = dict(self.rows(service, "SELECT tx_hash, intent_id FROM execution_attempts"))
            account = ACCOUNTS[Lane(service.removesuffix("-executor"))]
            for receipt, tx in self._world.chain.where.values():
                if tx.sender != account:
                    continue
                if tx.hash not in owner:
                    self.violated("nothing doubled", f"{tx.hash[:10]} is on the chain and in no journal")
                elif tx.to == ROUTER and receipt.success:
                    trades[owner[tx.hash]] += 1
            given = self.rows(service, "SELECT count(*), max(nonce) FROM execution_slots")[0]
            next_nonce = self._world.chain.blocks[-1].nonces.get(account, 0)
            signed = self.rows(f"{service}-guard-{CHAIN_ID}", "SELECT count(*) FROM attempts")[0][0]
            self._world.counts["signed"] += signed
            if given[0] != next_nonce:
                self.violated("nothing lost", f"{service} gave out {given[0]} slots, the chain is at {next_nonce}")
        self._world.counts["trades"] += len(trades)
        for intent, count in trades.items():
            if count > 1:
                self.violated("nothing doubled", f"intent {intent[:8]} took effect {count} times")

    def _check_ledger(self) -> None:
        """I6: the ledger's assets are what the chain, or the paper exchange, says."""
        tip = self._world.chain.tip
        held = {
            (path, token): int(amount)
            for path, token, amount in self.rows("portfolio", "SELECT path, token, amount FROM balances")
        }
        for account in (ACCOUNTS[lane] for lane in Lane if f"{lane}-executor" in self._world.processes):
            wanted = {
                token: n for (token, who), n in self._world.chain.tokens[tip.hash].balances.items() if who == account
            }
            wanted["0x" + "e" * 40] = self._world.chain.blocks[-1].balances[account]
            self._compare(held, f"assets:{LIVE}:{account}", wanted)
        if "paper-sim" in self._world.processes:
            paper: dict[str, dict[str, int]] = {}
            for account, token, amount in self.rows("paper-sim", "SELECT account, token, amount FROM paper_balance"):
                paper.setdefault(account, {})[token] = int(amount)
            for account, wanted in paper.items():
                self._compare(held, f"assets:{PAPER}:{account}", wanted)

    def _compare(self, held: dict[tuple[str, str], int], path: str, wanted: dict[str, int]) -> None:
        for token, amount in wanted.items():
            booked = held.get((path, token), 0)
            self._world.counts["balances"] += 1
            self._world.counts["off_by"] += abs(booked - amount)
            if booked != amount:
                self.violated("I6", f"{path} differs by {booked - amount} of {token}")

    def _check_decided(self) -> None:
        """Every verdict led to an intent or a recorded refusal of every book."""
        told: Counter[str] = Counter()
        for _stream, message in self._world.broker.everything():
            name = message.subject.removeprefix(f"main.{CHAIN_ID}.")
            if name.startswith("intent.created"):
                event = orjson.loads(message.data)
                self._world.counts["intents"] += 1
                if event["verdict"]:
                    told[event["verdict"]["id"], event["book_id"]] += 1
            elif name == "decision.recorded":
                event = orjson.loads(message.data)
                told[event["subject_id"], event["book_id"]] += 1
        for verdict in self._world.market.verdicts:
            for book in self._world.market.books if f"{verdict.lane}-executor" in self._world.processes else ():
                times = told[verdict.id, book.id]
                if times != 1:
                    self.violated("nothing lost", f"verdict {verdict.id[:8]} was decided {times} times for {book.id}")

    def _check_published(self) -> None:
        """Every fact that was committed is on the bus."""
        for service in {process.service for process in self._world.processes.values()}:
            for event_id, subject in self.rows(service, "SELECT event_id, subject FROM outbox"):
                if event_id not in self._stored_ids:
                    self.violated("nothing lost", f"{service} committed {subject} and never published it")

    def _check_allowances(self) -> None:
        """I7: nobody but Permit2 is approved, and Permit2 within its bound."""
        tokens = self._world.chain.tokens[self._world.chain.tip.hash]
        for (token, owner, spender), amount in tokens.allowances.items():
            if amount and spender != PERMIT2:
                self.violated("I7", f"{spender} may take {amount} of {token} from {owner}")
            bound = ALLOWANCE_FACTOR * self._world.shape.capital * (1 if token == USDC.address else 10**9)
            if amount > bound:
                self.violated("I7", f"Permit2 may take {amount} of {token} from {owner}, more than {bound}")
