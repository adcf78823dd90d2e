"""Put the real contracts at their canonical addresses ("etch and construct").

The creation code is set as the code of the target address, called once to learn the runtime code, run once as a
transaction so that storage and events are real, and replaced by the runtime code. Constructors therefore run *at* the
address: immutables, ``address(this)`` and CREATE2 pool addresses come out as on mainnet.
"""

from typing import Any

from eth_abi.abi import encode

from dexlane_devnet import packages as npm
from dexlane_devnet.accounts import account
from dexlane_devnet.addresses import GAS_BURNER, GAS_PRICE_ORACLE, L1_BLOCK, LIQUIDITY_DESK, DevnetChain
from dexlane_devnet.contracts import Source, calldata
from dexlane_devnet.desk import desk_code
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.rpc import Rpc

SIGNATURE_CHECKER = "0x000000000000000000000000000000005161C4EC"
"""A library address of our own: mainnet's USDC links one too, nobody calls it by address."""
V2_PAIR_INIT_HASH = "96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f"
V3_POOL_INIT_HASH = "e34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54"
ZERO = "0x0000000000000000000000000000000000000000"
GAS_LIMIT = 16_000_000
L1_BASE_FEE_WEI, L1_BLOB_BASE_FEE_WEI = 1_000_000_000, 10_000_000
BASE_FEE_SCALAR, BLOB_BASE_FEE_SCALAR = 2_269, 1_055_762
"""Base's scalars of 2024 and 2025; the fees of L1 are chosen so that data costs something."""
ECOTONE_AND_FJORD = 0x0101
"""Both flags of GasPriceOracle, in its first slot."""
_INVALID_OPCODE = "0xfe"
_A = "artifacts/contracts"


async def send(rpc: Rpc, sender: str, to: str, data: str, value: int = 0) -> dict[str, Any]:
    """Send from an account the node holds and wait for its receipt.

    Raises:
        DevnetError: the transaction failed.
    """
    request = {"from": sender, "to": to, "data": data, "value": hex(value), "gas": hex(GAS_LIMIT)}
    receipt: dict[str, Any] = await rpc.call("eth_sendTransactionSync", request)
    if receipt["status"] != "0x1":
        raise DevnetError(f"a set-up transaction to {to} failed ({data[:10]}).")
    return receipt


