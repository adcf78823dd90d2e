"""A signer's process behind a socket, as an executor sees it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dexlane.chain.execution.payloads import Signer
from dexlane.runtime.errors import Transient
from dexlane_signer import GuardUnavailableError, Policy, RemoteSigner, SigningDenied


class SignerElsewhere:
    """Implements ``SignerSource``. The signer's rules are its own; there is no other way to a key."""

    def __init__(self, socket: Path, chain_id: int) -> None:
        self._signer = RemoteSigner(socket)
        self._chain_id = chain_id
        self._addresses: frozenset[str] = frozenset()

    @property
    def loaded(self) -> bool:
        """Whether the signer has told its accounts."""
        return bool(self._addresses)

    @property
    def addresses(self) -> frozenset[str]:
        """Accounts whose keys the signer has."""
        return self._addresses

    @property
    def silence(self) -> str:
        """Why the signer did not answer the last question; empty when it did."""
        return self._signer.silence

    async def load(self) -> None:
        """Ask for the accounts, once. ``Transient`` while the signer does not answer."""
        if not self._addresses:
            self._addresses = frozenset(await self._nonces())

    def use(self, policy: Policy) -> None:
        """Nothing: an executor cannot set the rules of a signer elsewhere."""

    def signer(self) -> Signer:
        """The signer behind the socket."""
        return self._signer

    async def highest_signed(self) -> Mapping[str, int]:
        """The highest nonce ever signed for each account. ``Transient`` while the signer does not answer."""
        return {address: nonce for address, nonce in (await self._nonces()).items() if nonce is not None}

    async def close(self) -> None:
        """Hang up."""
        await self._signer.close()

    async def _nonces(self) -> Mapping[str, int | None]:
        try:
            return await self._signer.highest_nonces(self._chain_id)
        except (GuardUnavailableError, SigningDenied) as error:
            raise Transient(f"the signer does not tell its accounts: {error}") from error
