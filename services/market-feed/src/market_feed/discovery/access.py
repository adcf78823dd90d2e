"""The lists that say what may be watched, read from files and addresses, and read again when they change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from dexlane.domain.listing import AccessLists, ListedToken, TokenList, parse_addresses, parse_token_list
from dexlane.runtime.errors import Misconfigured
from market_feed.metrics import DiscoveryMoments

LOOK_EVERY_S = 5.0
FETCH_EVERY_S = 3_600.0
FETCH_TIMEOUT_S = 10.0
MAX_LIST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSources:
    """Where the lists are. ``token_lists`` are paths or http(s) addresses; ``listed_only`` allows only their tokens."""

    blocked: Path | None = None
    allowed: Path | None = None
    token_lists: tuple[str, ...] = ()
    listed_only: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that may change."""
        named = (self.blocked, self.allowed, *(Path(text) for text in self.token_lists if not is_address(text)))
        return tuple(path for path in named if path is not None)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every token list that is fetched."""
        return tuple(text for text in self.token_lists if is_address(text))


def is_address(text: str) -> bool:
    """Whether a token list is named by an http(s) address instead of a path."""
    return text.startswith(("http://", "https://"))


class Access:
    """The lists as they are now. ``version`` grows with every change."""

    def __init__(self, sources: AccessSources, moments: DiscoveryMoments) -> None:
        self.version = 0
        self._sources = sources
        self._moments = moments
        self._blocked: frozenset[str] = frozenset()
        self._allowed: frozenset[str] = frozenset()
        self._lists: dict[str, TokenList] = {}
        self._stamps: tuple[tuple[int, int] | None, ...] = ()
        self._by_chain: dict[int, tuple[AccessLists, Mapping[str, ListedToken]]] = {}

    def lists(self, chain_id: int) -> AccessLists:
        """What is blocked and allowed on a chain."""
        return self._of_chain(chain_id)[0]

    def listed(self, chain_id: int) -> Mapping[str, ListedToken]:
        """The tokens of a chain that any token list names."""
        return self._of_chain(chain_id)[1]

    def _of_chain(self, chain_id: int) -> tuple[AccessLists, Mapping[str, ListedToken]]:
        known = self._by_chain.get(chain_id)
        if known is None:
            listed: dict[str, ListedToken] = {}
            for each in self._lists.values():
                listed |= each.of_chain(chain_id)
            open_to_all = not self._sources.listed_only and self._sources.allowed is None
            allowed = self._allowed | (listed.keys() if self._sources.listed_only else set())
            known = AccessLists(self._blocked, None if open_to_all else allowed), listed
            self._by_chain[chain_id] = known
        return known

    async def start(self) -> None:
        """Read everything. ``Misconfigured`` when a file cannot be read; a list that cannot be fetched comes later, and
        until then allows nothing."""
        try:
            self._read_files()
        except (OSError, ValueError) as error:
            raise Misconfigured(f"the lists of tokens and pools cannot be read: {error}") from error
        await self._fetch_all()

    async def run(self) -> None:
        """Look for changes for ever. A list that became unreadable stays as it was."""
        waited_s = 0.0
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            waited_s += LOOK_EVERY_S
            if self._stamps != self._stamps_now():
                self._read_again()
            if waited_s >= FETCH_EVERY_S:
                waited_s = 0.0
                await self._fetch_all()

    def _read_again(self) -> None:
        try:
            self._read_files()
        except (OSError, ValueError) as error:
            self._stamps = self._stamps_now()
            self._moments.list_refused(str(error))

    def _read_files(self) -> None:
        stamps, sources = self._stamps_now(), self._sources
        blocked = _addresses(sources.blocked)
        allowed = _addresses(sources.allowed)
        paths = [text for text in sources.token_lists if not is_address(text)]
        lists = {path: _token_list(path, Path(path).read_bytes()) for path in paths}
        self._blocked, self._allowed, self._stamps = blocked, allowed, stamps
        self._lists |= lists
        self._changed()

    async def _fetch_all(self) -> None:
        for url in self._sources.addresses:
            try:
                fetched = _token_list(url, await _fetch(url))
            except (httpx.HTTPError, ValueError) as error:
                self._moments.list_refused(f"{url.split('?')[0]}: {error}")
                continue
            known = self._lists.get(url)
            if known is None or known.digest != fetched.digest:
                self._lists[url] = fetched
                self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._by_chain.clear()
        self._moments.lists_read(len(self._blocked), len(self._allowed), list(self._lists.values()))

    def _stamps_now(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._sources.files)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _addresses(path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    try:
        return parse_addresses(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _token_list(source: str, content: bytes) -> TokenList:
    try:
        return parse_token_list(content)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


async def _fetch(url: str) -> bytes:
    """The body, without following redirects: the operator named this address and no other."""
    content = bytearray()
    client = httpx.AsyncClient(timeout=FETCH_TIMEOUT_S, follow_redirects=False)
    async with client, client.stream("GET", url) as answer:
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"it answers with status {answer.status_code}")
        async for part in answer.aiter_bytes():
            content += part
            if len(content) > MAX_LIST_BYTES:
                raise ValueError(f"it is longer than {MAX_LIST_BYTES} bytes")
    return bytes(content)
