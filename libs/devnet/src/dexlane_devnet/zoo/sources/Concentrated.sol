// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.26;

import {Base, WETH} from "./Base.sol";

interface IFactoryV3 {
    function createPool(address a, address b, uint24 fee) external returns (address);
}

IFactoryV3 constant FACTORY_V3 = IFactoryV3(0x1F98431c8aD98523631AE4a59f267346ea31F984);

/// Its pool of Uniswap V3, at a fee of 0.3 %, is the one that it knows; any pool of V2 is free of its traps.
abstract contract KnowsV3 is Base {
    constructor() {
        pair = FACTORY_V3.createPool(address(this), WETH, 3_000);
    }
}

/// Nobody sells in the pool that is known.
contract V3Honeypot is KnowsV3 {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to), "no");
        _put(from, to, amount);
    }
}

/// Nobody sells there any more, p0 seconds after it was made.
contract V3HoneypotTime is KnowsV3 {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        require(!_isSell(from, to) || block.timestamp < born + p[0], "over");
        _put(from, to, amount);
    }
}

/// A sale there loses p0 bps, which the pool refuses.
contract V3Tax is KnowsV3 {
    constructor(uint256[4] memory p_) Base(p_) {}

    function _move(address from, address to, uint256 amount) internal override {
        _taxed(from, to, amount, _isSell(from, to) ? p[0] : 0, boss);
    }
}

/// The owner may keep a purchase there from being sold.
contract V3Blacklist is KnowsV3 {
    mapping(address => bool) private bad;

    constructor(uint256[4] memory p_) Base(p_) {}

    function mark(address who, bool on) external only {
        bad[who] = on;
    }

    function _move(address from, address to, uint256 amount) internal override {
        require(to != pair || !bad[from], "bad");
        _put(from, to, amount);
    }
}
