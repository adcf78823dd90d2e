"""Families of tokens with known intentions: what each one's numbers may be, and which are kept out of tuning.

What counts as benign where an owner has a switch: nobody can use it any more, the code bounds it to what does little
harm, or a timelock that is nothing else delays it by a day or more. A switch that one key can throw at once, and that
stops sales, takes or makes tokens, or exchanges the code, makes a family hostile, whatever its owner means to do.
"""

import gzip
import hashlib
import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path

Range = tuple[int, int]
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Family:
    """One kind of token.

    Attributes:
        name: its contract in ``sources``.
        hostile: whether a buyer is meant to lose.
        ranges: the inclusive ranges that a seed chooses the constructor's numbers from; the others are zero.
        makes: the contract only makes the token and tells it by ``token()``.
        liquid: it can be brought to a pool at all.
        after: calls of the owner, without arguments, once there is a pool.
    """

    name: str
    hostile: bool
    ranges: tuple[Range, ...] = ()
    makes: bool = False
    liquid: bool = True
    after: tuple[str, ...] = ()

    @property
    def held_out(self) -> bool:
        """Whether nobody looked at its misses while the check was tuned."""
        return self.name in _held_out()

    def numbers(self, seed: int) -> list[int]:
        """The four numbers of one specimen; the last is free for the exchange whose pool it knows."""
        chance = random.Random(f"{self.name} {seed}")  # noqa: S311 - specimens by seed, no secrets
        chosen = [chance.randint(*limits) for limits in self.ranges]
        return [*chosen, *[0] * (4 - len(chosen))]


def _hostile(name: str, *ranges: Range, **more: object) -> Family:
    return Family(name, True, ranges, **more)  # type: ignore[arg-type]


def _benign(name: str, *ranges: Range, **more: object) -> Family:
    return Family(name, False, ranges, **more)  # type: ignore[arg-type]


