"""The live side of one chain: who may trade here, with which accounts, and what must stand before the first trade.

Nothing is connected, and no key is read, before a live book or an open transaction asks for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dexlane.chain.calldata import MAINNET_ROUTER, RouterDeployment, RouterKind
from dexlane.chain.direct_calls import deployed
from dexlane.chain.execution import slots as store
from dexlane.chain.execution.accounts import AccountFacts, read_account, read_balances
from dexlane.chain.execution.brakes import Brakes
from dexlane.chain.execution.fencing import FencedJournal
from dexlane.chain.execution.keys import (
    KeyFiles,
    KeysHere,
    KeysHerePlace,
    SignerSource,
    SigningRules,
    policy_for,
)
from dexlane.chain.execution.live_books import LiveBooks
from dexlane.chain.execution.lost_slots import LostSlots
from dexlane.chain.execution.moments import ExecutionMoments
from dexlane.chain.execution.opening import OpeningPlace, account_opened, paired_tokens
from dexlane.chain.execution.payloads import Payloads, Signer
from dexlane.chain.execution.private_sending import PrivateSending
from dexlane.chain.execution.relay_board import RelayBoard
from dexlane.chain.execution.signer_elsewhere import SignerElsewhere
from dexlane.chain.execution.slots import Slot
from dexlane.chain.execution.testimony import Witness
from dexlane.chain.execution.told_before import ToldFacts
from dexlane.chain.execution.txmgr import Equipment, Transactions
from dexlane.chain.network import identify_network
from dexlane.chain.rpc import Rpc, RpcError
from dexlane.domain.circumstances import Objection
from dexlane.domain.relay_holds import RacePolicy
from dexlane.domain.send_values import SendPolicy
from dexlane.events.control import Status
from dexlane.events.execution import FailureReason, Plan
from dexlane.events.market import BlockApplied
from dexlane.runtime.clock import Clock
from dexlane.runtime.errors import Misconfigured, Transient
from dexlane.runtime.settings import REAL_MONEY_WORDS
from dexlane.values.books import Book, Lane
from dexlane.values.chains import NATIVE
from dexlane.values.pools import Pool

BEING_READ = "being_read"
"""The objection to an account whose balances are not known at this moment."""


@dataclass(frozen=True, kw_only=True)
class LiveAccess:
    """How a chain is reached and signed for. ``connect`` returns a node client that is connected, or raises
    ``RpcUnavailable``; it is called once. With a ``signer_socket`` the keys are elsewhere, and ``key_files`` and
    ``guard_path`` are not used."""

    chain_id: int
    lane: Lane
    url: str
    connect: Callable[[], Awaitable[Rpc]]
    key_files: KeyFiles
    guard_path: Path
    signer_socket: Path | None = None
    control_path: Path | None = None
    is_devnet_expected: bool = True
    real_money_words: str = ""
    deployment: RouterDeployment = MAINNET_ROUTER
    others: tuple[RouterDeployment, ...] = ()
    """Routers for what the Universal Router cannot reach, in order."""
    signing: SigningRules = field(default_factory=SigningRules)
    sending: SendPolicy = field(default_factory=SendPolicy)
    witnesses: Callable[[], Sequence[Witness]] = tuple
    """All providers of the chain once ``connect`` has returned; without any, what it returned is the only one."""
    jitter_bps: Callable[[], int] = lambda: 5_000
    relays: RelayBoard | None = None
    """The chain's private relays; they outlive a term."""
    told: ToldFacts | None = None
    """Where it can be read what was told before; without it an account whose journal is too old is refused."""
    race: RacePolicy = field(default_factory=RacePolicy)


@dataclass(frozen=True, kw_only=True)
class LiveParts:
    """What the live side shares with the executor."""

    journal: FencedJournal
    clock: Clock
    moments: ExecutionMoments
    on_final: Callable[[Slot], None]
    brakes: Brakes
    consumer: str
    """The name under which verdicts and exits are noted as consumed."""
    status: Callable[[], Status] = lambda: Status.ACTIVE


