"""Whether a node is the local devnet or a remote network. Only the devnet may be traded without real-money words."""

from __future__ import annotations

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

from dexlane.chain.rpc import Rpc

Network = Literal["devnet", "remote"]


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine, by name or by address; a name is not looked up."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def network_of(client_version: str, url: str) -> Network:
    """``devnet`` only for an anvil on a loopback address; anything else counts as a network with real money.

    Both are needed: a fork of a real network in front of real keys calls itself anvil too, and a tunnel to a real
    node ends on loopback.
    """
    return "devnet" if client_version.startswith("anvil/") and is_loopback(url) else "remote"


async def identify_network(rpc: Rpc, url: str) -> Network:
    """Ask the node what it is. Raises ``RpcError`` or ``RpcUnavailable``."""
    return network_of(await rpc.client_version(), url)
