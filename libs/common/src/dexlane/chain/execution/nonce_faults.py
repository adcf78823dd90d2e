"""Whether chain, journal and signer agree about the nonces of an account."""

from __future__ import annotations

from dexlane.runtime.errors import Fatal


def nonce_fault(account: str, *, given: int, final: int, on_chain: int, signed: int) -> str | None:
    """Why an account may not be used, in one sentence; None when chain, journal and signer agree."""
    if signed > given:
        return (
            f"the signer has signed nonce {signed} of account {account} but this journal knows only up to {given}: an "
            "old or empty journal was put in place; bring back the newest one"
        )
    if final >= on_chain:
        return (
            f"account {account} has used nonce {final} by this journal, but its next nonce on the chain is {on_chain}: "
            "the chain was reset or rolled back beyond finality; a journal serves one chain only"
        )
    if 0 <= given < on_chain - 1:
        return (
            f"account {account} is at nonce {on_chain} on the chain, but this journal gave out only up to {given}: "
            "somebody else uses its key; move its funds and use a new account"
        )
    return None


def foreign_use(account: str, nonce: int) -> Fatal:
    """Why trading stops when a slot was used by another transaction."""
    return Fatal(
        f"nonce {nonce} of account {account} was used by a transaction that neither this journal nor the signer tells "
        "of: somebody else holds its key; move its funds and use a new account. Only if the signer was given another "
        "record, or lost this key, since it signed last may it be ours: bring that back, and start again"
    )
