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

/// Keeps everything for p0 seconds, but for p1 per cent of what is left at each call.
contract ChunkedLock is Kept {
    uint256 public immutable unlockTime;
    uint256 private immutable PERCENT;

    constructor(uint256[4] memory p) {
        unlockTime = block.timestamp + p[0];
        PERCENT = p[1];
    }

    function withdraw(IToken token) external {
        uint256 held = token.balanceOf(address(this));
        _give(token, block.timestamp >= unlockTime ? held : held * PERCENT / 100);
    }
}

/// Keeps everything for p0 seconds, but for what is asked for in tranches of at most a p1-th.
contract TrancheLock is Kept {
    uint256 public immutable unlockTime;
    uint256 private immutable PARTS;

    constructor(uint256[4] memory p) {
        unlockTime = block.timestamp + p[0];
        PARTS = p[1];
    }

    function withdraw(IToken token, uint256 amount) external {
        require(block.timestamp >= unlockTime || amount <= token.balanceOf(address(this)) / PARTS, "locked");
        _give(token, amount);
    }
}

/// Keeps everything for p0 seconds, but for p2 per cent of what it began with in each block from p1 seconds on.
contract DrippingLock is Kept {
    uint256 public immutable unlockTime;
    uint256 private immutable OPENS;
    uint256 private immutable PERCENT;
    uint256 private most;
    uint256 private last;

    constructor(uint256[4] memory p) {
        unlockTime = block.timestamp + p[0];
        OPENS = block.timestamp + p[1];
        PERCENT = p[2];
    }

    function withdraw(IToken token) external {
        uint256 held = token.balanceOf(address(this));
        if (most == 0) most = held;
        if (block.timestamp < unlockTime) {
            require(block.timestamp >= OPENS && block.number > last, "locked");
            last = block.number;
            held = most * PERCENT / 100;
        }
        _give(token, held);
    }
}

/// Keeps everything for p0 blocks, and no way around it.
contract BlockLock is Kept {
    uint256 public immutable unlockBlock;

    constructor(uint256[4] memory p) {
        unlockBlock = block.number + p[0];
    }

    function withdraw(IToken token) external {
        require(block.number >= unlockBlock, "locked");
        _give(token, token.balanceOf(address(this)));
    }
}

/// Gives everything out evenly over p1 seconds, beginning p0 seconds from now.
contract Vesting is VestingWallet {
    constructor(uint256[4] memory p) VestingWallet(msg.sender, uint64(block.timestamp + p[0]), uint64(p[1])) {}
}
