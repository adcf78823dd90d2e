"""What must hold when everything has come to rest: nothing is lost, nothing doubled, the books equal the chain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from dexlane.chain.permit2 import PERMIT2
from dexlane.events.streams import STATE
from dexlane.testing.builders import CHAIN_ID, USDC
from dexlane.testing.live_bench import ROUTER
from dexlane.values.books import Lane
from simulation.invariants import Monitor
from simulation.market import LIVE, PAPER
from simulation.processes import ACCOUNTS
from simulation.shape import EXECUTORS

CONTROLS = ("token_exposure", "duplicate")
"""Outcomes of the controls that worlds have."""
ALLOWANCE_FACTOR = 20
"""In capitals of the lane; a unit of USDC is worth 5 * 10^8 of WETH at 2,000 USDC, and the price may halve."""


class Ending:
    """Looks once, at the end of a world."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._monitor: Monitor = world.monitor
        self._rows, self._violated = self._monitor.rows, self._monitor.violated

    def check(self) -> None:
        """Everything came to rest, nothing is lost, nothing doubled, and the books equal the chain to the wei."""
        if self._monitor.violations:
            return
        if self._world.thefts.holds:
            self._world.thefts.check()
            return
        if not self._monitor.is_at_rest():
            self._violated("liveness", self._what_waits())
            return
        self._check_effects()
        if "portfolio" in self._world.processes:
            self._check_ledger()
        self._check_decided()
        self._check_explained()
        self._check_published()
        self._check_allowances()

    def _what_waits(self) -> str:
        world, waits = self._world, []
        for name, process in world.processes.items():
            if not process.is_up:
                waits.append(f"{name} is down")
            elif process.service in self._monitor.journals() and self._rows(
                process.service, "SELECT 1 FROM outbox WHERE sent_ms IS NULL LIMIT 1"
            ):
                waits.append(f"{name} has unsent facts")
            if name in EXECUTORS:
                for intent, mode in self._rows(name, "SELECT intent_id, mode FROM execution_intents WHERE is_open"):
                    waits.append(f"{mode} intent {intent[:8]} of {name} is open")
        unread = (durable for durable in world.broker.durables.values() if world.broker.unread(durable))
        waits += [f"{durable.name} is not read to its end" for durable in unread]
        waits += [f"{tx[:10]} is pending" for tx in world.chain.pool]
        return "; ".join(waits)

    def _check_effects(self) -> None:
        """One effect for an intent, and every transaction of ours belongs to one."""
        trades: Counter[str] = Counter()
        for service in set(EXECUTORS) & set(self._world.processes):
            owner = dict(self._rows(service, "SELECT tx_hash, intent_id FROM execution_attempts"))
            account = ACCOUNTS[Lane(service.removesuffix("-executor"))]
            for receipt, tx in self._world.chain.where.values():
                if tx.sender != account:
                    continue
                if tx.hash not in owner:
                    self._violated("nothing doubled", f"{tx.hash[:10]} is on the chain and in no journal")
                elif tx.to == ROUTER and receipt.success:
                    trades[owner[tx.hash]] += 1
            given = self._rows(service, "SELECT count(*), max(nonce) FROM execution_slots")[0]
            next_nonce = self._world.chain.blocks[-1].nonces.get(account, 0)
            signed = self._rows(f"{service}-guard-{CHAIN_ID}", "SELECT count(*) FROM attempts")[0][0]
            self._world.counts["signed"] += signed
            if given[0] != next_nonce:
                self._violated("nothing lost", f"{service} gave out {given[0]} slots, the chain is at {next_nonce}")
        self._world.counts["trades"] += len(trades)
        for intent, count in trades.items():
            if count > 1:
                self._violated("nothing doubled", f"intent {intent[:8]} took effect {count} times")

    def _check_ledger(self) -> None:
        """I6: the ledger's assets are what the chain, or the paper exchange, says."""
        tip = self._world.chain.tip
        held = {
            (path, token): int(amount)
            for path, token, amount in self._rows("portfolio", "SELECT path, token, amount FROM balances")
        }
        for account in (ACCOUNTS[lane] for lane in Lane if f"{lane}-executor" in self._world.processes):
            wanted = {
                token: n for (token, who), n in self._world.chain.tokens[tip.hash].balances.items() if who == account
            }
            wanted["0x" + "e" * 40] = self._world.chain.blocks[-1].balances[account]
            self._compare(held, f"assets:{LIVE}:{account}", wanted)
        if "paper-sim" in self._world.processes:
            paper: dict[str, dict[str, int]] = {}
            for account, token, amount in self._rows("paper-sim", "SELECT account, token, amount FROM paper_balance"):
                paper.setdefault(account, {})[token] = int(amount)
            for account, wanted in paper.items():
                self._compare(held, f"assets:{PAPER}:{account}", wanted)

    def _compare(self, held: dict[tuple[str, str], int], path: str, wanted: dict[str, int]) -> None:
        for token, amount in wanted.items():
            booked = held.get((path, token), 0)
            self._world.counts["balances"] += 1
            self._world.counts["off_by"] += abs(booked - amount)
            if booked != amount:
                self._violated("I6", f"{path} differs by {booked - amount} of {token}")

    def _check_decided(self) -> None:
        """Every verdict led to an intent or a recorded refusal of every book."""
        told: Counter[tuple[str, str]] = Counter()
        for intent in self._told("intent.created"):
            self._world.counts["intents"] += 1
            if intent["verdict"]:
                told[intent["verdict"]["id"], intent["book_id"]] += 1
        for decision in self._told("decision.recorded"):
            told[decision["subject_id"], decision["book_id"]] += decision["outcome"] != "traded"
            self._world.counts["controlled"] += decision["outcome"] in CONTROLS
        for verdict in self._world.market.verdicts:
            for book in self._world.market.books if f"{verdict.lane}-executor" in self._world.processes else ():
                times = told[verdict.id, book.id]
                if times != 1 and not (times == 0 and verdict.id in self._monitor.may_be_lost):
                    self._violated("nothing lost", f"verdict {verdict.id[:8]} was decided {times} times for {book.id}")

    def _check_explained(self) -> None:
        """Every trade, and nothing else, is on record as one, once."""
        causes = ((intent["verdict"] or intent["exit"], intent["book_id"]) for intent in self._told("intent.created"))
        records: dict[tuple[str, str], set[str]] = {(cause["id"], book): set() for cause, book in causes if cause}
        traded = set(records)
        for decision in self._told("decision.recorded"):
            if decision["outcome"] == "traded":
                records.setdefault((decision["subject_id"], decision["book_id"]), set()).add(decision["id"])
        for (cause, book), ids in records.items():
            if (cause, book) not in traded or len(ids) > 1 or not (ids or cause in self._monitor.may_go_unexplained):
                self._violated("nothing lost", f"{len(ids)} records tell that {book} traded for {cause[:8]}")

    def _told(self, name: str) -> Iterator[Any]:
        """The facts of a kind that are on the bus."""
        for _stream, message in self._world.broker.everything():
            if message.subject.startswith(f"main.{CHAIN_ID}.{name}"):
                yield orjson.loads(message.data)

    def _check_published(self) -> None:
        """Every fact that was committed is on the bus; of a last value the newest one."""
        for service in self._monitor.journals():
            facts = self._monitor.facts.get(service, {})
            newest = {fact.subject: event_id for event_id, fact in facts.items()}
            for event_id, fact in facts.items():
                is_superseded = fact.stream == STATE.name and newest[fact.subject] != event_id
                if event_id not in self._monitor.stored_ids and not (
                    is_superseded and self._world.counts["stores lost"]
                ):
                    self._violated("nothing lost", f"{service} committed {fact.subject} and never published it")

    def _check_allowances(self) -> None:
        """I7: nobody but Permit2 is approved, and Permit2 within its bound."""
        tokens = self._world.chain.tokens[self._world.chain.tip.hash]
        for (token, owner, spender), amount in tokens.allowances.items():
            if amount and spender != PERMIT2:
                self._violated("I7", f"{spender} may take {amount} of {token} from {owner}")
            bound = ALLOWANCE_FACTOR * self._world.shape.capital * (1 if token == USDC.address else 10**9)
            if amount > bound:
                self._violated("I7", f"Permit2 may take {amount} of {token} from {owner}, more than {bound}")
