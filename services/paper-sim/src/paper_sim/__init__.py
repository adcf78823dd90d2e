"""Paper intents to simulated fills."""
