"""Tokens that mean well and tokens that do not, with pools on the devnet: what a token check is measured with."""

from dexlane_devnet.zoo.families import BENIGN, FAMILIES, HOSTILE, Family
from dexlane_devnet.zoo.lives import Lived, live
from dexlane_devnet.zoo.release import KEEPER, Exchange, Specimen, bring_to, release
from dexlane_devnet.zoo.surroundings import SURROUNDINGS, Surroundings, arrange

__all__ = [
    "BENIGN",
    "FAMILIES",
    "HOSTILE",
    "KEEPER",
    "SURROUNDINGS",
    "Exchange",
    "Family",
    "Lived",
    "Specimen",
    "Surroundings",
    "arrange",
    "bring_to",
    "live",
    "release",
]
