"""Background load: labelled transactions that only burn gas, so that the base fee lives as on a used chain."""

from typing import Any

from dexlane_devnet.accounts import account
from dexlane_devnet.addresses import GAS_BURNER
from dexlane_devnet.fees import GWEI, LoadPlan, split_gas
from dexlane_devnet.rpc import Rpc


class BackgroundLoad:
    """Sends the load of the next block right after each head. It offers the least, so it never displaces a trade."""

    def __init__(self, rpc: Rpc, plan: LoadPlan) -> None:
        self._rpc = rpc
        self._plan = plan
        self._sender = account("background-load").address
        self._burning = 0
        self._others_gas = 0

    async def on_block(self, gas_used: int, next_base_fee_wei: int) -> None:
        """Plan and send, unless the last load still waits or the chain mines each transaction at once."""
        mined, pending, automine = await self._rpc.batch(
            [
                *(("eth_getTransactionCount", self._sender, tag) for tag in ("latest", "pending")),
                ("anvil_getAutomine",),
            ]
        )
        # With automine each load would make a block of its own, which would ask for the next load.
        if mined != pending or automine:
            return
        others = max(0, gas_used - self._burning)
        self._others_gas += (others - self._others_gas) // 4
        parts = split_gas(self._plan.gas_to_burn(next_base_fee_wei, self._others_gas))
        self._burning = sum(parts)
        await self._rpc.batch([("eth_sendTransaction", self._request(gas, next_base_fee_wei)) for gas in parts])

    def _request(self, gas: int, next_base_fee_wei: int) -> dict[str, Any]:
        # One eighth above the next base fee survives one full block; dropped load is simply planned again.
        cap = max(next_base_fee_wei * 9 // 8, GWEI // 1000)
        return {
            "from": self._sender,
            "to": GAS_BURNER,
            "gas": hex(gas),
            "maxFeePerGas": hex(cap),
            "maxPriorityFeePerGas": "0x1",
        }
