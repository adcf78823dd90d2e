"""The ``dexlane`` command and the local supervisor."""
