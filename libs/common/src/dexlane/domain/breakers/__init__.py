"""Circuit breakers: a pure state machine, what each kind measures, and what an open one leaves to executors.

The shape is the usual one (closed, open, half-open; Nygard, *Release It!*). Three things are not usual: an error inside
a breaker opens it or holds it, time that goes back changes nothing, and whoever opens again soon stays open for longer
until a person is needed.
"""
