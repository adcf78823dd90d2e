"""The one error a user of the devnet sees: one sentence saying what is wrong and what to do."""


class DevnetError(RuntimeError):
    """The devnet cannot be built, started or used; the message is one sentence for a person."""
