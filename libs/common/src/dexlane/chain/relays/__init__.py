"""Private relays: what is sent to them is not seen in the public pool before it is in a block."""
