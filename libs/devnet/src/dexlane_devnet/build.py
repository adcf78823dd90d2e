"""Build the devnet's starting state once and keep it in the cache.

The state's name carries the hash of everything it depends on, so a changed build, package or tape makes a new file.
"""

import gzip
import hashlib
import os
from pathlib import Path

from dexlane_devnet import funding, liquidity
from dexlane_devnet.addresses import chain_of
from dexlane_devnet.anvil import find_anvil, free_port, start_anvil
from dexlane_devnet.contracts import Source
from dexlane_devnet.deploy import Deployer
from dexlane_devnet.errors import DevnetError
from dexlane_devnet.packages import CONTRACT_PACKAGES, Report, fetch
from dexlane_devnet.profile import starting_pool
from dexlane_devnet.rpc import Rpc
from dexlane_devnet.tape import DEFAULT_TAPE, Tape, load_tape

STATES_KEPT = 6
GENESIS_TIMESTAMP = 1_704_326_400
"""2024-01-04 00:00 UTC, a day before the tape; starting a chain moves its clock to the present."""


def default_cache() -> Path:
    """DEXLANE_CACHE if set, else ``.dexlane/cache/devnet`` under the current folder."""
    named = os.environ.get("DEXLANE_CACHE")
    return Path(named) / "devnet" if named else Path(".dexlane/cache/devnet")


def state_key(tape: Tape, chain_id: int) -> str:
    """Name of the state: hash over this package's source, the pinned packages, the tape and the chain id."""
    digest = hashlib.sha256()
    for name in (
        "accounts",
        "addresses",
        "build",
        "contracts",
        "deploy",
        "desk",
        "funding",
        "liquidity",
        "profile",
        "v3math",
    ):
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    for package in CONTRACT_PACKAGES:
        digest.update(f"{package.spec} {package.integrity}\n".encode())
    digest.update(f"{tape.digest} {chain_id}".encode())
    return digest.hexdigest()[:16]


def state_path(cache: Path, tape: Tape, chain_id: int) -> Path:
    """Where the state of this tape and chain id lies in the cache."""
    return cache / "states" / f"chain-{chain_id}-{state_key(tape, chain_id)}.json"


async def build_state(cache: Path, report: Report, *, chain_id: int = 1, tape_path: Path = DEFAULT_TAPE) -> Path:
    """The starting state, built from the packages unless the cache has it.

    Raises:
        DevnetError: a part cannot be fetched or a set-up transaction fails.
    """
    tape = load_tape(tape_path)
    path = state_path(cache, tape, chain_id)
    if path.is_file():
        return path
    source = Source({package.spec: fetch(package, cache, report) for package in CONTRACT_PACKAGES})
    binary, chain = find_anvil(cache, report), chain_of(chain_id)
    report("building the chain state: contracts, tokens, pools, positions")
    extra = ["--chain-id", str(chain_id), "--timestamp", str(GENESIS_TIMESTAMP), "--gas-limit", "30000000"]
    anvil = await start_anvil(binary, free_port(), extra)
    try:
        async with await Rpc.connect(anvil.ws_url) as rpc:
            await rpc.call("anvil_setBlockTimestampInterval", 1)
            await funding.deal_ether(rpc)
            await Deployer(rpc, source, chain).deploy_all()
            await funding.fund_accounts(rpc, chain)
            await liquidity.create_pools(rpc, chain, starting_pool(tape))
            dump = await rpc.call("anvil_dumpState")
    finally:
        await anvil.stop()
    _write(path, gzip.decompress(bytes.fromhex(dump[2:])))
    _forget_old_states(path.parent)
    report(f"state built: {path.name}")
    return path


def _forget_old_states(folder: Path) -> None:
    """Keep the cache bounded: the newest states only."""
    states = sorted(folder.glob("chain-*.json"), key=lambda state: state.stat().st_mtime_ns)
    for state in states[:-STATES_KEPT]:
        state.unlink(missing_ok=True)


def _write(path: Path, state: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.part")
    try:
        partial.write_bytes(state)
        partial.replace(path)
    except OSError as error:
        raise DevnetError(f"the cache folder {path.parent} cannot be written: {error}.") from error
