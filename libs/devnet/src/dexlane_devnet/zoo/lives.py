"""Whether a specimen's trap springs where it is traded: a life of trades, lived by transactions on the devnet.

This is no check and knows none: it takes the owner's worst move from a table, because whoever wrote a family knows it,
and lets somebody buy, wait, and sell. He loses when less than 88 % of what he paid comes back. Of an honest token with
the largest tax that counts as honest, 5 % either way, 89 % do.

Around him a crowd buys before and sells after his purchase, one more buys last, and he gives a quarter to a friend, who
sells it. The owner sells whatever he gained. Afterwards the chain is as it was before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from dexlane_devnet.addresses import chain_of
from dexlane_devnet.contracts import calldata
from dexlane_devnet.devnet import Devnet
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.zoo.families import creation_code
from dexlane_devnet.zoo.release import ETHER, FOREVER, KEEPER, V3_FEE_PIPS, Exchange, Specimen, deploy

LEAST_BACK_BPS = 8_800
PATIENCE_S = 660
"""A buyer waits so long before he sells; a token that makes him wait longer has caught him."""
MONTH_S = 30 * 86_400
TRADE_GAS = 1_000_000
"""A trade that takes more fails."""
CROWD, SELLERS = 20, 12
_BUYS_BPS, _CROWD_BUYS_BPS = 100, 2
_MINED = 200
"""Blocks that are mined to wait; sales farther ahead are called in a block of that number instead."""
_COINBASE = "0x" + "c0" * 20
_ADMIN_SLOT = hex(int.from_bytes(keccak(text="eip1967.proxy.admin"), "big") - 1)

Move = tuple[str, str, tuple[object, ...]]
"""Whom the owner calls (``token``, its ``owner`` or its ``admin``), the function, and what with. The words ``holder``,
``friend``, ``keeper``, ``held``, ``supply``, ``rest`` (of a cap), ``p0``, ``closed`` (code that nobody can sell by) and
``close`` (a call that closes the token) stand for what they say."""


def _token(signature: str, *arguments: object) -> tuple[Move, ...]:
    return (("token", signature, arguments),)


_TAKE = _token("transferFrom(address,address,uint256)", "holder", "keeper", "held")
MOVES: dict[str, tuple[Move, ...]] = {
    "MintByOwner": _token("sweepDust(uint256)", "supply"),
    "MintByRole": _token("mint(address,uint256)", "keeper", "supply"),
    "MintByAnyone": _token("claimReward(address,uint256)", "keeper", "supply"),
    "BlacklistOne": _token("setBot(address,bool)", "holder", True),
    "BlacklistMany": _token("addBots(address[])", ("holder", "friend")),
    "PauseSwitch": _token("setOpen(bool)", False),
    "PausePlain": _token("pause()"),
    "LimitSwitch": _token("setMaxTxAmount(uint256)", 1),
    "RebaseByOwner": _token("rebase(uint256)", 1_000_000),
    "LeakPair": _token("syncPool()"),
    "TakeBack": _token("recover(address,address,uint256)", "holder", "keeper", "held"),
    "BurnHolder": _token("burn(address,uint256)", "holder", "held"),
    "FeeSetter": _token("setFee(uint256)", 99),
    "FeeSetterCapped": _token("setFees(uint256,uint256)", "p0", "p0"),
    "OwnerHidden": _token("setMarketing(uint256)", 9_900),
    "OwnerInCode": _token("maintenance(bool)", True),
    "TwoSteps": (*_token("mark(address)", "holder"), *_token("arm(bool)", True)),
    "ApproveTrap": _TAKE,
    "Backdoor": _TAKE,
    "Kill": _token("migrate(address)", "keeper"),
    "PayeeSwitch": _token("setWallet(address)", "token"),
    "ProxyByAdmin": (("admin", "upgradeAndCall(address,address,bytes)", ("token", "closed", b"")),),
    "ProxyByOwner": _token("upgradeToAndCall(address,bytes)", "closed", b""),
    "ProxyCustom": _token("setTarget(address)", "closed"),
    "PauseByFalseLock": (("owner", "run(address,bytes)", ("token", "close")),),
    "PauseByShortLock": (
        ("owner", "executeTransaction(address,uint256,string,bytes,uint256)", ("token", 0, "", "close", 0)),
    ),
    "TaxBounded": _token("setFees(uint256,uint256)", "p0", "p0"),
    "LaunchGate": _token("setFund(address)", "keeper"),
    "OzCapped": _token("mint(address,uint256)", "keeper", "rest"),
}
"""The worst that the owner of a family can do; of benign ones what he may."""
_AFTER_P0_S = frozenset({"HoneypotTime", "ProxyByTime"})
_AFTER_P0_BLOCKS = frozenset({"HoneypotBlock"})
_AFTER_A_MONTH = frozenset({"TaxRising", "RebaseDown"})
_BY_CHANCE = frozenset({"RebaseUp"})
"""Families that round a transfer down by a unit, or do not, in every pool but their own. One of Uniswap V3 that gets a
unit too little refuses the sale. That is a coin thrown with each sale: who sells three times comes off well in about
every fourth life, and nobody could tell a check that found a refusal from one that is wrong. So he sells in parts."""
PARTS = 24


@dataclass(frozen=True)
class Lived:
    """What became of the buyer. ``back_bps``: of what he paid; None where nobody could buy."""

    back_bps: int | None
    failed: tuple[str, ...]

    @property
    def springs(self) -> bool:
        """Whether he lost."""
        return self.back_bps is not None and self.back_bps < LEAST_BACK_BPS


async def live(devnet: Devnet, specimen: Specimen, exchange: Exchange) -> Lived:
    """Live one life with a specimen in the pool that it was brought to, and take everything back."""
    if not specimen.pool:
        return Lived(None, ("there is no pool",))
    miner = (await devnet.rpc("eth_getBlockByNumber", "latest", False))["miner"]
    snapshot = await devnet.rpc("evm_snapshot")
    await devnet.rpc("anvil_autoImpersonateAccount", True)
    await devnet.rpc("anvil_setCoinbase", _COINBASE)
    try:
        return await _Life(devnet, specimen, exchange).lived()
    finally:
        await devnet.rpc("evm_revert", snapshot)
        await devnet.rpc("anvil_setCoinbase", miner)
        await devnet.rpc("anvil_autoImpersonateAccount", False)


@dataclass
class _Life:
    devnet: Devnet
    specimen: Specimen
    exchange: Exchange
    failed: list[str] = field(default_factory=list)
    blocks_ahead: int = 0

    @property
    def token(self) -> str:
        return self.specimen.token

    async def lived(self) -> Lived:
        holder, friend = self.account("holder"), self.account("friend")
        crowd = [self.account(f"crowd {number}") for number in range(CROWD + 1)]
        small = max(1, self.specimen.pool_wei * _CROWD_BUYS_BPS // 10_000)
        for one in crowd[:CROWD]:
            await self.buys(one, small)
        paid = self.specimen.pool_wei * _BUYS_BPS // 10_000
        if not await self.buys(holder, paid):
            return Lived(None, ("the purchase",))
        kept = await self.number(self.token, "balanceOf(address)", KEEPER)
        held = await self.number(self.token, "balanceOf(address)", holder)
        await self.devnet.rpc("anvil_setBalance", friend, hex(5 * ETHER))
        await self.sent(holder, self.token, calldata("transfer(address,uint256)", friend, held // 4))
        await self.allows(friend)
        for one in crowd[:SELLERS]:
            await self.sells(one, await self.number(self.token, "balanceOf(address)", one) // 2)
        self.failed.clear()
        await self.owner_moves(holder, friend)
        await self.waits()
        await self.buys(crowd[CROWD], paid)
        gained = await self.number(self.token, "balanceOf(address)", KEEPER) - kept
        if gained > 0:
            await self.allows(KEEPER)
            await self.sells(KEEPER, gained)
            self.failed.clear()
        await self.sells_all(holder)
        await self.sells(friend, await self.number(self.token, "balanceOf(address)", friend), "what was given away")
        weth = chain_of(self.devnet.chain_id).addresses.weth
        back = sum([await self.number(weth, "balanceOf(address)", who) for who in (holder, friend)])
        return Lived(back * 10_000 // paid, tuple(dict.fromkeys(self.failed)))

    async def owner_moves(self, holder: str, friend: str) -> None:
        supply = await self.number(self.token, "totalSupply()")
        words: dict[object, object] = {
            "holder": holder,
            "friend": friend,
            "keeper": KEEPER,
            "token": self.token,
            "held": await self.number(self.token, "balanceOf(address)", holder),
            "supply": supply,
            "rest": 10**27 - supply,
            "p0": self.specimen.numbers[0],
            "close": bytes.fromhex(calldata("setClosed(bool)", True)[2:]),
        }
        for target, signature, arguments in MOVES.get(self.specimen.family.name, ()):
            if "closed" in arguments:
                words["closed"] = (await deploy(self.devnet, creation_code()["Closed"]))["contractAddress"]
            meant = [
                tuple(words[each] for each in one) if isinstance(one, tuple) else words.get(one, one)
                for one in arguments
            ]
            if not await self.sent(KEEPER, await self.target(target), calldata(signature, *meant)):
                raise DevnetError(f"the owner of {self.specimen.family.name} cannot call {signature}.")

    async def target(self, name: str) -> str:
        if name == "admin":
            word = await self.devnet.rpc("eth_getStorageAt", self.token, _ADMIN_SLOT, "latest")
            return f"0x{word[-40:]}"
        if name == "owner":
            return f"0x{await self.number(self.token, 'owner()'):040x}"
        return self.token

    async def waits(self) -> None:
        name, p0 = self.specimen.family.name, self.specimen.numbers[0]
        seconds = p0 + PATIENCE_S if name in _AFTER_P0_S else MONTH_S if name in _AFTER_A_MONTH else PATIENCE_S
        blocks = p0 if name in _AFTER_P0_BLOCKS else 1
        self.blocks_ahead = blocks if blocks > _MINED else 0
        await self.passes(seconds, 1 if self.blocks_ahead else blocks)

    async def passes(self, seconds: int, blocks: int = 1) -> None:
        await self.devnet.rpc("evm_increaseTime", seconds)
        await self.devnet.mine(blocks)

    async def buys(self, who: str, wei: int) -> bool:
        """A purchase, and leave for the router to sell what it brings."""
        await self.devnet.rpc("anvil_setBalance", who, hex(wei + 5 * ETHER))
        at = chain_of(self.devnet.chain_id).addresses
        if self.exchange == "uniswap_v3":
            router, data = at.swap_router02, _single((at.weth, self.token), wei, who)
        else:
            signature = "swapExactETHForTokensSupportingFeeOnTransferTokens(uint256,address[],address,uint256)"
            router, data = at.v2_router02, calldata(signature, 0, (at.weth, self.token), who, FOREVER)
        return await self.sent(who, router, data, wei) and await self.allows(who)

    async def allows(self, who: str) -> bool:
        at = chain_of(self.devnet.chain_id).addresses
        router = at.swap_router02 if self.exchange == "uniswap_v3" else at.v2_router02
        return await self.sent(who, self.token, calldata("approve(address,uint256)", router, FOREVER))

    async def sells(self, who: str, amount: int, what: str = "a sale") -> None:
        if amount == 0:
            return
        at = chain_of(self.devnet.chain_id).addresses
        if self.exchange == "uniswap_v3":
            router, data = at.swap_router02, _single((self.token, at.weth), amount, who)
        else:
            kinds = "uint256,uint256,address[],address,uint256"
            signature = f"swapExactTokensForTokensSupportingFeeOnTransferTokens({kinds})"
            router, data = at.v2_router02, calldata(signature, amount, 0, (self.token, at.weth), who, FOREVER)
        if not (await self.possible(who, router, data) and await self.sent(who, router, data)):
            self.failed.append(what)

    async def sells_all(self, who: str) -> None:
        """A half, and some time later the rest; where chance decides, in parts, each of which is tried once."""
        half = await self.number(self.token, "balanceOf(address)", who) // 2
        by_chance = self.exchange == "uniswap_v3" and self.specimen.family.name in _BY_CHANCE
        parts = [half * 2 // PARTS - number for number in range(PARTS // 2)] if by_chance else []
        for amount in parts or [half]:
            await self.sells(who, amount, "the first half")
        await self.passes(PATIENCE_S)
        for amount in parts or [await self.number(self.token, "balanceOf(address)", who)]:
            await self.sells(who, amount, "the rest")

    async def possible(self, who: str, to: str, data: str) -> bool:
        """Whether a call succeeds in the far block that is waited for; it does where none is."""
        if not self.blocks_ahead:
            return True
        head = int(await self.devnet.rpc("eth_blockNumber"), 16)
        request = {"from": who, "to": to, "data": data, "gas": hex(TRADE_GAS)}
        try:
            await self.devnet.rpc("eth_call", request, "latest", {}, {"number": hex(head + self.blocks_ahead)})
        except DevnetError:
            return False
        return True

    async def sent(self, who: str, to: str, data: str, wei: int = 0) -> bool:
        """A transaction as a wallet sends it; whether it succeeded."""
        request = {"from": who, "to": to, "data": data, "value": hex(wei), "gas": hex(TRADE_GAS)}
        request |= {"maxFeePerGas": hex(100 * 10**9), "maxPriorityFeePerGas": hex(10**9)}
        return bool((await self.devnet.rpc("eth_sendTransactionSync", request))["status"] == "0x1")

    async def number(self, to: str, signature: str, *arguments: object) -> int:
        request = {"to": to, "data": calldata(signature, *arguments), "gas": hex(TRADE_GAS)}
        answer = await self.devnet.rpc("eth_call", request, "latest")
        return int(answer[:66], 16) if len(answer) >= 66 else 0

    def account(self, name: str) -> str:
        """An account that nobody else uses."""
        return f"0x{keccak(encode(['string', 'string'], [name, self.token]))[-20:].hex()}"


def _single(path: tuple[str, str], amount: int, to: str) -> str:
    kinds = "address,address,uint24,address,uint256,uint256,uint160"
    return calldata(f"exactInputSingle(({kinds}))", (*path, V3_FEE_PIPS, to, amount, 0, 0))
