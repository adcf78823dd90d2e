"""Start the chain and speak to it: ``start_devnet`` and the ``Devnet`` it returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dexlane_devnet.accounts import account
from dexlane_devnet.addresses import DevnetPool, chain_of
from dexlane_devnet.anvil import HOST, AnvilProcess, check_port_free, find_anvil, start_anvil
from dexlane_devnet.build import build_state, default_cache
from dexlane_devnet.clock import wall_s
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.rpc import Rpc
from dexlane_devnet.swaps import amount_out, exact_in_calldata
from dexlane_devnet.tape import DEFAULT_TAPE

BLOCK_GAS_LIMIT = 30_000_000
START_BASE_FEE_WEI = 2 * 10**9
SWAP_GAS_LIMIT = 1_000_000


@dataclass(frozen=True)
class DevnetConfig:
    """How to run the chain.

    Attributes:
        port: loopback port for HTTP and WebSocket.
        chain_id: 1 by default; 8453 is Base with its own addresses, any other id has Ethereum's.
        block_time_s: seconds between blocks; None mines each transaction at once.
        cache_dir: where fetched parts and built states lie; default ``default_cache()``.
        prune_history: states of the past kept in memory (calls at older blocks fail).
        transaction_blocks_kept: blocks whose transactions, receipts and logs are kept (older logs are gone; the blocks
            of the loaded state stay). Without a bound the node grows by some 13 kB a swap for ever.
        start_base_fee_wei: base fee of the first block after the start; later ones follow EIP-1559.
    """

    port: int = 8545
    chain_id: int = 1
    block_time_s: float | None = 1.0
    cache_dir: Path = field(default_factory=default_cache)
    prune_history: int = 128
    transaction_blocks_kept: int = 2048
    start_base_fee_wei: int = START_BASE_FEE_WEI
    tape_path: Path = DEFAULT_TAPE


class Devnet:
    """A running chain. Use ``async with`` or call ``stop``."""

    def __init__(self, config: DevnetConfig, process: AnvilProcess, connection: Rpc) -> None:
        self.config = config
        self._process = process
        self._connection = connection

    @property
    def http_url(self) -> str:
        return f"http://{HOST}:{self.config.port}"

    @property
    def ws_url(self) -> str:
        return self._process.ws_url

    @property
    def chain_id(self) -> int:
        return self.config.chain_id

    @property
    def pid(self) -> int:
        return self._process.process.pid

    async def rpc(self, method: str, *params: object) -> Any:
        """Result of one JSON-RPC request.

        Raises:
            RpcError: the node answered with an error.
        """
        return await self._connection.call(method, *params)

    async def wait(self) -> int:
        """Wait until the node process ends; its exit code."""
        return await self._process.process.wait()

    async def stop(self) -> None:
        """End the node process (SIGINT, then SIGKILL after five seconds)."""
        try:
            await self._connection.close()
        finally:
            await self._process.stop()

    async def mine(self, blocks: int = 1) -> None:
        """Mine ``blocks`` blocks at once, whatever the mining mode."""
        await self.rpc("anvil_mine", hex(blocks))

    async def reorg(self, depth: int) -> None:
        """Replace the last ``depth`` blocks by empty ones; their transactions are lost, not returned to the pool.

        The node announces the new heads with the same numbers and sends no ``removed`` logs.
        """
        await self.rpc("anvil_reorg", depth, [])

    async def set_automine(self, on: bool) -> None:
        """Mine every transaction at once, or go back to the configured block time (None: mine on request only).

        Raises:
            DevnetError: the configured block time is not in whole seconds, so it cannot be set at run time.
        """
        seconds = self.config.block_time_s
        if on:
            await self.rpc("evm_setAutomine", on)
            return
        if seconds is not None and seconds != int(seconds):
            raise DevnetError("interval mining can only be restored for a block time in whole seconds.")
        await self.rpc("evm_setAutomine", on)
        if seconds is not None:
            await self.rpc("evm_setIntervalMining", int(seconds))

    async def swap_exact_in(self, pool: DevnetPool, token_in: str, amount: int, *, role: str = "noise-3") -> int:
        """Sell ``amount`` of ``token_in`` as a market account and wait for inclusion; the amount received.

        Raises:
            DevnetError: the swap reverted.
        """
        sender = account(role).address
        request = {
            "from": sender,
            "to": chain_of(self.chain_id).addresses.swap_router02,
            "data": exact_in_calldata(pool, token_in, amount, sender),
            "gas": hex(SWAP_GAS_LIMIT),
        }
        receipt = await self.rpc("eth_sendTransactionSync", request)
        if receipt["status"] != "0x1":
            raise DevnetError(f"the swap of {amount} in {pool.name} reverted.")
        return amount_out(pool, token_in, receipt)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def start_devnet(config: DevnetConfig, report: Callable[[str], None] = lambda line: None) -> Devnet:
    """Build the state if the cache lacks it, start the node and bring its clock and fees to the present.

    Raises:
        DevnetError: the port is taken, a part cannot be fetched, or the node does not start.
    """
    check_port_free(config.port)
    state = await build_state(
        config.cache_dir, report, chain_id=config.chain_id, tape_path=config.tape_path
    )  # fmt: skip
    binary = find_anvil(config.cache_dir, report)
    process = await start_anvil(binary, config.port, node_arguments(config, state))
    try:
        connection = await Rpc.connect(process.ws_url)
        # A loaded state brings its own gas limit and time along; both are set anew, then one block makes them real.
        await connection.call("evm_setBlockGasLimit", hex(BLOCK_GAS_LIMIT))
        await connection.call("evm_setTime", wall_s())
        await connection.call("anvil_setNextBlockBaseFeePerGas", hex(config.start_base_fee_wei))
        await connection.call("evm_mine")
    except BaseException:
        await process.stop()
        raise
    return Devnet(config, process, connection)


def node_arguments(config: DevnetConfig, state: Path) -> list[str]:
    """The start line beyond what every anvil of ours gets; one slot an epoch makes head-2 final."""
    arguments = [
        "--chain-id", str(config.chain_id), "--load-state", str(state),
        "--prune-history", str(config.prune_history), "--slots-in-an-epoch", "1",
        "--transaction-block-keeper", str(config.transaction_blocks_kept),
        "--network", chain_of(config.chain_id).network,
    ]  # fmt: skip
    if config.block_time_s is not None:
        arguments += ["--block-time", f"{config.block_time_s:g}"]
    return arguments