_DAYS = (24, 72)
HOSTILE = (
    _hostile("HoneypotPlain"),
    _hostile("HoneypotSize", (1, 2_000)),
    _hostile("HoneypotTime", (900, 2_000_000)),
    _hostile("HoneypotBlock", (60, 100_000)),
    _hostile("HoneypotWhitelist"),
    _hostile("HoneypotFirstBuyers", (3, 20)),
    _hostile("HoneypotQuota", (1, 12)),
    _hostile("HoneypotOnce"),
    _hostile("HoneypotSilent"),
    _hostile("HoneypotReceiver"),
    _hostile("SimulatorOrigin"),
    _hostile("SimulatorCoinbase"),
    _hostile("SimulatorGasPrice"),
    _hostile("SimulatorBaseFee"),
    _hostile("SimulatorRich", (100, 10_000)),
    _hostile("SimulatorContract"),
    _hostile("TaxFixed", (1_500, 6_000)),
    _hostile("TaxSell", (1_500, 9_900)),
    _hostile("TaxRising", (50, 5_000), (3_000, 9_900)),
    _hostile("TaxByAmount", (100, 1_000)),
    _hostile("TaxTransfer", (1_500, 9_900)),
    _hostile("MintOnSell", (100, 5_000)),
    _hostile("MintByOwner"),
    _hostile("MintByRole"),
    _hostile("MintByAnyone"),
    _hostile("BlacklistOne"),
    _hostile("BlacklistMany"),
    _hostile("PauseSwitch"),
    _hostile("PausePlain"),
    _hostile("LimitSwitch"),
    _hostile("CoolDownLong", (1_800, 1_000_000)),
    _hostile("RebaseDown", (20, 5_000)),
    _hostile("RebaseByOwner"),
    _hostile("LeakHolders", (200, 9_000)),
    _hostile("LeakPair", (5_000, 9_900)),
    _hostile("TakeBack"),
    _hostile("BurnHolder"),
    _hostile("FeeSetter"),
    _hostile("FeeSetterCapped", (15, 60)),
    _hostile("OwnerHidden"),
    _hostile("OwnerInCode"),
    _hostile("TwoSteps"),
    _hostile("ApproveTrap"),
    _hostile("ApproveVoid"),
    _hostile("Backdoor"),
    _hostile("LyingBalance", (110, 1_000)),
    _hostile("LyingDecimals", (0, 1)),
    _hostile("Reenter", (300, 900), (10, 25)),
    _hostile("GasBurner", (1_500_000, 20_000_000)),
    _hostile("ReturnBomb", (300, 2_000)),
    _hostile("ReturnFalse"),
    _hostile("Kill"),
    _hostile("PayeeSwitch"),
    _hostile("ProxyByAdmin", makes=True),
    _hostile("ProxyByOwner", makes=True),
    _hostile("ProxyByTime", (900, 2_000_000), makes=True),
    _hostile("ProxyCustom", makes=True),
    _hostile("PauseByFalseLock", after=("hide()",)),
    _hostile("PauseByShortLock", (1, 600), after=("hide()",)),
    _hostile("Reverter", liquid=False),
    _hostile("Garbage", liquid=False),
    _hostile("Burner", liquid=False),
    _hostile("EndlessAnswer", liquid=False),
)
BENIGN = (
    _benign("Plain"),
    _benign("OzPlain"),
    _benign("OzPermit"),
    _benign("OzVotes"),
    _benign("OzBurnable"),
    _benign("OzCapped", (0, 9)),
    _benign("OzCallback"),
    _benign("OzFlashMint"),
    _benign("OzPausableByTimelock", _DAYS),
    _benign("OzPausableRenounced"),
    _benign("OzRolesByTimelock", _DAYS),
    _benign("OzWrapper"),
    _benign("OzVault"),
    _benign("SoladyPlain"),
    _benign("SoladyVoting"),
    _benign("ZooPlain"),
    _benign("NoReturn"),
    _benign("EarlyStyle"),
    _benign("TaxSmall", (50, 400)),
    _benign("TaxBuyOnly", (50, 400)),
    _benign("TaxBounded", (1, 5)),
    _benign("TaxSwappedBack", (100, 400)),
    _benign("TaxFalling", (1, 24), (1_000, 5_000)),
    _benign("Deflationary", (20, 200)),
    _benign("Reflection", (100, 400)),
    _benign("MaxWallet", (100, 300)),
    _benign("MaxTransaction", (100, 300)),
    _benign("CoolDownShort", (5, 60)),
    _benign("OneTradeABlock"),
    _benign("RebaseUp", (1, 20)),
    _benign("SixDecimals"),
    _benign("NoDecimals"),
    _benign("ManyDecimals"),
    _benign("Careful"),
    _benign("LaunchGate", after=("launch()",)),
    _benign("AntiSniper", (1, 5)),
    _benign("Rescue"),
    _benign("ProxyByTimelock", _DAYS, makes=True),
    _benign("ProxyFixed", makes=True),
    _benign("Clone", makes=True),
)
FAMILIES = (*HOSTILE, *BENIGN)


@cache
def _held_out() -> frozenset[str]:
    """A third of either kind, those with the lowest hashes: chosen before anything was tuned."""
    return frozenset(
        family.name for kind in (HOSTILE, BENIGN) for family in sorted(kind, key=_lot)[: -(-len(kind) // 3)]
    )


def _lot(family: Family) -> bytes:
    return hashlib.sha256(f"held out: {family.name}".encode()).digest()


@cache
def creation_code() -> dict[str, bytes]:
    """Creation code by contract, without the constructor's numbers."""
    return {name: bytes.fromhex(text) for name, text in artifacts()["creation_code"].items()}


def artifacts() -> dict[str, dict[str, str]]:
    """What the compilers made: their names, the digest of the sources, the code."""
    content: dict[str, dict[str, str]] = json.loads(gzip.decompress((_FOLDER / "artifacts.json.gz").read_bytes()))
    return content
