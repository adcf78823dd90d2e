"""Whether what a contract may do is delayed: only by a timelock that can do nothing else, or by an admin owned by one.

A contract's word about itself is no evidence: one that has any function beyond those of OpenZeppelin's
TimelockController or of Compound's Timelock may have a way around its delay, so it counts as undelayed.
"""

from __future__ import annotations

from collections.abc import Sequence

from dexlane.chain.token_check.asking import Node, bytes_of, number_of
from dexlane.chain.token_check.probe import call, selector
from dexlane.chain.token_check.subject import selectors, shifted

MAX_DEPTH = 3
_ADMIN = frozenset(
    selector(signature)
    for signature in (
        "owner()", "renounceOwnership()", "transferOwnership(address)", "upgrade(address,address)",
        "upgradeAndCall(address,address,bytes)", "changeProxyAdmin(address,address)", "getProxyAdmin(address)",
        "getProxyImplementation(address)", "UPGRADE_INTERFACE_VERSION()", "OwnableInvalidOwner(address)",
        "OwnableUnauthorizedAccount(address)",
    )
) | frozenset({selector("upgradeTo(address)"), selector("upgradeToAndCall(address,bytes)"),
               selector("changeAdmin(address)"), selector("admin()"), selector("implementation()")})  # fmt: skip
"""ProxyAdmin of OpenZeppelin 3 to 5: its own functions, and those of proxies that it calls."""
_TIMELOCKS = frozenset(
    selector(signature)
    for signature in (
        # OpenZeppelin 4 and 5
        "CANCELLER_ROLE()", "DEFAULT_ADMIN_ROLE()", "EXECUTOR_ROLE()", "PROPOSER_ROLE()", "TIMELOCK_ADMIN_ROLE()",
        "cancel(bytes32)", "execute(address,uint256,bytes,bytes32,bytes32)", "getMinDelay()",
        "executeBatch(address[],uint256[],bytes[],bytes32,bytes32)", "getOperationState(bytes32)",
        "getRoleAdmin(bytes32)", "getTimestamp(bytes32)", "grantRole(bytes32,address)", "hasRole(bytes32,address)",
        "hashOperation(address,uint256,bytes,bytes32,bytes32)", "isOperation(bytes32)", "isOperationDone(bytes32)",
        "hashOperationBatch(address[],uint256[],bytes[],bytes32,bytes32)", "isOperationPending(bytes32)",
        "isOperationReady(bytes32)", "renounceRole(bytes32,address)", "revokeRole(bytes32,address)",
        "schedule(address,uint256,bytes,bytes32,bytes32,uint256)", "supportsInterface(bytes4)",
        "scheduleBatch(address[],uint256[],bytes[],bytes32,bytes32,uint256)", "updateDelay(uint256)",
        "onERC1155BatchReceived(address,address,uint256[],uint256[],bytes)",
        "onERC1155Received(address,address,uint256,uint256,bytes)", "onERC721Received(address,address,uint256,bytes)",
        # interface ids and custom errors of the same contracts
        "TimelockInvalidOperationLength(uint256,uint256,uint256)", "TimelockInsufficientDelay(uint256,uint256)",
        "TimelockUnexpectedOperationState(bytes32,bytes32)", "TimelockUnexecutedPredecessor(bytes32)",
        "TimelockUnauthorizedCaller(address)", "AccessControlUnauthorizedAccount(address,bytes32)",
        "AccessControlBadConfirmation()", "FailedInnerCall()", "FailedCall()", "AddressEmptyCode(address)",
        "AddressInsufficientBalance(address)", "InsufficientBalance(uint256,uint256)",
        # Compound
        "GRACE_PERIOD()", "MAXIMUM_DELAY()", "MINIMUM_DELAY()", "acceptAdmin()", "admin()", "delay()", "pendingAdmin()",
        "cancelTransaction(address,uint256,string,bytes,uint256)", "queuedTransactions(bytes32)", "setDelay(uint256)",
        "executeTransaction(address,uint256,string,bytes,uint256)", "setPendingAdmin(address)",
        "queueTransaction(address,uint256,string,bytes,uint256)",
    )
) | frozenset(bytes.fromhex(each) for each in (
    "01ffc9a7", "4e2312e0", "150b7a02", "7965db0b",
    "08000000", "004fcdef", "01000000", "30000000", "78000000", "74636800",
))  # fmt: skip
"""The first four of the last are interface ids of ERC-165, ERC-1155 receivers, ERC-721 receivers and access control;
the rest are constants in OpenZeppelin's own builds of versions 4.3.3 to 5.4.0 that are no functions."""


async def delay_of(node: Node, contract: str, at: str) -> int | None:
    """Seconds that everything this contract does must wait; None when nothing shows that it waits."""
    for _ in range(MAX_DEPTH):
        code, *answers = await node.batch(
            [
                ("eth_getCode", (contract, at)),
                *(
                    ("eth_call", ({"to": contract, "data": "0x" + call(name).hex(), "gas": hex(200_000)}, at))
                    for name in ("getMinDelay()", "delay()", "owner()")
                ),
            ]
        )
        runtime = bytes_of(code)
        known = set(selectors(runtime)) - {short.rjust(4, b"\0") for short, _ in shifted(runtime)}
        least, delay, owner = (number_of(answer) for answer in answers)
        if known and known <= _TIMELOCKS:
            return least if least is not None else delay
        if not known or not known <= _ADMIN or not owner:
            return None
        contract = f"0x{owner & (1 << 160) - 1:040x}"
    return None


async def delays_of(node: Node, contracts: Sequence[str], at: str) -> dict[str, int | None]:
    """The delays of several contracts."""
    return {contract: await delay_of(node, contract, at) for contract in contracts}
