"""What the routes work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Header, Query
from redis.asyncio import Redis

from dexlane.events.seals import Approver
from dexlane.runtime.clock import Clock
from dexlane.runtime.journal import Journal
from dexlane.runtime.market_cache import MarketReader
from dexlane.runtime.observability import Log, Metrics
from dexlane.runtime.sealing import Approving, sealer_from
from gateway.api.access import TokenCheck
from gateway.api.envelope import AsOf, BlockAge, Envelope, Problem
from gateway.books import BookKeeper
from gateway.metrics import BrakeMoments, Moments, SignerMoments
from gateway.projections.display import Display
from gateway.projections.health import HealthPoller
from gateway.projections.hub import Hub
from gateway.projections.picture import LivePicture, Place
from gateway.settings import Settings
from gateway.statuses import StatusKeeper
from gateway.statuses.confirmations import ConfirmationQueue
from gateway.statuses.emergency import EmergencyStop, StopParts
from gateway.statuses.telling import Paths

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=200, description="at most this many entries")]
Cursor = Annotated[str | None, Query(max_length=160, description="`next` of the page before")]
BookFilter = Annotated[str | None, Query(max_length=32, description="id of a book")]
LARGEST = 2**63 - 1
"""The largest number that a column of a journal holds."""
ChainFilter = Annotated[int | None, Query(ge=1, le=LARGEST, description="chain id")]
IdFilter = Annotated[str | None, Query(pattern="^[0-9a-f]{32}$")]
DEFAULT_LIMIT = 50


@dataclass
class Door:
    """Closed until the journal is read: before that an answer would be invented."""

    is_open: bool = False

    def require_open(self) -> None:
        """``Problem`` 503 while the gateway starts."""
        if not self.is_open:
            raise Problem(
                503, "Not possible at this moment", "the gateway is starting; try again", {"Retry-After": "1"}
            )


@dataclass(frozen=True)
class Desk:
    """Everything a route may need; built once in ``app``."""

    settings: Settings
    clock: Clock
    journal: Journal
    books: BookKeeper
    statuses: StatusKeeper
    display: Display
    token: TokenCheck
    moments: Moments
    brakes: BrakeMoments
    door: Door
    redis: Redis
    markets: Mapping[int, MarketReader]
    approving: Approving
    emergency: EmergencyStop
    paths: Paths
    confirmations: ConfirmationQueue

    def wrap(self, data: T, following: str | None = None) -> Envelope[T]:
        """The envelope around an answer, with the moment it holds for."""
        now_ms = self.clock.now_ms()
        blocks = {
            chain_id: BlockAge(block=head.event.block, age_ms=max(0, now_ms - head.at_ms))
            for chain_id, head in self.display.picture.heads.items()
        }
        return Envelope(data=data, as_of=AsOf(at_ms=now_ms, blocks=blocks), next=following)

    def chain_ids(self, chain_id: int | None) -> tuple[int, ...]:
        """One chain or all; ``Problem`` for one that is not served."""
        if chain_id is None:
            return self.settings.chains
        if chain_id not in self.settings.chains:
            known = ", ".join(str(chain) for chain in self.settings.chains)
            raise Problem(404, "Unknown chain", f"chain {chain_id} is not served; the chains are: {known}")
        return (chain_id,)

    def may_write(self, authorization: Annotated[str | None, Header()] = None) -> None:
        """A dependency of every route that changes something."""
        self._check(authorization)
        self.door.require_open()

    def may_read(self, authorization: Annotated[str | None, Header()] = None) -> None:
        """A dependency of every other route: free on loopback, with the token beyond."""
        if not self.settings.is_loopback:
            self._check(authorization)
        self.door.require_open()

    def _check(self, authorization: str | None) -> None:
        try:
            self.token.require(authorization)
        except Problem as problem:
            self.moments.denied(problem.title, "")
            raise


@dataclass(frozen=True)
class Surroundings:
    """What the process gives to the desk. ``own`` tells why the gateway itself is not ready."""

    clock: Clock
    metrics: Metrics
    log: Log
    own: Callable[[], dict[str, str]]


def make_desk(settings: Settings, given: Surroundings) -> Desk:
    """A desk on the gateway's journal; its door is closed and it accepts no token yet."""
    url = settings.database("gateway")
    journal = Journal(url, clock=given.clock, log=given.log, realm=settings.realm)
    picture = LivePicture(Place(settings.realm, settings.network, settings.chains))
    hub = Hub(
        max_clients=settings.stream_clients,
        max_per_address=settings.stream_clients_per_address,
        queue_size=settings.stream_queue,
    )
    health = HealthPoller(settings.service_urls, given.clock, own=given.own, interval_ms=settings.health_interval_ms)
    redis = Redis.from_url(settings.redis_url, socket_timeout=1, socket_connect_timeout=1)
    statuses, display = StatusKeeper(journal, settings.chains), Display(picture, hub, health, given.clock)
    approving = Approving(Approver.GATEWAY, sealer_from(settings.approval_key_file), settings.approval_valid_s)
    moments, brakes = Moments(given.metrics, given.log), BrakeMoments(given.metrics, given.log)
    signers = SignerMoments(given.metrics, given.log)
    paths = Paths(settings.signer_control_sockets, journal, picture, signers)
    stop = StopParts(
        journal=journal,
        statuses=statuses,
        display=display,
        approving=approving,
        clock=given.clock,
        brakes=brakes,
        chains=settings.chains,
        paths=paths,
    )

    def head_of(chain_id: int) -> int | None:
        head = picture.heads.get(chain_id)
        return None if head is None else head.event.block.number

    return Desk(
        settings=settings,
        clock=given.clock,
        journal=journal,
        books=BookKeeper(journal),
        statuses=statuses,
        display=display,
        token=TokenCheck(),
        moments=moments,
        brakes=brakes,
        door=Door(),
        redis=redis,
        markets={chain: MarketReader(redis, settings.realm, chain, given.clock) for chain in settings.chains},
        approving=approving,
        emergency=EmergencyStop(stop),
        paths=paths,
        confirmations=ConfirmationQueue(journal, head_of, picture.tokens.token, moments),
    )


def sequence_of(cursor: str | None) -> int | None:
    """The place in the archive that a cursor names; ``Problem`` for anything else."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise Problem(422, "Invalid request", "cursor: use the value of `next` of the page before")
    return int(cursor)
