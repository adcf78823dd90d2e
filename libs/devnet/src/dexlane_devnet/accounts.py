"""The accounts of the devnet. PUBLIC TEST KEYS: everybody knows them, real funds sent to them are lost.

They are the accounts of the standard development mnemonic that anvil and hardhat print at start, path
``m/44'/60'/0'/0/<index>``. Who plays which role is data here.
"""

from dataclasses import dataclass
from functools import cache

from eth_account.hdaccount import key_from_seed, seed_from_mnemonic

from dexlane_devnet.errors import DevnetError

TEST_MNEMONIC = "test test test test test test test test test test test junk"
"""Public development mnemonic; never use it for anything of value."""

_TABLE: tuple[tuple[str, str], ...] = (
    ("live-fast", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
    ("live-smart", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
    ("spare-1", "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
    ("spare-2", "0x90F79bf6EB2c4f870365E785982E1f101E93b906"),
    ("flow", "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"),
    ("noise-1", "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc"),
    ("noise-2", "0x976EA74026E726554dB657fA54763abd0C3a0aa9"),
    ("background-load", "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955"),
    ("liquidity", "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f"),
    ("usdc-minter", "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"),
    ("usdc-admin", "0xBcd4042DE499D14e55001CcbB24a551F3b954096"),
    ("deployer", "0x71bE63f3384f5fb98995898A86B02Fb2426c5788"),
    ("test-1", "0xFABB0ac9d68B0B445fB7357272Ff202C5651694a"),
    ("test-2", "0x1CBd3b2770909D4e10f157cABC84C7264073C9Ec"),
    ("test-3", "0xdF3e18d64BC6A983f673Ab319CCaE4f1a57C7097"),
    ("test-4", "0xcd3B766CCDd6AE721141F452C550Ca635964ce71"),
    ("test-5", "0x2546BcD3c84621e976D8185a91A922aE77ECEc30"),
    ("test-6", "0xbDA5747bFD65F08deb54cb465eB87D40e51B197E"),
    ("test-7", "0xdD2FD4581271e230360230F9337D5c0430Bf44C0"),
    ("test-8", "0x8626f6940E2eb28930eFb4CeF49B2d1F2C9C1199"),
    ("test-9", "0x09DB0a93B389bEF724429898f539AEB7ac2Dd55f"),
    ("test-10", "0x02484cb50AAC86Eae85610D6f4Bf026f30f6627D"),
    ("test-11", "0x08135Da0A343E492FA2d4282F2AE34c6c5CC1BbE"),
    ("noise-3", "0x5E661B79FE2D3F6cE70F5AAC07d8Cd9abb2743F1"),
)

ROLES = tuple(role for role, _ in _TABLE)
TRADING_ROLES = ("live-fast", "live-smart", "spare-1", "spare-2")
FLOW_ROLES = ("flow", "noise-1", "noise-2", "noise-3")
"""The market: ``noise-1`` and ``noise-2`` belong to the flow player, ``noise-3`` makes the swaps tests ask for."""
ACCOUNT_COUNT = len(_TABLE)


@dataclass(frozen=True)
class DevnetAccount:
    """One public test account: role, derivation index and checksum address."""

    role: str
    index: int
    address: str

    @property
    def private_key(self) -> str:
        """The PUBLIC TEST KEY as 0x-prefixed hex, derived from the mnemonic (BIP-32, BIP-44)."""
        return "0x" + key_from_seed(_seed(), f"m/44'/60'/0'/0/{self.index}").hex()


def account(role: str) -> DevnetAccount:
    """The account that plays ``role``.

    Raises:
        DevnetError: no account has this role.
    """
    for index, (name, address) in enumerate(_TABLE):
        if name == role:
            return DevnetAccount(name, index, address)
    raise DevnetError(f"the devnet has no role {role!r}; it has {', '.join(ROLES)}.")


@cache
def _seed() -> bytes:
    return seed_from_mnemonic(TEST_MNEMONIC, passphrase="")
