"""HashiCorp Vault as its HTTP API describes tokens, AppRole, Kubernetes logins and KV version 2."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from dexlane.testing.key_services.http import Answered, Asked, Service

FULL = "full"
READ = "read"


def failure(status: int, *errors: str) -> Answered:
    """An error in Vault's form."""
    return Answered.of({"errors": list(errors)}, status)


@dataclass
class Token:
    """A token: what it may do, its time to live, and whether that can be renewed. A root token has no end."""

    policy: str = READ
    ttl_s: int = 0
    renewable: bool = False


@dataclass
class VaultDouble(Service):
    """One Vault with a KV engine, version 2, under ``secret``. ``values`` is by path."""

    values: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    approles: dict[str, str] = field(default_factory=dict)
    """Role id to secret id."""
    service_accounts: dict[str, str] = field(default_factory=dict)
    """Role of Kubernetes to the token that its service account has."""
    sealed: bool = False
    namespace: str | None = None

    def respond(self, asked: Asked) -> Answered:
        """What Vault answers."""
        if self.sealed:
            return failure(503, "Vault is sealed")
        if asked.headers.get("x-vault-namespace") != self.namespace:
            return failure(403, "permission denied")
        path = asked.path.removeprefix("/v1/")
        if path.startswith("auth/") and path.endswith("/login"):
            return self._login(path, asked)
        name = asked.headers.get("x-vault-token", "")
        token = self.tokens.get(name)
        if token is None:
            return failure(403, "permission denied", "invalid token")
        if path.startswith("auth/token/"):
            return self._token(path.removeprefix("auth/token/"), name, token)
        return self._value(path, token, asked)

    def _login(self, path: str, asked: Asked) -> Answered:
        said = asked.json()
        if path == "auth/approle/login":
            known = self.approles.get(str(said.get("role_id")))
            if known is None or known != said.get("secret_id"):
                return failure(400, "invalid role or secret ID")
        elif self.service_accounts.get(str(said.get("role"))) != said.get("jwt"):
            return failure(403, "permission denied")
        name = f"hvs.{secrets.token_hex(12)}"
        self.tokens[name] = Token(READ, 3_600, renewable=True)
        return Answered.of({"auth": {"client_token": name, "lease_duration": 3_600, "renewable": True}})

    def _token(self, what: str, name: str, token: Token) -> Answered:
        if what == "lookup-self":
            return Answered.of({"data": {"ttl": token.ttl_s, "renewable": token.renewable}})
        if what == "renew-self":
            if not token.renewable:
                return failure(400, "lease is not renewable")
            return Answered.of({"auth": {"lease_duration": token.ttl_s, "renewable": True}})
        if what == "revoke-self":
            del self.tokens[name]
            return Answered(204, b"")
        return failure(404)

    def _value(self, path: str, token: Token, asked: Asked) -> Answered:
        engine, _, rest = path.partition("/")
        kind, _, name = rest.partition("/")
        if engine != "secret" or kind not in {"data", "metadata"}:
            return failure(403, "permission denied")
        if asked.method == "GET" and kind == "data":
            value = self.values.get(name)
            return failure(404) if value is None else Answered.of({"data": {"data": value, "metadata": _VERSION}})
        if token.policy != FULL:
            return failure(403, "1 error occurred:\n\t* permission denied\n\n")
        if asked.method == "GET":
            return Answered.of({"data": {"current_version": 1}}) if name in self.values else failure(404)
        said = asked.json()
        if said.get("options", {}).get("cas") == 0 and name in self.values:
            return failure(400, "check-and-set parameter did not match the current version")
        self.values[name] = said["data"]
        return Answered.of({"data": _VERSION})


_VERSION: Mapping[str, object] = {"version": 1, "deletion_time": "", "destroyed": False}