class Deployer:
    """Deploys onto one empty, automining chain."""

    def __init__(self, rpc: Rpc, source: Source, chain: DevnetChain) -> None:
        self._rpc = rpc
        self._source = source
        self._chain = chain
        self._at = chain.addresses
        self._sender = account("deployer").address

    async def construct(self, address: str, code: bytes, sender: str | None = None) -> None:
        """Run creation code (with its encoded arguments appended) at ``address``."""
        sender = sender or self._sender
        await self._rpc.call("anvil_setCode", address, "0x" + code.hex())
        runtime = await self._rpc.call("eth_call", {"from": sender, "to": address, "gas": hex(GAS_LIMIT)}, "latest")
        await send(self._rpc, sender, address, "0x")
        await self._rpc.call("anvil_setCode", address, runtime)
        await self._rpc.call("anvil_setNonce", address, "0x1")

    async def deploy_all(self) -> None:
        """Every contract of the devnet, in the order their constructors need."""
        await self._deploy_plain_code()
        await self._deploy_v2()
        await self._deploy_v3()
        await self._deploy_universal_router()
        await self._deploy_usdc()
        if self._chain.network == "optimism":
            await self._deploy_rollup_predeploys()

    async def _deploy_plain_code(self) -> None:
        permit2 = self._source.hex_literal(npm.V4_PERIPHERY, npm.V4_PERIPHERY.members[0], r'hex"([0-9a-f]+)"')
        multicall = self._source.hex_literal(npm.VIEM, npm.VIEM.members[0], r"multicall3Bytecode\s*=\s*'0x([0-9a-f]+)'")
        await self._rpc.call("anvil_setCode", self._at.permit2, "0x" + permit2.hex())
        if self._chain.is_recorded:
            await self._rpc.call("anvil_setCode", LIQUIDITY_DESK, "0x" + desk_code().hex())
        await self._rpc.call("anvil_setCode", GAS_BURNER, _INVALID_OPCODE)
        await self.construct(self._at.multicall3, multicall)
        await self.construct(self._at.weth, self._source.creation_code(npm.V2_PERIPHERY, "build/WETH9.json"))

    async def _deploy_v2(self) -> None:
        factory = self._source.creation_code(npm.V2_CORE, "build/UniswapV2Factory.json")
        router = self._source.creation_code(npm.V2_PERIPHERY, "build/UniswapV2Router02.json")
        await self.construct(self._at.v2_factory, factory + encode(["address"], [self._sender]))
        pair = encode(["address", "address"], [self._at.v2_factory, self._at.weth])
        await self.construct(self._at.v2_router02, router + pair)

    async def _deploy_v3(self) -> None:
        code, core, edge = self._source.creation_code, npm.V3_CORE, npm.V3_PERIPHERY
        a = self._at
        await self.construct(a.v3_factory, code(core, core.members[0]))
        await self.construct(a.nft_descriptor, code(edge, f"{_A}/libraries/NFTDescriptor.sol/NFTDescriptor.json"))
        descriptor = "NonfungibleTokenPositionDescriptor"
        await self.construct(
            a.position_descriptor,
            code(edge, f"{_A}/{descriptor}.sol/{descriptor}.json", {"NFTDescriptor": a.nft_descriptor})
            + encode(["address", "bytes32"], [a.weth, b"ETH".ljust(32, b"\0")]),
        )
        manager = code(edge, f"{_A}/NonfungiblePositionManager.sol/NonfungiblePositionManager.json")
        arguments = encode(["address"] * 3, [a.v3_factory, a.weth, a.position_descriptor])
        await self.construct(a.position_manager, manager + arguments)
        pair = encode(["address"] * 2, [a.v3_factory, a.weth])
        await self.construct(a.quoter_v2, code(edge, f"{_A}/lens/QuoterV2.sol/QuoterV2.json") + pair)
        await self.construct(a.tick_lens, code(edge, f"{_A}/lens/TickLens.sol/TickLens.json"))
        router = code(npm.SWAP_ROUTER, npm.SWAP_ROUTER.members[0])
        arguments = encode(["address"] * 4, [a.v2_factory, a.v3_factory, a.position_manager, a.weth])
        await self.construct(a.swap_router02, router + arguments)

    async def _deploy_universal_router(self) -> None:
        a = self._at
        kinds = ["address"] * 4 + ["bytes32"] * 2 + ["address"] * 4
        hashes = [bytes.fromhex(V2_PAIR_INIT_HASH), bytes.fromhex(V3_POOL_INIT_HASH)]
        first = [a.permit2, a.weth, a.v2_factory, a.v3_factory]
        last = [a.v4_pool_manager, a.position_manager, a.v4_position_manager, ZERO]
        code = self._source.creation_code(npm.UNIVERSAL_ROUTER, npm.UNIVERSAL_ROUTER.members[0])
        await self.construct(a.universal_router, code + encode(kinds, [*first, *hashes, *last]))

    async def _deploy_usdc(self) -> None:
        code, base, a = self._source.creation_code, "artifacts/hardhat/contracts", self._at
        checker = code(npm.STABLECOIN, f"{base}/util/SignatureChecker.sol/SignatureChecker.json")
        await self.construct(SIGNATURE_CHECKER, checker)
        links = {"SignatureChecker": SIGNATURE_CHECKER}
        token = code(npm.STABLECOIN, f"{base}/v2/FiatTokenV2_2.sol/FiatTokenV2_2.json", links)
        await self.construct(a.usdc_implementation, token)
        proxy = code(npm.STABLECOIN, f"{base}/v1/FiatTokenProxy.sol/FiatTokenProxy.json")
        # The proxy's deployer becomes its admin and can never use the token, so it is an account for nothing else.
        await self.construct(
            self._at.usdc, proxy + encode(["address"], [a.usdc_implementation]), account("usdc-admin").address
        )
        owner = account("usdc-minter").address
        names = ("USD Coin", "USDC", "USD", 6)
        calls = [
            calldata(
                "initialize(string,string,string,uint8,address,address,address,address)",
                *names, owner, owner, owner, owner,
            ),
            calldata("initializeV2(string)", "USD Coin"),
            calldata("initializeV2_1(address)", account("deployer").address),
            calldata("initializeV2_2(address[],string)", [], "USDC"),
            calldata("configureMinter(address,uint256)", owner, 1 << 255),
        ]  # fmt: skip
        for data in calls:
            await send(self._rpc, owner, self._at.usdc, data)

    async def _deploy_rollup_predeploys(self) -> None:
        """The rollup's own contracts, with terms that hold for ever: nobody makes L1 blocks here. The node charges for
        data by them, as a rollup does, though its receipts do not say so."""
        folder = "forge-artifacts"
        for address, name in ((GAS_PRICE_ORACLE, "GasPriceOracle"), (L1_BLOCK, "L1Block")):
            await self.construct(
                address, self._source.creation_code(npm.OP_BEDROCK, f"{folder}/{name}.sol/{name}.json")
            )
        scalars = BASE_FEE_SCALAR << 96 | BLOB_BASE_FEE_SCALAR << 64
        stored = {
            (L1_BLOCK, 1): L1_BASE_FEE_WEI,
            (L1_BLOCK, 3): scalars,
            (L1_BLOCK, 7): L1_BLOB_BASE_FEE_WEI,
            (GAS_PRICE_ORACLE, 0): ECOTONE_AND_FJORD,
        }
        for (address, slot), value in stored.items():
            await self._rpc.call("anvil_setStorageAt", address, f"0x{slot:064x}", f"0x{value:064x}")
