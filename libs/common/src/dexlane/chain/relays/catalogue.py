"""Which relays settings name, and the clients for them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from dexlane.chain.network import is_loopback
from dexlane.chain.relays.auth import AuthKey
from dexlane.chain.relays.dialects import Bundles, PrivatePool, Protect
from dexlane.chain.relays.http import RelayHttp
from dexlane.chain.relays.relay import Relay, RelayKind
from dexlane.runtime.errors import Misconfigured
from dexlane.values.base import Value

DIALECTS: Mapping[RelayKind, Callable[[str, RelayHttp], Relay]] = {
    RelayKind.PROTECT: Protect,
    RelayKind.PRIVATE_POOL: PrivatePool,
    RelayKind.BUNDLES: Bundles,
}
NAME = "^[a-z][a-z0-9-]{0,31}$"


class RelaySpec(Value):
    """One relay as settings or the list of known ones describe it. ``signed``: requests carry the auth key's
    signature, which bundles always do."""

    name: str = Field(pattern=NAME)
    kind: RelayKind
    url: str
    status_url: str | None = Field(default=None, description="address of the status page, before the hash")
    signed: bool = False

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        for url in filter(None, (self.url, self.status_url)):
            scheme = urlsplit(url).scheme
            if scheme != "https" and not (scheme == "http" and is_loopback(url)):
                raise ValueError(f"relay {self.name}: {scheme}://... is not private; an https:// address is needed")
        if self.status_url is not None and self.kind is RelayKind.BUNDLES:
            raise ValueError(f"relay {self.name}: bundles have no status page")
        return self

    @property
    def is_signed(self) -> bool:
        """Whether its requests need the auth key."""
        return self.signed or self.kind is RelayKind.BUNDLES

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, with everything of it."""
        return all(is_loopback(url) for url in filter(None, (self.url, self.status_url)))


@cache
def known_relays() -> Mapping[tuple[int, str], RelaySpec]:
    """By chain and name."""
    text = (files("dexlane.chain.relays") / "known.toml").read_text(encoding="utf-8")
    return {
        (int(table.pop("chain_id")), name): RelaySpec(name=name, **table) for name, table in tomllib.loads(text).items()
    }


def named(chain_id: int, names: Sequence[str | RelaySpec]) -> tuple[RelaySpec, ...]:
    """Descriptions of the relays that settings name for a chain. ``ValueError`` for one that nobody knows, or twice."""
    specs = []
    for one in names:
        spec = known_relays().get((chain_id, one)) if isinstance(one, str) else one
        if spec is None:
            known = ", ".join(name for chain, name in known_relays() if chain == chain_id) or "none"
            raise ValueError(f"no relay named {one!r} is known on chain {chain_id} (known: {known}); describe it")
        specs.append(spec)
    if len({spec.name for spec in specs}) != len(specs):
        raise ValueError(f"two relays of chain {chain_id} have one name")
    return tuple(specs)


def connected(specs: Sequence[RelaySpec], auth: AuthKey | None) -> tuple[Relay, ...]:
    """Clients, in the order of the descriptions; nothing is contacted yet."""
    return tuple(_client(spec, auth) for spec in specs)


def _client(spec: RelaySpec, auth: AuthKey | None) -> Relay:
    if spec.is_signed and auth is None:
        raise Misconfigured(f"requests to relay {spec.name} are signed: set relay_auth_key_file")
    http = RelayHttp(spec.url, auth if spec.is_signed else None, status_url=spec.status_url)
    return DIALECTS[spec.kind](spec.name, http)