class LiveDesk:
    """Accounts, transactions and permission to trade live on one chain, in one lane."""

    def __init__(self, access: LiveAccess, parts: LiveParts) -> None:
        self.access = access
        self._parts = parts
        self._chain_time_s = 0
        self._source = _source_for(access, lambda: self._chain_time_s, parts.status)
        self.rpc: Rpc | None = None
        self.held = LiveBooks(access.chain_id, access.lane)
        self._facts: dict[str, AccountFacts] = {}
        self._watched: dict[str, set[str]] = {}
        self._refusal: str | None = None
        self._settled = False
        self.payloads = Payloads(
            chain_id=access.chain_id,
            signer=self._signer,
            permit_nonce=self._permit_nonce,
            deployment=access.deployment,
            others=access.others,
            epoch=lambda: parts.journal.term.epoch,
        )
        self._private = None if access.relays is None else PrivateSending(access.relays, access.race)
        self._transactions: Transactions | None = None

    @property
    def transactions(self) -> Transactions:
        """The open transactions; ``Transient`` before the chain was reached."""
        if self._transactions is None:
            raise Transient(f"the transactions of chain {self.access.chain_id} are not taken up yet")
        return self._transactions

    @property
    def books(self) -> Mapping[str, Book]:
        """The live books of this chain with an account in this lane."""
        return self.held.all

    @property
    def is_busy(self) -> bool:
        """Whether a trade of ours is not in a block yet, or an account is being read after one was."""
        if self._transactions is None or not self._settled:
            return False
        slots = self._transactions.open_slots
        return len(self._facts) < len(self.held.all) or any(slot.blocks_its_token for slot in slots)

    @property
    def keys_loaded(self) -> bool:
        """Whether it is known for which accounts can be signed."""
        return self._source.loaded

    def why_not_settled(self) -> bool | str:
        """A readiness probe: open transactions of an earlier run are settled, or there are none and no live book."""
        if self._settled or self._refusal is not None or not self.held.all:
            return True
        return self._source.silence or f"the open transactions of chain {self.access.chain_id} are not settled yet"

    def books_changed(self, books: Iterable[Book]) -> None:
        """The books as they now are. The signer's rules follow them."""
        self.held.changed(books)
        if self._source.loaded:
            self._use_policy()

    def objection(self, book: Book, plan: Plan, *, is_entry: bool = True) -> Objection | None:
        """Why this live book cannot carry the plan out just now; None when it can."""
        # A router that pulls tokens itself is approved for the one trade, just before it.
        is_direct = self.payloads.router_of(plan).kind is not RouterKind.UNIVERSAL
        return self.objection_to_token(book, plan.paid_token, 0 if is_direct else plan.amount_in, is_entry=is_entry)

    def objection_to_token(
        self, book: Book, token_in: str, amount_in: int, *, is_entry: bool = True
    ) -> Objection | None:
        """Why this live book cannot pay with that token through Permit2 just now; None when it can."""
        if token_in == NATIVE:
            return self.objection_to_account(book, is_entry=is_entry)
        account = book.accounts[self.access.lane]
        against = self.objection_to_account(book, is_entry=is_entry)
        return against or self._token_objection(account, token_in, amount_in)

    def objection_to_account(self, book: Book, *, is_entry: bool = True) -> Objection | None:
        """Why this live book's account cannot send anything just now; None when it can."""
        if self._refusal is not None:
            return Objection("live_refused", self._refusal)
        if not self._settled:
            return Objection("not_ready", "open transactions of an earlier run are not settled yet", passing=True)
        if self._source.silence:
            return Objection("signer_silent", self._source.silence, passing=True)
        account = book.accounts[self.access.lane]
        if account not in self._source.addresses:
            return Objection("no_key", f"the signer holds no key of account {account}")
        if (book.id, account) not in self.held.opened or not self.transactions.knows(account):
            return Objection("not_open", f"account {account} is not opened yet", passing=True)
        return self.transactions.objection(account, is_entry=is_entry)

    def _token_objection(self, account: str, token_in: str, amount_in: int) -> Objection | None:
        facts = self._facts.get(account)
        token = None if facts is None else facts.tokens.get(token_in)
        if token is None:
            self.watch(account, token_in)
            return Objection(BEING_READ, f"the balances of account {account} are being read", passing=True)
        if token.allowance_to_permit2 < amount_in:
            return Objection("no_allowance", f"the allowance of {token_in} to Permit2 is not in place", passing=True)
        return None

    def tokens_in_flight(self, account: str) -> frozenset[str]:
        """Tokens that trades on their way from this account pay with."""
        return frozenset() if self._transactions is None else self._transactions.tokens_in_flight(account)

    def facts(self, account: str) -> AccountFacts | None:
        """What the chain last said about an account; None while that is not known."""
        return self._facts.get(account)

    def watched(self, account: str) -> frozenset[str]:
        """Tokens that are kept approved for an account."""
        return frozenset(self._watched.get(account, ()))

    def watch(self, account: str, token: str) -> None:
        """Keep this token's balance, allowance and permit nonce at hand from the next block on."""
        self._watched.setdefault(account, set()).add(token)

    async def on_head(self, tip: BlockApplied, status: Status, pools: Mapping[str, Pool]) -> None:
        """A new block (or a new status): settle what is open, read the accounts, open new ones.

        Raises ``Transient`` when the node or the journal does not answer, ``Fatal`` when trading must stop.
        """
        self._chain_time_s = max(self._chain_time_s, tip.timestamp_s)
        if not await self._started():
            return
        if self._source.silence:
            # Entries are refused meanwhile, so this is how anybody learns that it answers again.
            with contextlib.suppress(Transient):
                await self._source.highest_signed()
        transactions = self.transactions
        await self._forget_facts_in_flight(transactions)
        if status is Status.HALTED:
            await transactions.cancel_all(FailureReason.HALTED)
        await transactions.settle(tip)
        self._settled = True
        for book in list(self.held.all.values()):
            await self._tend(book, tip, pools)

    async def close(self) -> None:
        """Let go of the signer, and of relays that have not answered."""
        if self._private is not None:
            await self._private.stop()
        await self._source.close()

    async def _forget_facts_in_flight(self, transactions: Transactions) -> None:
        """Until the pass is over nobody knows the next permit nonce of an account with a trade on its way. A trade
        that is not signed yet gets the nonce that the chain has now: no other on the way pays with its token."""
        waiting = [slot for slot in transactions.open_slots if slot.blocks_its_token]
        for slot in waiting:
            self._facts.pop(slot.intent.account, None)
        for account, tokens in _paid_unsigned(waiting).items():
            if self.rpc is None:
                return
            # Without an answer nothing is signed; that nobody answers is for the pass to count.
            with contextlib.suppress(Transient):
                router = self.access.deployment.router
                self._facts[account] = await read_account(self.rpc, account, sorted(tokens), router)

    def _signer(self) -> Signer:
        """The signer, while this process may act: nothing is signed after its term."""
        self._parts.journal.term.require()
        return self._source.signer()

    def _permit_nonce(self, account: str, token: str) -> int:
        facts = self._facts.get(account)
        known = None if facts is None else facts.tokens.get(token)
        if known is None:
            raise Transient(f"the next permit nonce of account {account} is not known yet")
        return known.permit_nonce

    async def _started(self) -> bool:
        """Reach the chain, once, when a live book or an open transaction needs it; whether live trading may go on."""
        if self._transactions is not None:
            return True
        async with self._parts.journal.reading() as conn:
            has_open = await store.has_open_slots(conn, self.access.chain_id)
            opened = await store.opened_accounts(conn)
        if not self.held.all and not has_open:
            return False
        rpc = self.rpc = self.rpc or await self.access.connect()
        refusal = await why_not_live(self.access, rpc)
        # Asked again at each block: a node that is only catching up says the same, for a while.
        is_new, self._refusal = refusal != self._refusal, refusal
        if refusal is not None:
            for book_id in self.held.all if is_new else ():
                self._parts.moments.live_refused(self.access.chain_id, book_id, refusal)
            return False
        self.payloads = replace(self.payloads, others=await deployed(rpc, self.access.others))
        await self._source.load()
        if self.access.relays is not None and self.access.relays.known_by in self._source.addresses:
            raise Misconfigured("the relay auth key is the key of a trading account; relays are to know another one")
        self._use_policy()
        equipment = replace(_equipment(self.access, self._parts, rpc, self.payloads), private=self._private)
        transactions = Transactions(equipment, self.access.sending)
        await transactions.recover()
        self.held.opened = opened
        self._transactions = transactions
        return True

    def _use_policy(self) -> None:
        access = self.access
        policy = policy_for(access.chain_id, access.lane, self.held.tended, self.payloads.routers, access.signing)
        self._source.use(policy)

    async def _tend(self, book: Book, tip: BlockApplied, pools: Mapping[str, Pool]) -> None:
        account = book.accounts[self.access.lane]
        if account not in self._source.addresses or self.rpc is None:
            return
        if not self.transactions.knows(account):
            await self.transactions.watch(account, (await self._source.highest_signed()).get(account, -1))
        if (book.id, account) not in self.held.opened:
            await self._open(self.rpc, book, tip, pools)
        if account not in self._watched:
            paired = await read_balances(self.rpc, account, paired_tokens(book, pools), block="latest")
            self._watched[account] = {token for token, balance in paired.items() if balance}
        if book.quote.address != NATIVE:
            self.watch(account, book.quote.address)
        tokens = sorted(self._watched[account])
        self._facts[account] = await read_account(self.rpc, account, tokens, self.access.deployment.router)

    async def _open(self, rpc: Rpc, book: Book, tip: BlockApplied, pools: Mapping[str, Pool]) -> None:
        lane = self.access.lane
        at = OpeningPlace(self.access.chain_id, lane, tip.block, self._parts.clock.now_ms())
        opened = await account_opened(rpc, book, paired_tokens(book, pools), at)
        async with self._parts.journal.transaction() as tx:
            await store.open_account(tx, book.id, book.accounts[lane], tip.block)
            await tx.emit(opened)
        self.held.opened[book.id, book.accounts[lane]] = tip.block.number


