// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.26;

import {VestingWallet} from "@openzeppelin/contracts/finance/VestingWallet.sol";

interface IToken {
    function balanceOf(address who) external view returns (uint256);
    function transfer(address to, uint256 amount) external returns (bool);
}

/// Contracts that hold tokens for somebody. Whoever deploys one is its owner.
abstract contract Kept {
    address public immutable owner = msg.sender;

    function _give(IToken token, uint256 amount) internal {
        require(msg.sender == owner, "not allowed");
        require(token.transfer(owner, amount));
    }
}

/// Keeps everything for p0 seconds, and no way around it.
contract TimeLock is Kept {
    uint256 public immutable unlockTime;

    constructor(uint256[4] memory p) {
        unlockTime = block.timestamp + p[0];
    }

    function withdraw(IToken token) external {
        require(block.timestamp >= unlockTime, "locked");
        _give(token, token.balanceOf(address(this)));
    }
}

/// Says that it keeps everything for p0 seconds, and has another door.
contract BackdoorLock is Kept {
    uint256 public immutable unlockTime;

    constructor(uint256[4] memory p) {
        unlockTime = block.timestamp + p[0];
    }

    function withdraw(IToken token, uint256 amount) external {
        require(block.timestamp >= unlockTime, "locked");
        _give(token, amount);
    }

    function migrate(IToken token, uint256 amount) external {
        _give(token, amount);
    }
}

/// Gives everything out evenly over p1 seconds, beginning p0 seconds from now.
contract Vesting is VestingWallet {
    constructor(uint256[4] memory p) VestingWallet(msg.sender, uint64(block.timestamp + p[0]), uint64(p[1])) {}
}
