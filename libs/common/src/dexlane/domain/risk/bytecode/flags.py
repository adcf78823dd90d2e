"""The closed list of flags of runtime code, their weights, and the score that follows from them.

The score is 100 * (1 - product of (1 - weight)) over the flags, rounded up: a further flag never lowers it, and no
number of small ones adds up to a certainty. A flag of which every finding is *final* (a switch that can only be opened,
a limit that can only be lifted) counts half. The weights are judgements, stated here once; they are not fitted to data.

=============  ======  ========================================================================================
flag           weight  what the code allows
=============  ======  ========================================================================================
balance_leak       50  to take balances, or allowances, of others without their allowance or signature
hidden_mint        40  to raise a balance outside of transfers while nobody's falls and nothing was paid in
selfdestruct       40  to destroy the contract
sell_limit         35  to stop transfers of holders: by list, switch, limit, time, identity or another contract
blacklist          20  to put an address on a list whose members cannot transfer
fee_setter         20  to set a number that enters what a transfer credits or debits
proxy              20  to exchange the code behind this address
pausable           15  to switch transfers off and on
delegatecall       15  to run other code on this storage
=============  ======  ========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from dexlane.values.base import Value

WORST = 100
LEAST_OF_INCOMPLETE = 50
"""Code of which a part could not be judged scores at least this: what was not seen is not harmless."""


class CodeFlag(StrEnum):
    """What runtime code allows, in alphabetical order."""

    BALANCE_LEAK = "balance_leak"
    BLACKLIST = "blacklist"
    DELEGATECALL = "delegatecall"
    FEE_SETTER = "fee_setter"
    HIDDEN_MINT = "hidden_mint"
    PAUSABLE = "pausable"
    PROXY = "proxy"
    SELFDESTRUCT = "selfdestruct"
    SELL_LIMIT = "sell_limit"


WEIGHTS_PERCENT: Mapping[CodeFlag, int] = {
    CodeFlag.BALANCE_LEAK: 50,
    CodeFlag.HIDDEN_MINT: 40,
    CodeFlag.SELFDESTRUCT: 40,
    CodeFlag.SELL_LIMIT: 35,
    CodeFlag.BLACKLIST: 20,
    CodeFlag.FEE_SETTER: 20,
    CodeFlag.PROXY: 20,
    CodeFlag.PAUSABLE: 15,
    CodeFlag.DELEGATECALL: 15,
}


class CodeFinding(Value):
    """One flag and why it was raised. ``final`` tells that what was found can be lifted or set, but not back again."""

    flag: CodeFlag
    reason: str
    final: bool = False


def score_of(findings: Iterable[CodeFinding]) -> int:
    """The score of findings, 0 to 100. The same findings in any order, once or twice, give the same score."""
    weights: dict[CodeFlag, int] = {}
    for finding in findings:
        weight = WEIGHTS_PERCENT[finding.flag] * (1 if finding.final else 2)
        weights[finding.flag] = max(weights.get(finding.flag, 0), weight)
    kept, whole = 1, 1
    for weight in weights.values():
        kept, whole = kept * (200 - weight), whole * 200
    return WORST - WORST * kept // whole