def _equipment(access: LiveAccess, parts: LiveParts, rpc: Rpc, payloads: Payloads) -> Equipment:
    return Equipment(
        rpc=rpc,
        payloads=payloads,
        journal=parts.journal,
        clock=parts.clock,
        moments=parts.moments,
        on_final=parts.on_final,
        witnesses=access.witnesses(),
        jitter_bps=access.jitter_bps,
        watch=parts.brakes.watch,
        why_held=parts.brakes.why_held,
        fill_in=None if access.told is None else LostSlots(payloads, parts, access.told).fill_in,
    )


def _paid_unsigned(slots: Iterable[Slot]) -> dict[str, set[str]]:
    """By account the tokens that trades without a signature are to pay with."""
    paid: dict[str, set[str]] = {}
    for slot in slots:
        if slot.intent.plan is not None and not slot.state.attempts:
            paid.setdefault(slot.intent.account, set()).add(slot.intent.plan.route.token_in)
    return paid


def _source_for(access: LiveAccess, clock_s: Callable[[], int], status: Callable[[], Status]) -> SignerSource:
    """The signer behind the socket, or the keys in this process: chosen once, with no way from one to the other."""
    if access.signer_socket is not None:
        return SignerElsewhere(access.signer_socket, access.chain_id)
    place = KeysHerePlace(
        chain_id=access.chain_id,
        files=access.key_files,
        guard_path=access.guard_path,
        control_path=access.control_path,
    )
    return KeysHere(place, clock_s=clock_s, status=status)


async def why_not_live(access: LiveAccess, rpc: Rpc) -> str | None:
    """Why live books may not trade on this chain; None on the devnet, or when the words were written out."""
    try:
        network = await identify_network(rpc, access.url)
        is_routed = await deployed(rpc, [access.deployment])
    except RpcError as error:
        raise Transient(f"the node does not say what it is: {error}") from error
    if not is_routed:
        return f"no contract stands at the router {access.deployment.router} of chain {access.chain_id}"
    if network == "devnet" and access.is_devnet_expected:
        return None
    if access.real_money_words == REAL_MONEY_WORDS:
        return None if access.signer_socket is not None else _KEYS_HERE
    return (
        f"chain {access.chain_id} is not the local devnet; live books trade there only when "
        f'live_trading_on_real_chains is set to "{REAL_MONEY_WORDS}"'
    )


_KEYS_HERE = (
    "keys of accounts with real money do not lie in an executor; run dexlane-signer and set signer_socket to its socket"
)
