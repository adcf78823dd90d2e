// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.26;

import {Owned, Base} from "./Base.sol";

/// Says that it waits, and does not.
contract FalseLock {
    address private immutable KEEPER = tx.origin;

    function getMinDelay() external pure returns (uint256) {
        return 7 days;
    }

    function run(address to, bytes calldata data) external {
        require(msg.sender == KEEPER);
        (bool ok,) = to.call(data);
        require(ok);
    }
}

/// Hostile: its owner looks like a timelock.
contract PauseByFalseLock is Owned {
    bool private closed;

    constructor(uint256[4] memory p_) Base(p_) {}

    function hide() external only {
        boss = address(new FalseLock());
    }

    function setClosed(bool on) external only {
        closed = on;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(!closed || _free(from, to), "closed");
        _put(from, to, amount);
    }
}

/// Hostile: a real timelock, but its delay of p0 minutes is over before anybody notices.
contract ShortLock {
    address private immutable KEEPER = tx.origin;
    uint256 private immutable DELAY;

    constructor(uint256 delay_) {
        DELAY = delay_;
    }

    function delay() external view returns (uint256) {
        return DELAY;
    }

    function executeTransaction(address to, uint256 value, string calldata, bytes calldata data, uint256 at)
        external
        payable
        returns (bytes memory told)
    {
        require(msg.sender == KEEPER && block.timestamp >= at + DELAY);
        (, told) = to.call{value: value}(data);
    }
}

contract PauseByShortLock is Owned {
    bool private closed;

    constructor(uint256[4] memory p_) Base(p_) {}

    function hide() external only {
        boss = address(new ShortLock(p[0] * 60));
    }

    function setClosed(bool on) external only {
        closed = on;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(!closed || _free(from, to), "closed");
        _put(from, to, amount);
    }
}
