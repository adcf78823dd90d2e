"""Executing intents: the core that the fast and the smart executor share."""
