// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.26;

import {TransparentUpgradeableProxy} from "@openzeppelin/contracts/proxy/transparent/TransparentUpgradeableProxy.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {ERC1967Utils} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Utils.sol";
import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";

/// An initialised token without a constructor: what lies behind the proxies.
contract Logic {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    uint256 public totalSupply;
    address public owner;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed holder, address indexed spender, uint256 value);

    function init(address owner_, address holder) external {
        require(totalSupply == 0);
        (totalSupply, owner, balanceOf[holder]) = (10 ** 27, owner_, 10 ** 27);
        emit Transfer(address(0), holder, 10 ** 27);
    }

    function name() external pure returns (string memory) {
        return "Behind";
    }

    function symbol() external pure returns (string memory) {
        return "BHD";
    }

    function decimals() external pure returns (uint8) {
        return 18;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        emit Approval(msg.sender, spender, amount);
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        _move(msg.sender, to, amount);
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        _move(from, to, amount);
        return true;
    }

    function _move(address from, address to, uint256 amount) internal virtual {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        emit Transfer(from, to, amount);
    }
}

contract SelfUpgrading is Logic {
    function proxiableUUID() external pure returns (bytes32) {
        return 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;
    }

    function upgradeToAndCall(address next, bytes calldata data) external payable {
        require(msg.sender == owner, "not allowed");
        ERC1967Utils.upgradeToAndCall(next, data);
    }
}

contract Closed is Logic {
    function _move(address from, address to, uint256 amount) internal override {
        require(msg.sender == tx.origin, "closed");
        super._move(from, to, amount);
    }
}

abstract contract Maker {
    address public token;

    function _data(address owner) internal view returns (bytes memory) {
        return abi.encodeCall(Logic.init, (owner, msg.sender));
    }

    function _timelock(uint256 delay) internal returns (address) {
        address[] memory who = new address[](1);
        who[0] = msg.sender;
        return address(new TimelockController(delay, who, who, address(0)));
    }
}

/// Hostile: the deployer's account may exchange the code.
contract ProxyByAdmin is Maker {
    constructor(uint256[4] memory) {
        token = address(new TransparentUpgradeableProxy(address(new Logic()), msg.sender, _data(address(0))));
    }
}

/// Hostile: the implementation holds the upgrade, open to its owner.
contract ProxyByOwner is Maker {
    constructor(uint256[4] memory) {
        token = address(new ERC1967Proxy(address(new SelfUpgrading()), _data(msg.sender)));
    }
}

contract TimedProxy {
    address private immutable FIRST;
    address private immutable SECOND;
    uint256 private immutable UNTIL;

    constructor(address first, address second, uint256 until, bytes memory data) {
        (FIRST, SECOND, UNTIL) = (first, second, until);
        (bool ok,) = first.delegatecall(data);
        require(ok);
    }

    fallback() external payable {
        address to = block.timestamp < UNTIL ? FIRST : SECOND;
        assembly {
            calldatacopy(0, 0, calldatasize())
            let ok := delegatecall(gas(), to, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if ok { return(0, returndatasize()) }
            revert(0, returndatasize())
        }
    }
}

/// Hostile. p0: seconds until another code takes over.
contract ProxyByTime is Maker {
    constructor(uint256[4] memory p) {
        address first = address(new Logic());
        token = address(new TimedProxy(first, address(new Closed()), block.timestamp + p[0], _data(address(0))));
    }
}

contract CustomProxy {
    bytes32 private constant CODE = keccak256("zoo.code");
    bytes32 private constant KEEPER = keccak256("zoo.keeper");

    constructor(address code, bytes memory data, address keeper) {
        _set(CODE, code);
        _set(KEEPER, keeper);
        (bool ok,) = code.delegatecall(data);
        require(ok);
    }

    function setTarget(address code) external {
        require(msg.sender == _get(KEEPER));
        _set(CODE, code);
    }

    function _set(bytes32 slot, address value) private {
        assembly { sstore(slot, value) }
    }

    function _get(bytes32 slot) private view returns (address value) {
        assembly { value := sload(slot) }
    }

    fallback() external payable {
        address to = _get(CODE);
        assembly {
            calldatacopy(0, 0, calldatasize())
            let ok := delegatecall(gas(), to, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if ok { return(0, returndatasize()) }
            revert(0, returndatasize())
        }
    }
}

/// Hostile: a proxy of its own sort, whose slots no standard names.
contract ProxyCustom is Maker {
    constructor(uint256[4] memory) {
        token = address(new CustomProxy(address(new Logic()), _data(address(0)), msg.sender));
    }
}

/// Benign: the upgrade waits in a timelock. p0: its delay in hours.
contract ProxyByTimelock is Maker {
    constructor(uint256[4] memory p) {
        address lock = _timelock(p[0] * 1 hours);
        token = address(new TransparentUpgradeableProxy(address(new Logic()), lock, _data(lock)));
    }
}

/// Benign: nothing can exchange the code.
contract ProxyFixed is Maker {
    constructor(uint256[4] memory) {
        token = address(new ERC1967Proxy(address(new Logic()), _data(address(0))));
    }
}

/// Benign: a clone by EIP-1167.
contract Clone is Maker {
    constructor(uint256[4] memory) {
        token = Clones.clone(address(new Logic()));
        Logic(token).init(address(0), msg.sender);
    }
}
