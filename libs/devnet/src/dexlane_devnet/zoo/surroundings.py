"""The same plain token in different surroundings: who keeps its liquidity, who holds it, what became of its pool.

Nothing is wrong with the code of these specimens. A buyer loses when one account can take the liquidity away within a
month, or sell a large part of the supply, or when the liquidity is gone already.
"""

import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from eth_abi.abi import encode

from dexlane_devnet.addresses import chain_of
from dexlane_devnet.contracts import calldata
from dexlane_devnet.devnet import Devnet
from dexlane_devnet.zoo.families import Family, creation_code
from dexlane_devnet.zoo.release import (
    BLOCKS_OF_AGE,
    ETHER,
    FOREVER,
    KEEPER,
    KEEPER_WEI,
    Specimen,
    bring_to,
    deploy,
    send,
)

DAY_S = 86_400
DEAD = "0x000000000000000000000000000000000000dEaD"
_HOLDERS = 12
_PACED = 200
"""So many blocks in a row say how fast a chain makes them."""


@dataclass
class Scene:
    """A plain token of the keeper's, on its way to its surroundings."""

    devnet: Devnet
    chance: random.Random
    token: str
    supply: int
    pool: str = ""

    async def open(self, team: str = "", team_percent: int = 0) -> None:
        """Give the team its part and many accounts a little; the rest goes to a pool."""
        if team:
            await self.give(self.token, team, self.supply * team_percent // 100)
        left = await self.number(self.token, calldata("balanceOf(address)", KEEPER))
        for _ in range(_HOLDERS):
            await self.give(self.token, self.somebody(), left * self.chance.randint(5, 25) // 1_000)
        self.pool = await bring_to(self.devnet, self.token, "uniswap_v2", self.chance.randint(5, 200) * ETHER)

    def somebody(self) -> str:
        """A fresh account without code."""
        return f"0x{self.chance.getrandbits(160):040x}"

    async def give(self, token: str, to: str, amount: int) -> None:
        """A transfer of the keeper's."""
        await send(self.devnet, token, calldata("transfer(address,uint256)", to, amount))

    async def give_liquidity(self, to: str) -> None:
        """All LP tokens of the keeper."""
        await self.give(self.pool, to, await self.number(self.pool, calldata("balanceOf(address)", KEEPER)))

    async def pull(self, percent: int) -> None:
        """The keeper takes so much of the liquidity back."""
        router = chain_of(self.devnet.chain_id).addresses.v2_router02
        held = await self.number(self.pool, calldata("balanceOf(address)", KEEPER))
        await send(self.devnet, self.pool, calldata("approve(address,uint256)", router, FOREVER))
        signature = "removeLiquidityETH(address,uint256,uint256,uint256,address,uint256)"
        amounts = (held * percent // 100, 0, 0)
        await send(self.devnet, router, calldata(signature, self.token, *amounts, KEEPER, FOREVER))

    async def build(self, name: str, *numbers: int) -> str:
        """Deploy a contract that keeps things, owned by the keeper."""
        padded = [*numbers, *[0] * (4 - len(numbers))]
        receipt = await deploy(self.devnet, creation_code()[name] + encode(["uint256[4]"], [padded]))
        return str(receipt["contractAddress"])

    async def number(self, to: str, data: str) -> int:
        """What a call tells."""
        return int(await self.devnet.rpc("eth_call", {"to": to, "data": data}, "latest"), 16)


async def _locked_pool(scene: Scene) -> None:
    await scene.open()
    await scene.give_liquidity(await scene.build("TimeLock", scene.chance.randint(90, 700) * DAY_S))


async def _burned_pool(scene: Scene) -> None:
    await scene.open()
    await scene.give_liquidity(DEAD)


async def _vested_team(scene: Scene) -> None:
    vesting = await scene.build("Vesting", scene.chance.randint(60, 400) * DAY_S, 365 * DAY_S)
    await scene.open(vesting, scene.chance.randint(25, 50))
    await scene.give_liquidity(DEAD)


async def _vested_and_locked(scene: Scene) -> None:
    vesting = await scene.build("Vesting", scene.chance.randint(60, 400) * DAY_S, 730 * DAY_S)
    await scene.open(vesting, scene.chance.randint(10, 40))
    await scene.give_liquidity(await scene.build("TimeLock", scene.chance.randint(90, 700) * DAY_S))


async def _loose_liquidity(scene: Scene) -> None:
    await scene.open()


async def _lock_ends_soon(scene: Scene) -> None:
    await scene.open()
    await scene.give_liquidity(await scene.build("TimeLock", scene.chance.randint(7_200, 20 * DAY_S)))


async def _lock_with_a_backdoor(scene: Scene) -> None:
    await scene.open()
    await scene.give_liquidity(await scene.build("BackdoorLock", scene.chance.randint(90, 700) * DAY_S))


async def _lock_in_chunks(scene: Scene) -> None:
    await scene.open()
    lock = ("ChunkedLock", scene.chance.randint(90, 700) * DAY_S, scene.chance.randint(1, 20))
    await scene.give_liquidity(await scene.build(*lock))


async def _lock_in_tranches(scene: Scene) -> None:
    await scene.open()
    lock = ("TrancheLock", scene.chance.randint(90, 700) * DAY_S, scene.chance.randint(5, 500))
    await scene.give_liquidity(await scene.build(*lock))


async def _lock_that_drips(scene: Scene) -> None:
    await scene.open()
    opens = scene.chance.randint(0, 20) * DAY_S
    lock = ("DrippingLock", scene.chance.randint(120, 700) * DAY_S, opens, scene.chance.randint(1, 20))
    await scene.give_liquidity(await scene.build(*lock))


async def _lock_of_quick_blocks(scene: Scene) -> None:
    """On a chain with blocks of two seconds."""
    await scene.devnet.rpc("anvil_mine", hex(_PACED), hex(2))
    await scene.open()
    await scene.give_liquidity(await scene.build("BlockLock", scene.chance.randint(7, 20) * DAY_S // 2))


async def _whale_in_a_pool_of_its_own(scene: Scene) -> None:
    """All but a part lies in a pool with a token that only the keeper has."""
    receipt = await deploy(scene.devnet, creation_code()["Plain"] + encode(["uint256[4]"], [[0] * 4]))
    other, router = str(receipt["contractAddress"]).lower(), chain_of(scene.devnet.chain_id).addresses.v2_router02
    amount = scene.supply * scene.chance.randint(40, 90) // 100
    for token in (scene.token, other):
        await send(scene.devnet, token, calldata("approve(address,uint256)", router, FOREVER))
    signature = "addLiquidity(address,address,uint256,uint256,uint256,uint256,address,uint256)"
    data = calldata(signature, scene.token, other, amount, amount, 0, 0, KEEPER, FOREVER)
    await send(scene.devnet, router, data)
    await scene.open()
    await scene.give_liquidity(DEAD)


async def _whale(scene: Scene) -> None:
    await scene.open(scene.somebody(), scene.chance.randint(40, 90))
    await scene.give_liquidity(DEAD)


async def _team_with_a_backdoor(scene: Scene) -> None:
    await scene.open(await scene.build("BackdoorLock", 400 * DAY_S), scene.chance.randint(40, 90))
    await scene.give_liquidity(DEAD)


async def _pulled_pool(scene: Scene) -> None:
    await scene.open()
    await scene.pull(scene.chance.randint(93, 99))
    await scene.give_liquidity(DEAD)


_DRAWN = 10
"""So many arrangements were there when it was drawn which of them nobody tunes on."""
Arrange = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Surroundings:
    """One way to arrange a plain token. ``family`` says what it is called and whether a buyer is meant to lose."""

    family: Family
    arrange: Arrange

    @property
    def held_out(self) -> bool:
        """Whether nobody looked at its misses while the check was tuned: a third, by hash, of those that were there."""
        lots = sorted(SURROUNDINGS[:_DRAWN], key=lambda each: _lot(each.family.name))
        return self in lots[: -(-len(lots) // 3)]


def _lot(name: str) -> bytes:
    return hashlib.sha256(f"held out: {name}".encode()).digest()


SURROUNDINGS = (
    Surroundings(Family("LockedPool", False), _locked_pool),
    Surroundings(Family("BurnedPool", False), _burned_pool),
    Surroundings(Family("VestedTeam", False), _vested_team),
    Surroundings(Family("VestedAndLocked", False), _vested_and_locked),
    Surroundings(Family("LooseLiquidity", True), _loose_liquidity),
    Surroundings(Family("LockEndsSoon", True), _lock_ends_soon),
    Surroundings(Family("LockWithBackdoor", True), _lock_with_a_backdoor),
    Surroundings(Family("Whale", True), _whale),
    Surroundings(Family("TeamWithBackdoor", True), _team_with_a_backdoor),
    Surroundings(Family("PulledPool", True), _pulled_pool),
    Surroundings(Family("LockInChunks", True), _lock_in_chunks),
    Surroundings(Family("LockInTranches", True), _lock_in_tranches),
    Surroundings(Family("LockThatDrips", True), _lock_that_drips),
    Surroundings(Family("LockOfQuickBlocks", True), _lock_of_quick_blocks),
    Surroundings(Family("WhaleInOwnPool", True), _whale_in_a_pool_of_its_own),
)


async def arrange(devnet: Devnet, surroundings: Surroundings, seed: int) -> Specimen:
    """Deploy a plain token, and arrange its surroundings by a seed.

    Raises:
        DevnetError: a transaction of its set-up failed.
    """
    await devnet.rpc("anvil_setBalance", KEEPER, hex(KEEPER_WEI))
    receipt = await deploy(devnet, creation_code()["Plain"] + encode(["uint256[4]"], [[0] * 4]))
    token = str(receipt["contractAddress"]).lower()
    chance = random.Random(f"{surroundings.family.name} {seed}")  # noqa: S311 - specimens by seed, no secrets
    supply = int(await devnet.rpc("eth_call", {"to": token, "data": calldata("totalSupply()")}, "latest"), 16)
    scene = Scene(devnet, chance, token, supply)
    await surroundings.arrange(scene)
    await devnet.mine(BLOCKS_OF_AGE)
    return Specimen(surroundings.family, seed, token, (), scene.pool, 0)
