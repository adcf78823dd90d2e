"""Doubles of the services that hold keys, played over HTTP on loopback (and for a Ledger over HID reports).

They answer as the services' own documentation says, refuse what the services refuse, and can be told to misbehave. The
signer's clients are the makers' own, pointed here by their endpoint.
"""
