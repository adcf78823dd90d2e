"""Pools by address, their states apart from what never changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, KeysView, Mapping, Sequence

from dexlane.values.pools import Pool, PoolKey, PoolState


class PoolTable(Mapping[str, Pool]):
    """A mapping of pools by address that makes each ``Pool`` when it is asked for.

    Of very many pools a block changes few, and what it does not touch is cold memory: its key would be fetched for
    nothing. So whoever only folds and applies changes works on ``states``.
    """

    __slots__ = ("_between", "_by_token", "_keys", "_keys_shared", "_states", "_states_shared")

    def __init__(self, pools: Iterable[Pool] = ()) -> None:
        self._keys: dict[str, PoolKey] = {}
        self._states: dict[str, PoolState] = {}
        self._by_token: dict[str, list[str]] | None = None
        self._between: dict[tuple[str, str], tuple[str, ...]] = {}
        self._keys_shared = self._states_shared = False
        for pool in pools:
            self.put(pool)

    @property
    def states(self) -> Mapping[str, PoolState]:
        """The states by address: a view that lives until the table is copied and then changed."""
        return self._states

    @property
    def tokens(self) -> KeysView[str]:
        """The addresses of all tokens that some pool holds, to read only."""
        return self._trading.keys()

    def trading(self, token: str) -> Sequence[str]:
        """The addresses of the pools that hold a token, to read only. Which pools hold what changes seldom: it is found
        anew when somebody asks after a pool joined or left."""
        return self._trading.get(token, ())

    @property
    def _trading(self) -> dict[str, list[str]]:
        if self._by_token is None:
            self._by_token, self._between = {}, {}
            for address, key in self._keys.items():
                for one in key.tokens:
                    self._by_token.setdefault(one.address, []).append(address)
        return self._by_token

    def between(self, one: str, other: str) -> Sequence[str]:
        """The addresses of the pools that trade two tokens, lowest first. Found once, as long as no pool joins or
        leaves."""
        trading = self._trading  # found anew, it begins the pairs anew
        pair = (one, other) if one < other else (other, one)
        if pair not in self._between:
            fewer = min(trading.get(one, ()), trading.get(other, ()), key=len)
            self._between[pair] = tuple(sorted(at for at in fewer if self._keys[at].trades(one, other)))
        return self._between[pair]

    def key(self, address: str) -> PoolKey:
        """What never changes of a pool."""
        return self._keys[address]

    def __getitem__(self, address: str) -> Pool:
        return Pool.unchecked(self._keys[address], self._states[address])

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def __contains__(self, address: object) -> bool:
        return address in self._states

    def copied(self) -> PoolTable:
        """The same pools in a table of their own. Costs nothing now: whichever is changed first copies then."""
        self.trading("")  # so that the copies do not each find anew who trades what
        table = PoolTable()
        table._keys, table._states = self._keys, self._states
        table._by_token, table._between = self._by_token, self._between
        table._keys_shared = table._states_shared = self._keys_shared = self._states_shared = True
        return table

    def put(self, pool: Pool) -> None:
        """Enter a pool, or replace the one of its address."""
        address = pool.key.address
        if self._keys.get(address) != pool.key:
            self._by_token = None
        self._part_keys()
        self._part_states()
        self._keys[address] = pool.key
        self._states[address] = pool.state

    def update_states(self, states: Mapping[str, PoolState]) -> None:
        """Give pools that are here these states."""
        self._part_states()
        self._states.update(states)

    def remove(self, address: str) -> None:
        """Take a pool out; an unknown one is ignored."""
        self._by_token = None
        self._part_keys()
        self._part_states()
        self._keys.pop(address, None)
        self._states.pop(address, None)

    def _part_keys(self) -> None:
        if self._keys_shared:
            self._keys, self._keys_shared = dict(self._keys), False

    def _part_states(self) -> None:
        if self._states_shared:
            self._states, self._states_shared = dict(self._states), False
