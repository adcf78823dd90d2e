"""How a world is disturbed: how long, how often, how deep. Drawn from the seed, or given."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

EXECUTORS = ("fast-executor", "smart-executor")
STANDBY = "/2"
"""Ends the name of a second instance, which shares everything of the first but its life."""
SIGNER = "-signer"
"""Ends the name of the signer of an executor."""
SERIES = ("mixed", "reorgs", "crashes", "stores", "frozen", "thieves", "signers", "fees", "relays", "controls")
SERVICES = (*EXECUTORS, "portfolio", "paper-sim", "gateway")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Probabilities are per crossing of a boundary, per message, per call or per block, as the names say."""

    blocks: int = 30
    """Blocks with faults; afterwards everything must come to rest."""
    confirmations: int = 3
    max_reorg: int = 2
    """Less than ``confirmations``: what is final stays."""
    services: tuple[str, ...] = SERVICES
    verdicts_per_block: float = 0.35
    crash: float = 0.02
    """Of executors, at each boundary; the others die a third as often, for they hold no key."""
    commit_fails: float = 0.003
    commit_unheard: float = 0.003
    """The transaction holds, and its process is told that it does not."""
    send_fault: float = 0.3
    providers: int = 1
    lies: float = 0.0
    """Of the last one, where there are three or more: two that tell the truth agree."""
    read_fails: float = 0.01
    read_behind: float = 0.005
    publish_lost: float = 0.01
    ack_lost: float = 0.01
    late: float = 0.04
    reorg: float = 0.12
    reverts: float = 0.12
    evicted: float = 0.05
    left_out: float = 0.15
    spike: float = 0.04
    stall: float = 0.03
    broker_down: float = 0.02
    store_lost: float = 0.0
    """Of a broker that goes down: it comes back without anything that it stored."""
    frozen: float = 0.0
    """Per executor and block: it stops for a while and goes on, as after SIGSTOP and SIGCONT. At each boundary of a
    side effect a tenth of it."""
    relays: tuple[str, ...] = ()
    """Private relays by their names; with any, the live book sends its trades to nobody else."""
    relay_fault: float = 0.0
    """Per word with a relay."""
    has_demand: bool = False
    """Whether the base fee moves by the rule and blocks ask for a tip, as others are in a hurry or not."""
    signer_restored: float = 0.0
    """Per block: the signer dies, and an older copy takes the place of its record."""
    link_lost: float = 0.0
    """Per request to, or answer of, a signer: the connection breaks off before or after."""
    foreign: float = 0.0
    """Per block: somebody else sends a transaction with our key, once in a world."""
    halt: float = 0.06
    clock_off: float = 0.0
    killed: float = 0.04
    """Per process and block, at any await."""
    capital: int = 2_500 * 10**6
    max_open_positions: int = 3
    max_orders_per_minute: int = 2
    price_moves_bps: int = 40
    max_token_bps: int | None = None
    """Of the live book's controls, as ``duplicate_blocks``: off unless a world is about them."""
    duplicate_blocks: int = 0
    usual_breakers: bool = False
    """Whether circuit breakers open as they do by default. Elsewhere they hardly ever do: in a world where most sends
    go wrong nobody would trade any more."""

    @staticmethod
    def named(name: str, seed: int) -> Shape:
        """The shape of a seed in the series of that name."""
        return {
            "mixed": Shape.of,
            "reorgs": Shape.of_reorgs,
            "crashes": Shape.of_crashes,
            "stores": Shape.of_lost_stores,
            "frozen": Shape.of_frozen,
            "thieves": Shape.of_thieves,
            "signers": Shape.of_signers,
            "fees": Shape.of_fees,
            "relays": Shape.of_relays,
            "controls": Shape.of_controls,
        }[name](seed)

    @staticmethod
    def of_reorgs(seed: int) -> Shape:
        """Half of all blocks replace others, and executors die seldom: most trades are undone at least once."""
        draw = Random(f"reorgs {seed}")  # noqa: S311
        confirmations = draw.choice((3, 5, 8, 12))
        return Shape(
            blocks=50,
            confirmations=confirmations,
            max_reorg=confirmations - 1,
            services=(draw.choice(EXECUTORS), "portfolio"),
            verdicts_per_block=1.0,
            crash=0.004,
            killed=0.01,
            send_fault=draw.choice((0.0, 0.3)),
            reorg=0.5,
            stall=0.01,
            broker_down=0.005,
            halt=0.0,
            capital=10_000 * 10**6,
            max_open_positions=12,
            max_orders_per_minute=8,
        )

    @staticmethod
    def of_crashes(seed: int) -> Shape:
        """Executors die at every twelfth boundary and in every fifth block, and live on for the rest of it."""
        draw = Random(f"crashes {seed}")  # noqa: S311
        executor = draw.choice(EXECUTORS)
        return Shape(
            blocks=40,
            max_reorg=2,
            services=(executor, "portfolio"),
            verdicts_per_block=1.0,
            crash=0.08,
            killed=0.2,
            commit_unheard=draw.choice((0.0, 0.01)),
            reorg=0.05,
            broker_down=0.0,
            halt=0.0,
        )

    @staticmethod
    def of_lost_stores(seed: int) -> Shape:
        """The broker goes down in every eighth block and forgets everything half of the time."""
        draw = Random(f"stores {seed}")  # noqa: S311
        services = draw.choice((SERVICES, (draw.choice(EXECUTORS), "portfolio", "gateway")))
        return Shape(
            services=services,
            verdicts_per_block=1.0,
            crash=draw.choice((0.0, 0.02)),
            killed=draw.choice((0.0, 0.1)),
            reorg=draw.choice((0.0, 0.1)),
            broker_down=0.12,
            store_lost=0.5,
        )

    @staticmethod
    def of_frozen(seed: int) -> Shape:
        """Two instances of an executor, each of which stops in every third block and goes on with what it knew."""
        draw = Random(f"frozen {seed}")  # noqa: S311
        executor = draw.choice(EXECUTORS)
        return Shape(
            services=(executor, executor + STANDBY, "portfolio"),
            verdicts_per_block=1.0,
            crash=draw.choice((0.0, 0.01)),
            killed=0.02,
            frozen=0.35,
            send_fault=draw.choice((0.0, 0.3)),
            reorg=draw.choice((0.0, 0.1)),
            broker_down=0.0,
            halt=0.0,
        )

    @staticmethod
    def of_thieves(seed: int) -> Shape:
        """Somebody else has the key, and uses it once."""
        draw = Random(f"thieves {seed}")  # noqa: S311
        return Shape(
            blocks=40,
            services=(draw.choice(EXECUTORS), "portfolio", "gateway"),
            confirmations=draw.choice((2, 3, 5)),
            max_reorg=1,
            verdicts_per_block=1.0,
            crash=draw.choice((0.0, 0.02)),
            reorg=draw.choice((0.0, 0.05)),
            broker_down=0.0,
            foreign=0.1,
            halt=0.0,
        )

    @staticmethod
    def of_signers(seed: int) -> Shape:
        """The signer is a process of its own that dies as executors do; sometimes there are two of those, which
        freeze, and sometimes its record is an older one when it comes back."""
        draw = Random(f"signers {seed}")  # noqa: S311
        executor = draw.choice(EXECUTORS)
        has_standby = draw.random() < 0.4
        instances = (executor, executor + STANDBY) if has_standby else (executor,)
        return Shape(
            services=(*instances, executor + SIGNER, "portfolio"),
            verdicts_per_block=1.0,
            crash=draw.choice((0.01, 0.03)),
            killed=draw.choice((0.02, 0.1)),
            frozen=0.25 if has_standby else 0.0,
            link_lost=draw.choice((0.0, 0.05, 0.2)),
            late=draw.choice((0.04, 0.2)),
            signer_restored=draw.choice((0.0, 0.0, 0.08)),
            send_fault=draw.choice((0.0, 0.3)),
            reorg=draw.choice((0.0, 0.1)),
            broker_down=0.0,
            halt=0.0,
        )

    @staticmethod
    def of_fees(seed: int) -> Shape:
        """Gas gets dear and cheap again; beside that little goes wrong, and prices move enough to close positions."""
        draw = Random(f"fees {seed}")  # noqa: S311
        return Shape(
            blocks=60,
            services=(draw.choice(EXECUTORS), "portfolio"),
            verdicts_per_block=1.0,
            has_demand=True,
            crash=draw.choice((0.0, 0.0, 0.01)),
            killed=0.0,
            send_fault=draw.choice((0.0, 0.2)),
            reorg=draw.choice((0.0, 0.05)),
            left_out=0.0,
            broker_down=0.0,
            halt=0.0,
            capital=10_000 * 10**6,
            max_open_positions=12,
            max_orders_per_minute=8,
            price_moves_bps=250,
        )

    @staticmethod
    def of_relays(seed: int) -> Shape:
        """Trades go to private relays alone, which misbehave in half of what they do, or seldom."""
        draw = Random(f"relays {seed}")  # noqa: S311
        return Shape(
            services=(draw.choice(EXECUTORS), "portfolio"),
            relays=draw.choice((("honest",), ("first", "second"), ("first", "second", "third"))),
            relay_fault=draw.choice((0.1, 0.5)),
            verdicts_per_block=1.0,
            crash=draw.choice((0.0, 0.02, 0.05)),
            killed=draw.choice((0.0, 0.1)),
            send_fault=draw.choice((0.0, 0.3)),
            reorg=draw.choice((0.0, 0.1, 0.3)),
            broker_down=0.0,
            halt=0.0,
            price_moves_bps=80,
        )

    @staticmethod
    def of_controls(seed: int) -> Shape:
        """A book may hold little of its one token, and not buy again at once; its executor dies and what it bought is
        sold."""
        draw = Random(f"controls {seed}")  # noqa: S311
        return Shape(
            blocks=40,
            services=(draw.choice(EXECUTORS), "portfolio"),
            verdicts_per_block=1.0,
            crash=draw.choice((0.0, 0.01)),
            killed=draw.choice((0.05, 0.2)),
            send_fault=draw.choice((0.0, 0.3)),
            reorg=draw.choice((0.0, 0.1)),
            broker_down=0.0,
            halt=0.0,
            capital=10_000 * 10**6,
            max_open_positions=12,
            max_orders_per_minute=8,
            price_moves_bps=200,
            max_token_bps=draw.choice((1_500, 2_500)),
            duplicate_blocks=draw.choice((0, 2, 4)),
        )

    @staticmethod
    def of(seed: int) -> Shape:
        """Most worlds trade live and reorganise a little, some have every service, some go up to 64 blocks deep."""
        draw = Random(f"shape {seed}")  # noqa: S311
        kind = draw.random()
        if kind < 0.03:
            services = (draw.choice(EXECUTORS), "portfolio")
            return Shape(
                blocks=80, confirmations=66, max_reorg=64, verdicts_per_block=0.3, crash=0.03, services=services
            )
        confirmations = draw.choice((2, 3, 3, 5, 8))
        executor = draw.choice(EXECUTORS)
        services = SERVICES if kind < 0.2 else (executor, "portfolio", "gateway")
        if 0.2 <= kind < 0.4:
            services = (executor, executor + STANDBY, "portfolio")
        return Shape(
            blocks=draw.randint(15, 30),
            confirmations=confirmations,
            providers=draw.choice((1, 1, 1, 3)),
            lies=0.1,
            commit_fails=draw.choice((0.0, 0.005, 0.03)),
            commit_unheard=draw.choice((0.0, 0.0, 0.02)),
            clock_off=draw.choice((0.0, 0.0, 0.0, 0.03)),
            max_reorg=confirmations - 1,
            services=services,
            crash=draw.choice((0.02, 0.04, 0.08)),
            send_fault=draw.choice((0.0, 0.3, 0.6)),
            verdicts_per_block=draw.choice((0.7, 1.0, 1.0)),
            reorg=draw.choice((0.0, 0.1, 0.3)),
            usual_breakers=draw.random() < 0.25,
        )
